"""`confnet.records.dataclass` is the standard decorator in every respect but speed."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from dataclasses import FrozenInstanceError, field, replace
from typing import Any

import pytest

from confnet import records
from confnet.diagnostics import Span


def pair(name: str) -> tuple[Any, Any]:
    """One class made by our decorator and by the standard one."""
    return globals()[f"Our{name}"], globals()[f"Their{name}"]


@records.dataclass(frozen=True, slots=True)
class OurPoint:
    """A point."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)
    note: object = field(default=None, compare=False, repr=False)


@dataclasses.dataclass(frozen=True, slots=True)
class TheirPoint:
    """A point."""

    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)
    note: object = field(default=None, compare=False, repr=False)


@records.dataclass(frozen=True, slots=True)
class OurFixed:
    name: str
    width: int = field(init=False, default=7)
    made: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("no name")


@dataclasses.dataclass(frozen=True, slots=True)
class TheirFixed:
    name: str
    width: int = field(init=False, default=7)
    made: dict[str, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("no name")


@records.dataclass(frozen=True, slots=True)
class OurChild(OurPoint):
    z: int = 3

    def __repr__(self) -> str:
        return "child"


@dataclasses.dataclass(frozen=True, slots=True)
class TheirChild(TheirPoint):
    z: int = 3

    def __repr__(self) -> str:
        return "child"


@records.dataclass(frozen=True, slots=True)
class OurEmpty:
    pass


@dataclasses.dataclass(frozen=True, slots=True)
class TheirEmpty:
    pass


@records.dataclass(frozen=True, slots=True)
class OurOne:
    only: object


@dataclasses.dataclass(frozen=True, slots=True)
class TheirOne:
    only: object


@records.dataclass(frozen=True, slots=True, eq=False)
class OurIdentity:
    only: object


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class TheirIdentity:
    only: object


CALLS: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = (
    ("Point", (1,), {}),
    ("Point", (1, 2, ["a"], "n"), {}),
    ("Point", (), {"y": 2, "x": 1}),
    ("Fixed", ("a",), {}),
    ("Child", (1,), {"z": 5}),
    ("Empty", (), {}),
    ("One", ((1, 2),), {}),
    ("Identity", (1,), {}),
)


@pytest.mark.parametrize(("name", "args", "kwargs"), CALLS)
def test_instances_are_alike(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    ours, theirs = (cls(*args, **kwargs) for cls in pair(name))
    assert dataclasses.asdict(ours) == dataclasses.asdict(theirs)
    assert repr(ours) == repr(theirs).replace("Their", "Our")
    assert type(ours).__match_args__ == type(theirs).__match_args__
    assert type(ours).__slots__ == type(theirs).__slots__
    assert not hasattr(ours, "__dict__")
    again = type(ours)(*args, **kwargs)
    assert (ours == again) == (theirs == type(theirs)(*args, **kwargs))
    assert ours != theirs
    assert [getattr(copy.deepcopy(ours), f.name) for f in dataclasses.fields(ours)] == list(
        dataclasses.asdict(ours).values()
    )
    assert repr(pickle.loads(pickle.dumps(ours))) == repr(ours)
    assert repr(copy.copy(ours)) == repr(ours)


@pytest.mark.parametrize(
    ("name", "args", "kwargs"),
    [
        ("Point", (), {}),
        ("Point", (1,), {"x": 1}),
        ("Point", (1,), {"q": 1}),
        ("Empty", (1,), {}),
        ("Fixed", ("",), {}),
    ],
)
def test_wrong_calls_fail_alike(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    messages = []
    for cls in pair(name):
        with pytest.raises((TypeError, ValueError)) as caught:
            cls(*args, **kwargs)
        messages.append(str(caught.value).replace("Their", "Our"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("cls", [OurPoint, TheirPoint])
def test_nothing_can_be_set_or_deleted(cls: Any) -> None:
    point = cls(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


def test_no_attribute_can_be_added() -> None:
    point: Any = OurPoint(1)
    with pytest.raises(FrozenInstanceError, match="cannot assign to field 'other'"):
        point.other = 2  # the standard decorator raises a TypeError about `super` here


def test_defaults_are_made_afresh_and_replace_works() -> None:
    assert OurPoint(1).tags is not OurPoint(1).tags
    assert replace(OurPoint(1, 2, note="n"), y=5) == OurPoint(1, 5)
    assert replace(OurPoint(1, 2, note="n"), y=5).note == "n"


def test_hashes_follow_equality() -> None:
    assert hash(OurOne((1, 2))) == hash(TheirOne((1, 2)))
    assert hash(OurOne(3)) == hash(TheirOne(3))
    assert len({OurIdentity(1), OurIdentity(1)}) == 2
    with pytest.raises(TypeError, match="unhashable"):
        hash(OurPoint(1))


def test_a_record_within_itself_is_shown() -> None:
    inner: list[Any] = []
    one = OurOne(inner)
    inner.append(one)
    assert repr(one) == "OurOne(only=[...])"


def test_other_combinations_are_the_standard_ones() -> None:
    @records.dataclass(slots=True)
    class Mutable:
        x: int = 1

    made = Mutable()
    made.x = 2
    assert made == Mutable(2)


def test_a_subclass_may_have_attributes_of_its_own() -> None:
    class Open(OurPoint):
        pass

    made = Open(1)
    made.colour = "red"  # type: ignore[attr-defined]
    assert made.colour == "red"  # type: ignore[attr-defined]
    with pytest.raises(FrozenInstanceError):
        made.x = 2  # type: ignore[misc]


def test_confnet_uses_it() -> None:
    assert Span.__init__.__module__ != dataclasses.__name__
    assert Span("f", 1, 2, 3, 4) == Span("f", 1, 2, 3, 4)
    assert type(Span("f", 1, 2, 3, 4)).__eq__.__module__ == "confnet.records"

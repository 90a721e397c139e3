"""What a picture tells of each module beside its wiring: class, arguments, parameters, places in the file, marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.graph.kinds import kind_of_layer
from confnet.plan import Auto, DTypeName, LayerName, ModulePlan, Plan, Share

__all__ = ["Detail", "State", "Tables", "details_of"]

_Place = tuple[str, int]

_LONGEST: Final = 60
"""Characters of an argument's value that are shown."""


class Tables(Protocol):
    """The tables of `confnet.api.inspect` that a picture reads."""

    @property
    def modules(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def parameters(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def buffers(self) -> Sequence[Mapping[str, Any]]: ...
    @property
    def hooks(self) -> Sequence[Mapping[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class State:
    """A parameter or buffer of a module: its name, its shape and dtype, and a remark ("frozen", "buffer")."""

    name: str
    shape: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Detail:
    """What is known of one module.

    `layer` is the class of torch (or the registered one) that it is or derives from, empty for a composite.
    `arguments` are those that were given, as text. `summary` is the gist of them in a few characters. `parameters`
    counts the elements of everything inside, `frozen` those that are not trained. `place` is where the file names
    the module, `defined` where the definition of its class begins. `marks` are what a reader should know at a glance:
    hooks, ties, parametrizations.
    """

    cls: str = ""
    layer: str = ""
    description: str = ""
    arguments: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    parameters: int = 0
    frozen: int = 0
    state: tuple[State, ...] = ()
    place: _Place = ("", 0)
    defined: _Place = ("", 0)
    marks: tuple[str, ...] = ()
    structure: tuple[object, ...] = ()
    """What two modules must have in common to be drawn as one: whole arguments and sizes of their own tensors."""

    @property
    def kind(self) -> str:
        """The kind that its box has the colour of."""
        return kind_of_layer(self.layer or self.cls)


def details_of(plan: Plan, tables: Tables) -> dict[str, Detail]:
    """The details of every module by its dotted name."""
    plans = dict(_plans(plan.root, ""))
    state = _state(tables)
    marks = _marks(plan, plans, tables)
    found: dict[str, Detail] = {}
    for row in tables.modules:
        name: str = row["name"]
        detail = _planned(plans.get(name), str(row["type"]))
        own = tuple(state.get(name, ()))
        found[name] = replace(
            detail,
            cls=str(row["type"]),
            parameters=row["parameters"] or 0,
            state=own,
            place=_place(row["place"]),
            marks=tuple(dict.fromkeys(marks.get(name, ()))),
            structure=(*detail.structure, *((item.name, item.shape, item.remark) for item in own)),
        )
    for name, frozen in _frozen(tables).items():
        if name in found:
            whole = ("frozen",) if frozen == found[name].parameters else ()
            found[name] = replace(found[name], frozen=frozen, marks=(*found[name].marks, *whole))
    return found


# --- from the plan --------------------------------------------------------------------------------------------------


def _plans(plan: ModulePlan, name: str) -> Iterator[tuple[str, ModulePlan]]:
    yield name, plan
    for key, child in plan.children.items():
        if isinstance(child, ModulePlan):
            yield from _plans(child, f"{name}.{key}" if name else key)


def _planned(plan: ModulePlan | None, cls: str) -> Detail:
    """What the plan says of one module; a module that a layer made itself has no plan."""
    if plan is None:
        return Detail(layer=cls)
    layer = "" if plan.base == "Module" else plan.base
    arguments = _arguments(plan)
    definition = plan.definition
    return Detail(
        layer=layer,
        description=definition.description if definition else "",
        arguments={name: _text(value) for name, value in arguments.items()},
        summary=_summary(layer, arguments),
        defined=(definition.span.file, definition.span.line) if definition else ("", 0),
        # A rate or an epsilon changes from block to block (stochastic depth) and changes nothing of the structure; what
        # the arguments of a composite mean is seen in what is inside it.
        structure=tuple((name, _text(v)) for name, v in arguments.items() if layer and not isinstance(v, float)),
    )


def _arguments(plan: ModulePlan) -> dict[str, object]:
    """The arguments of a module by name, in the order in which they were given."""
    if plan.base == "Module" or plan.own_args:
        return {name: plan.constants[name] for name in plan.own_args if name in plan.constants}
    layer = DEFAULT_REGISTRY.lookup(plan.base)
    names = [argument.name for argument in layer.arguments] if layer is not None else []
    given: dict[str, object] = {}
    for index, value in enumerate(plan.positional):
        given[names[index] if index < len(names) else str(index)] = value
    return {**given, **plan.keywords}


def _text(value: object) -> str:
    """A value of the plan as a file would write it, shortened."""
    text = _whole_text(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _whole_text(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, ModulePlan):
        return value.definition.name if value.definition is not None else value.base
    if isinstance(value, DTypeName | LayerName):
        return value.name
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{key}: {_text(item)}' for key, item in value.items())}}}"
    if isinstance(value, Auto | str | int | float):
        return str(value)
    return type(value).__name__


# --- the gist -------------------------------------------------------------------------------------------------------


def _summary(layer: str, given: Mapping[str, object]) -> str:
    """The gist of a layer's arguments, as papers write it: `3→64, 7×7, /2`."""
    parts: list[str] = []
    kind = kind_of_layer(layer)
    if kind == "module":
        return ""
    if kind in ("convolution", "linear", "embedding", "recurrent"):
        for taken, made in _SIZES:
            if taken in given and made in given:
                parts.append(f"{_by(given[taken])}→{_by(given[made])}")
    if kind == "embedding" and not parts:
        parts.append(" × ".join(_by(given[name]) for name in ("num_embeddings", "embedding_dim") if name in given))
    for name, form in _GIST.items():
        if name in given and (name != "output_size" or kind == "pooling"):
            value = given[name]
            if value not in (None, 1) or name in ("kernel_size", "output_size"):
                parts.append(form.format(_by(value)))
    return ", ".join(filter(None, parts))


_SIZES: Final = (
    ("in_channels", "out_channels"),
    ("in_features", "out_features"),
    ("input_size", "hidden_size"),
)
_GIST: Final = {
    "kernel_size": "k {}",
    "stride": "/{}",
    "dilation": "dilation {}",
    "groups": "{} groups",
    "scale_factor": "×{}",
    "output_size": "to {}",
    "num_features": "{}",
    "normalized_shape": "{}",
    "num_groups": "{} groups",
    "embed_dim": "{}",
    "d_model": "{}",
    "num_heads": "{} heads",
    "nhead": "{} heads",
    "num_layers": "{} layers",
    "p": "p {}",
}


def _by(value: object) -> str:
    """Sizes as one number, or `3×3`."""
    if isinstance(value, list | tuple):
        return "×".join(dict.fromkeys(map(_by, value))) if len(set(map(str, value))) == 1 else "×".join(map(_by, value))
    return f"{value:g}" if isinstance(value, float) else _text(value)


# --- from the tables ------------------------------------------------------------------------------------------------


def _state(tables: Tables) -> dict[str, list[State]]:
    """The parameters and buffers that modules hold themselves; those of a parametrization belong to its module."""
    found: dict[str, list[State]] = {}
    for row in tables.parameters:
        owner, leaf = _owner(row["name"])
        remark = "" if row["requires_grad"] else "frozen"
        found.setdefault(owner, []).append(State(leaf, _shape(row), remark))
    for row in tables.buffers:
        owner, leaf = _owner(row["name"])
        found.setdefault(owner, []).append(State(leaf, _shape(row), "buffer"))
    return found


def _owner(name: str) -> tuple[str, str]:
    """The module that holds a parameter or buffer, and the name that it has there."""
    before, found, after = f".{name}".partition(".parametrizations.")
    if found:
        return before.removeprefix("."), after
    owner, _, leaf = name.rpartition(".")
    return owner, leaf


def _shape(row: Mapping[str, Any]) -> str:
    sizes = row["shape"]
    shape = "?" if sizes is None else f"[{', '.join(map(str, sizes))}]"
    return shape if row["dtype"] == "float32" else f"{shape} {row['dtype']}"


def _frozen(tables: Tables) -> dict[str, int]:
    """How many elements of parameters inside each module are not trained."""
    found: dict[str, int] = {}
    for row in tables.parameters:
        if not row["requires_grad"]:
            owner, _ = _owner(row["name"])
            while True:
                found[owner] = found.get(owner, 0) + (row["count"] or 0)
                if not owner:
                    break
                owner = owner.rpartition(".")[0]
    return found


def _place(text: str) -> _Place:
    file, _, line = str(text).rpartition(":")
    return (file, int(line)) if line.isdigit() else ("", 0)


def _marks(plan: Plan, plans: Mapping[str, ModulePlan], tables: Tables) -> dict[str, list[str]]:
    """What is to be seen of a module at a glance."""
    found: dict[str, list[str]] = {}
    for row in tables.hooks:
        tensor = f" on {row['tensor']}" if row["tensor"] else ""
        runs = row["name"] or row["runs"]
        found.setdefault(row["module"], []).append(f"hook {row['kind']}{tensor}: {runs}")
    for row in (*tables.parameters, *tables.buffers):
        owner, leaf = _owner(row["name"])
        if owner != row["name"].rpartition(".")[0]:
            found.setdefault(owner, []).append(f"parametrized: {leaf.partition('.')[0]}")
    for name, around in plans.items():
        prefix = f"{name}." if name else ""
        for tie in around.ties:
            one, other = prefix + tie.name, prefix + tie.to
            found.setdefault(one.rpartition(".")[0], []).append(f"tied: {tie.name.rpartition('.')[2]} is {other}")
            found.setdefault(other.rpartition(".")[0], []).append(f"tied: {tie.to.rpartition('.')[2]} is also {one}")
        for key, child in around.children.items():
            if isinstance(child, Share):
                found.setdefault(prefix + child.path, []).append(f"shared: also {prefix}{key}")
    return found

"""What a review of the whole found: each test failed before its repair."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import confnet
from confnet.builder import instances
from confnet.plan import Definition, Selector
from confnet.resolve.classes import Classes
from confnet.resolve.places import Place
from confnet.selection import matches
from confnet.spec.models import ModuleSpec


def loads(text: str) -> confnet.Spec:
    return confnet.loads(dedent(text))


def codes(report: confnet.Report) -> list[str]:
    return [diagnostic.code for diagnostic in report.diagnostics]


# --- names and values ---------------------------------------------------------------------------------------------


def test_what_a_class_is_found_by_is_not_freed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Classes are found by the id of their ModuleSpec; one among arguments is read for a single use. Were it freed,
    # another module could get its id, and with it its class.
    seen: list[weakref.ref[ModuleSpec]] = []
    alive: list[bool] = []
    original = Classes.definition

    def watched(self: Classes, spec: ModuleSpec, base: str, place: Place) -> Definition:
        alive.append(all(reference() is not None for reference in seen))
        seen.append(weakref.ref(spec))
        return original(self, spec, base, place)

    monkeypatch.setattr(Classes, "definition", watched)
    spec = loads("""
        confnet: 1
        modules: {W: {args: {m: module}, children: {m: $m}, forward: return m(x)}}
        Sequential:
          - W: {m: {children: {}, forward: return x + 1}}
          - W: {m: {children: {}, forward: return x + 2}}
          - W: {m: {children: {}, forward: return x + 3}}
    """)
    assert confnet.build(spec)(0) == 6
    assert len(alive) == 7
    assert all(alive)


def test_dollars_of_a_caller_are_text_inside_lists_too() -> None:
    spec = loads("""
        confnet: 1
        args: {words: {type: list, default: []}, table: {type: dict, default: {}}}
        children: {}
        forward: return words, table
    """)
    words, table = ["$5", "$(1 + 1)", "$nobody"], {"a": ["$b"]}
    assert confnet.build(spec, words=words, table=table)(0) == (words, table)


@pytest.mark.parametrize("name", ["_confnet_blueprint", "_confnet_hooks", "_confnet_ties", "_confnet_recipes"])
@pytest.mark.parametrize(
    "text",
    [
        "args: {NAME: 1}\nchildren: {}\nforward: return x",
        "let: {NAME: 1}\nchildren: {}\nforward: return x",
        "children: {NAME: ReLU}\nforward: return x",
        "buffers: {NAME: {value: 1}}\nforward: return x",
        "Sequential: {NAME: ReLU}",
    ],
)
def test_names_of_the_builder_are_reserved(name: str, text: str) -> None:
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.build(confnet.loads(f"confnet: 1\n{text.replace('NAME', name)}\n"))
    assert {d.code for d in caught.value.diagnostics} <= {"invalid-name", "reserved-name"}


def test_a_name_that_python_reads_as_another_is_refused() -> None:
    with pytest.raises(confnet.ConfnetError) as caught:
        confnet.loads("confnet: 1\nargs: {\ufb01n: 1}\nchildren: {}\nforward: return x\n")
    (diagnostic,) = caught.value.diagnostics
    assert (diagnostic.code, diagnostic.help) == ("invalid-name", "write `fin`")


@pytest.mark.parametrize(("base", "name"), [
    ("Sequential", "append"), ("Sequential", "insert"), ("ModuleList", "pop"), ("ModuleList", "extend"),
    ("ModuleDict", "__len__"),
])  # fmt: skip
def test_items_cannot_be_called_as_methods_of_their_container(base: str, name: str) -> None:
    report = confnet.validate(confnet.loads(f"confnet: 1\n{base}: {{{name}: ReLU}}\n"))
    assert codes(report) == ["reserved-name"]


def test_a_method_beside_a_container_is_not_called_as_an_item() -> None:
    report = confnet.validate(
        loads("""
        confnet: 1
        Sequential: {encode: ReLU}
        methods: {encode: return x}
    """)
    )
    assert codes(report) == ["duplicate-name"]


def test_a_text_with_a_file_name_has_the_same_class_name_everywhere() -> None:
    model = confnet.build(confnet.loads("confnet: 1\nchildren: {}\nforward: return x\n", name="my_net.yaml"))
    again = confnet.spec_of(model).spec
    assert type(model).__name__ == again.document.name == "MyNet"


# --- files and limits ---------------------------------------------------------------------------------------------


def test_an_include_that_is_a_circle_of_links(tmp_path: Path) -> None:
    (tmp_path / "loop.yaml").symlink_to(tmp_path / "loop.yaml")
    (tmp_path / "model.yaml").write_text("confnet: 1\ninclude: [loop.yaml]\nSequential: [ReLU]\n")
    assert codes(confnet.validate(tmp_path / "model.yaml")) == ["unreadable-file"]


def test_repeats_of_nothing_are_bounded() -> None:
    start = time.monotonic()
    report = confnet.validate(
        loads("""
        confnet: 1
        children:
          x:
            repeat: 90000
            as: i
            children: {y: {repeat: 90000, as: j, children: {}}}
        forward: return x
    """)
    )
    assert codes(report) == ["too-many-modules"]
    assert time.monotonic() - start < 30


def test_a_selector_cannot_keep_the_matching_busy() -> None:
    # In a process of its own, which can be ended: a regular expression would take years.
    code = "from confnet.selection import matches; from confnet.plan import Selector; print(matches(Selector(None, PATTERNS, None), [], ['a' * 60, '.'.join('a' * 60)]))"  # noqa: E501
    patterns = repr(("*a" * 20 + "*b", "**.a." * 20 + "b", ".**a" * 20 + "b", "**a" * 20 + "b"))
    done = subprocess.run(
        [sys.executable, "-c", code.replace("PATTERNS", patterns)], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "False", done.stderr


PARTS = {"**.": r"(?:[^.]+\.)*", ".**": r"(?:\.[^.]+)*", "**": ".*", "*": "[^.]*", "?": "[^.]"}


@given(st.text("ab.*?", max_size=7), st.text("ab.", max_size=7))
def test_patterns_mean_what_their_regular_expression_says(pattern: str, name: str) -> None:
    tokens = re.split(r"(\*\*\.|\.\*\*|\*\*|\*|\?)", pattern)
    expected = re.fullmatch("".join(PARTS.get(token, re.escape(token)) for token in tokens), name) is not None
    assert matches(Selector(None, (pattern,), None), [], [name]) == expected


def test_a_long_chain_of_shares() -> None:
    steps = "".join(f"  c{i}: {{share: c{i + 1}}}\n" for i in range(1500))
    spec = confnet.loads(f"confnet: 1\nchildren:\n{steps}  c1500: {{Linear: [2, 2]}}\nforward: return c0(x)\n")
    start = time.monotonic()
    model = confnet.build(spec)
    assert model.c0 is model.c1499 is model.c1500
    assert time.monotonic() - start < 30


# --- builds -------------------------------------------------------------------------------------------------------

TIED_TWICE = """
    confnet: 1
    modules:
      Block:
        children: {first: {Linear: [2, 2]}, last: {Linear: [2, 2]}}
        tie: {last.weight: first.weight}
        forward: return last(first(x))
    children: {a: Block, b: Block}
    tie: {b.last.weight: a.last.weight}
    forward: return b(a(x))
"""


def _ties(model: Any) -> tuple[bool, bool, bool]:
    a, b = model.a, model.b
    return a.last.weight is a.first.weight, b.last.weight is a.last.weight, b.last.weight is b.first.weight


def test_an_outer_tie_outlasts_conversions() -> None:
    spec = loads(TIED_TWICE)
    built = confnet.build(spec)
    assert _ties(built) == (True, True, False)
    assert _ties(confnet.build(spec, dtype=torch.float64)) == (True, True, False)
    built.b.half()
    assert _ties(built) == (True, True, False)
    assert _ties(confnet.build(spec, device="meta").to_empty(device="cpu")) == (True, True, False)


def test_threads_that_build_one_text_get_one_class(monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[type] = []
    gate = threading.Barrier(4)
    make = instances._make

    def slowly(*arguments: Any) -> type[torch.nn.Module]:
        time.sleep(0.1)  # the others come while the class is being made
        return make(*arguments)

    monkeypatch.setattr(instances, "_make", slowly)
    spec = confnet.loads("confnet: 1\nmodules: {B: {children: {}, forward: return x * 31}}\nchildren: {b: B}\n"
                         "forward: return b(x)\n")  # fmt: skip

    def build() -> None:
        gate.wait()
        found.append(type(confnet.build(spec).b))

    threads = [threading.Thread(target=build) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


# --- what a call may change -----------------------------------------------------------------------------------------

CALLER = """
    confnet: 1
    modules:
      Doubled: {{forward: "x.mul_(2)\\nreturn x"}}
      Kept:
        inputs: {{x: [B, 4]}}
        children: {{act: {{ReLU: {{inplace: true}}}}}}
        forward: return act(torch.mul(x, 2))
    inputs: {{x: [B, 4]}}
    children: {{fc: {{Linear: [4, 4]}}, inner: {inner}}}
    forward: |
      with torch.no_grad():
          y = inner(fc.weight)
      return fc(x) + y.sum()
"""


@pytest.mark.parametrize("inner", ["Doubled", "{Sequential: [Doubled]}", "{Sequential: [Kept, {ReLU: true}]}"])
def test_a_weight_may_not_reach_a_module_that_changes_what_it_gets(inner: str) -> None:
    assert codes(confnet.validate(loads(CALLER.format(inner=inner)))) == ["changes-module-state"]


@pytest.mark.parametrize("inner", ["Kept", "{Sequential: [Kept, Kept]}"])
def test_a_module_with_an_inplace_layer_inside_may_get_a_weight_that_it_does_not_change(inner: str) -> None:
    assert codes(confnet.validate(loads(CALLER.format(inner=inner)))) == []
    model: Any = confnet.build(loads(CALLER.format(inner=inner)))
    before = model.fc.weight.clone()
    model(torch.randn(2, 4))
    assert torch.equal(model.fc.weight, before)

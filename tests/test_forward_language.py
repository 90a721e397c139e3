"""The forward language: what a body means, what is said about it, and the function that comes out."""

from __future__ import annotations

import ast
import contextlib
import subprocess
import sys
import time
import traceback
from dataclasses import replace
from typing import Any

import pytest
import torch

from confnet.diagnostics import ConfnetError
from confnet.language.compile import Names, compile_function
from confnet.language.forward import Scope, check_code, find_cycle, parse_code
from confnet.language.kinds import NONE, NUMBER, TENSOR, TEXT, UNKNOWN, Kind, ListKind, ModuleKind, Signature, TupleKind
from confnet.language.names import MODULE_ATTRIBUTES, attribute_name
from tests.language_scope import (
    MEMBERS,
    SCOPE,
    Small,
    check,
    code,
    errors,
    function,
    module_globals,
    run,
)

# --- bodies that run ------------------------------------------------------------------------------------------------

BODIES: list[tuple[str, str]] = [
    # a body, and the same as a person would write it over `m` and `x`
    ("return x", "x"),
    ("return lin(x)", "m.lin(x)"),
    ("return self.lin(x)", "m.lin(x)"),
    ("x = lin(x)\nx = act(x)\nreturn x", "m.act(m.lin(x))"),
    ("out = lin(x)\nreturn out + (down(x) if down is not None else x)", "m.lin(x) + x"),
    ("if down is None:\n    return x\nreturn down(x)", "x"),
    ("if use:\n    y = down(x)\nelse:\n    y = lin(x)\nreturn y", "m.lin(x)"),
    ("for layer in layers:\n    x = layer(x)\nreturn x", "m.layers[1](m.layers[0](x))"),
    ("for i, layer in enumerate(layers):\n    x = layer(x) * i\nreturn x", "m.layers[1](m.layers[0](x) * 0) * 1"),
    ("for a, b in zip(layers, reversed(layers)):\n    x = a(b(x))\nreturn x",
     "m.layers[1](m.layers[0](m.layers[0](m.layers[1](x))))"),
    ("for layer in layers[1:]:\n    x = layer(x)\nreturn x", "m.layers[1](x)"),
    ("for i in range(depth):\n    x = layers[i](x)\nreturn x", "m.layers[1](m.layers[0](x))"),
    ("return layers[depth - 1](x)", "m.layers[1](x)"),
    ("return layers[-1](x)", "m.layers[1](x)"),
    ("layer = layers[0]\nreturn layer(x)", "m.layers[0](x)"),
    ("return heads[name](x)", "m.heads['cat'](x)"),
    ("return {k: h(x) for k, h in heads.items()}['dog']", "m.heads['dog'](x)"),
    ("return sum([h(x) for h in heads.values()])", "m.heads['cat'](x) + m.heads['dog'](x)"),
    ("return sum(layer(x) for layer in layers)", "m.layers[0](x) + m.layers[1](x)"),
    ("for key in heads.keys():\n    x = heads[key](x)\nreturn x", "m.heads['dog'](m.heads['cat'](x))"),
    ("for k in heads:\n    x = heads[k](x)\nreturn x", "m.heads['dog'](m.heads['cat'](x))"),
    ("return (lin if use else identity)(x)", "x"),
    ("for layer in empty:\n    x = layer(x)\nreturn x", "x"),
    ("return encode(x) + self.encode(x) + block.encode(x)", "x * 4 + x + 1"),
    ("return block(x, mask=mask)", "m.block(x)"),
    ("return torch.utils.checkpoint.checkpoint(block, x, use_reentrant=False)", "m.block(x)"),
    ("return twice(x)", "x * 2"),
    ("return x * type + depth", "x * 3 + 2"),
    ("return x * self.type", "x * 3"),
    ("return x + block.scale + block.proj.weight + lin.in_features", "x + m.block.scale + m.block.proj.weight + 4"),
    ("return x if training else mask", "x"),
    ("return x if self.training and lin.training else mask", "x"),
    ("return F.relu(x) + nn.functional.relu(x) + torch.nn.functional.relu(x) + torch.relu(x)", "x.relu() * 4"),
    ("return torch.linalg.norm(x)", "torch.linalg.norm(x)"),
    ("return x * torch.finfo(x.dtype).eps + math.sqrt(4) + math.pi",
     "x * torch.finfo(x.dtype).eps + 2 + 3.141592653589793"),
    ("return x.to(torch.float64)", "x.double()"),
    ("B, T = x.shape\nreturn x.view(T, B) * x.ndim", "x * 2"),
    ("return torch.cat([x, *[x, x]], dim=1)[:, -4:]", "x"),
    ("return torch.stack([y for y in x if depth > 1])", "x"),
    ("values, places = x.max(dim=1)\nreturn values", "x.max(dim=1).values"),
    ("return x.max(dim=1).values", "x.max(dim=1).values"),
    ("skips = []\nfor layer in layers:\n    x = layer(x)\n    skips.append(x)\n"
     "for layer in layers:\n    x = x + skips.pop()\nreturn x",
     "(lambda a: (lambda b: b + b + a)(m.layers[1](a)))(m.layers[0](x))"),
    ("d = {'a': x}\nd['b'] = x + 1\nreturn d['a'] + d['b']", "x + x + 1"),
    ("x[:, 0] = 0\nreturn x", "torch.cat([torch.zeros(4, 1), torch.ones(4, 3)], 1)"),
    ("y = x.clone()\ny += 1\ny.mul_(2)\nreturn y", "(x + 1) * 2"),
    ("total = 0\nfor i in range(5):\n    if i == 1:\n        continue\n"
     "    if i == 4:\n        break\n    total += i\nelse:\n    total = -1\nreturn x * total",
     "x * 5"),
    ("with torch.no_grad():\n    steps.add_(1)\nreturn x + steps", "x + 1"),
    ("'''What it does.'''\nreturn x", "x"),
    ("assert x.shape[0] == 4, 'four rows'\nreturn x @ x", "x @ x"),
    ("y = x if mask is None else mask.float()\nreturn y", "x"),
    ("return -x ** 2 // 3 % 2 + ~(x > 0) | (x < 3)", "None"),
    ("pass\nreturn x", "x"),
    ("if name == 'cat' and not use or depth > 5:\n    return x\nreturn down(x)", "x"),
    ("return x if 'cat' in heads else mask", "x"),
    ("lengths = [len(layers), len(heads), len(sizes), len(x)]\nreturn x * max(lengths)", "x * 4"),
    ("for child in self.children():\n    pass\nreturn x", "x"),
    ("return x\nreturn nothing_is_run_here", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reference"), BODIES, ids=[body.replace("\n", "; ") for body, _ in BODIES])
def test_bodies_compute_what_a_person_would_write(body: str, reference: str) -> None:
    if reference in ("", "None"):
        assert errors(body) in ([], ["undefined-name"])
        return
    module = Small()
    expected = eval(reference, {"m": module, "x": torch.ones(4, 4), "torch": torch})
    assert torch.equal(run(body, module=module), expected)


# --- diagnostics ------------------------------------------------------------------------------------------------------

MESSAGES: list[tuple[str, str, str, str]] = [
    # body, severity[code] of the only diagnostic, underlined text, a part of the help
    ("lin(x)", "error[missing-return]", "lin(x)", "write `return lin(x)`"),
    ("x = lin(x)", "error[missing-return]", "x = lin(x)", "end with `return x`"),
    ("x + 1\nreturn x", "error[unused-expression]", "x + 1", "leave it out"),
    ("lin(x)\nreturn x", "error[unused-expression]", "lin(x)", "assign it"),
    ("return blokc(x)", "error[undefined-name]", "blokc", "did you mean `block`?"),
    ("return self.blokc(x)", "error[module-method]", "self.blokc", "did you mean `block`?"),
    ("return self.wieght", "error[missing-member]", "self.wieght", "did you mean `weight`?"),
    ("return block.porj(x)", "error[module-method]", "block.porj", "did you mean `proj`?"),
    ("return lin.wieght", "error[missing-member]", "lin.wieght", "did you mean `weight`?"),
    ("return F.rleu(x)", "error[unknown-function]", "F.rleu", "did you mean `F.relu`?"),
    ("return torch.sigmiod(x)", "error[unknown-function]", "torch.sigmiod", "did you mean `torch.sigmoid`?"),
    ("return x.reshpe(4)", "error[unknown-method]", "x.reshpe", "did you mean `reshape`?"),
    ("return x.shpae", "error[unknown-attribute]", "x.shpae", "did you mean `shape`?"),
    ("return x.to(torch.flaot16)", "error[unknown-attribute]", "torch.flaot16", "did you mean `float16`?"),
    ("return lin(x, x)", "error[wrong-argument-count]", "x", ""),
    ("return lin()", "error[missing-argument]", "lin()", ""),
    ("return lin(inptu=x)", "error[unknown-argument]", "inptu=x", "did you mean `input`?"),
    ("return lin(x, input=x)", "error[duplicate-argument]", "input=x", ""),
    ("return block(x, maks=x)", "error[unknown-argument]", "maks=x", "did you mean `mask`?"),
    ("return F.softmax(x, 1, dtpye=None)", "error[unknown-argument]", "dtpye=None", "did you mean `dtype`?"),
    ("return x.sum(1, kepdim=True)", "error[unknown-argument]", "kepdim=True", "did you mean `keepdim`?"),
    ("return encode()", "error[missing-argument]", "encode()", ""),
    ("return twice(x, b=x)", "error[unknown-argument]", "b=x", ""),
    ("return len(x, x)", "error[wrong-argument-count]", "x", ""),
    ("return layers[2](x)", "error[missing-member]", "layers[2]", ""),
    ("return down(x)", "error[call-of-none]", "down(x)", ""),
    ("for y in down:\n    pass\nreturn x", "error[call-of-none]", "down", ""),
    ("return layers(x)", "error[not-callable]", "layers(x)", "call its items"),
    ("return x if lin else x", "error[module-as-value]", "lin", "`lin is not None`"),
    ("lin = lin(x)\nreturn lin", "error[possibly-undefined]", "lin", "write `self.lin`"),
    ("self.lin = self.lin(x)\nreturn x", "error[attribute-assignment]", "self.lin", "`lin = self.lin(x)`"),
    ("self.steps = x\nreturn x", "error[attribute-assignment]", "self.steps", "copy_"),
    ("return y\ny = x", "error[possibly-undefined]", "y", ""),
    ("if x is None:\n    y = x\nreturn y", "warning[possibly-undefined]", "y", ""),
    ("for i in range(mask):\n    y = x\nreturn y", "warning[possibly-undefined]", "y", ""),
    ("if x.sum() > 0:\n    x = x + 1\nreturn x", "warning[data-dependent-control-flow]", "x.sum() > 0", "torch.where"),
    ("return x if (x + 1).any() else -x", "warning[data-dependent-control-flow]", "(x + 1).any()", ""),
    ("for i in range(x.shape[1]):\n    x = x + i\nreturn x", "note[loop-over-symbolic-size]", "range(x.shape[1])", ""),
    ("B, T = x.shape\nfor i in range(T - 1):\n    x = x + i\nreturn x",
     "note[loop-over-symbolic-size]", "range(T - 1)", ""),
    ("for i, j in enumerate(range(x.size(0))):\n    x = x + i\nreturn x",
     "note[loop-over-symbolic-size]", "enumerate(range(x.size(0)))", ""),
    ("while x:\n    pass\nreturn x", "error[not-allowed-in-code]", "while x:\n    pass", "`for`"),
    ("return f'{x}'", "error[not-allowed-in-code]", "f'{x}'", "format"),
    ("return $x", "error[dollar-in-code]", "$", "write `x`"),
    ("return (x", "error[invalid-syntax]", "(", "`)`"),
    ("return x x", "error[invalid-syntax]", "x", ""),
    ("a, b = (x, x, x)\nreturn a", "error[wrong-unpacking]", "a, b", ""),
    ("return (x, x)[2]", "error[missing-member]", "(x, x)[2]", ""),
    ("break\nreturn x", "error[invalid-syntax]", "break", ""),
    ("assert x is not None\nreturn x", "error[invalid-assert]", "assert x is not None", "text"),
    ("return weight.zero_()", "error[changes-module-state]", "weight.zero_()", ".clone()"),
    ("return 'größe' + name + grösse", "error[undefined-name]", "grösse", ""),
    ("return torch.utils.checkpoint.checkpoint(block, x)", "error[missing-argument]",
     "torch.utils.checkpoint.checkpoint(block, x)", "use_reentrant=False"),
    ("return depth[0]", "error[not-indexable]", "depth[0]", ""),
    ("return [y for y in depth]", "error[not-iterable]", "depth", ""),
]  # fmt: skip


def _underlined(text: str, span: Any) -> str:
    """The text under a span, when the body stands from line 10 in column 5."""
    lines = text.split("\n")[span.line - 10 : span.end_line - 9]
    lines[-1] = lines[-1][: span.end_column - 5]
    lines[0] = lines[0][span.column - 5 :]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("body", "head", "underlined", "part"), MESSAGES, ids=[case[0].replace("\n", "; ") for case in MESSAGES]
)
def test_diagnostics(body: str, head: str, underlined: str, part: str) -> None:
    (found,) = check(body).diagnostics
    assert f"{found.severity}[{found.code}]" == head
    assert found.span is not None
    assert _underlined(body, found.span) == underlined
    assert part in found.help
    assert not found.message.endswith(".")
    assert found.message[0] in "`'" or found.message[0].islower() or found.message[0].isdigit()


def test_every_mistake_of_a_body_is_told() -> None:
    assert errors("y = nope(x)\nz = lin(x, 2)\nweight.zero_()\nreturn x.numpy()") == [
        "undefined-name", "wrong-argument-count", "changes-module-state", "unknown-method",
    ]  # fmt: skip


def test_the_grammar_tells_every_construct_it_refuses() -> None:
    found = parse_code(code("import os\nx = lambda: 1\nwhile x:\n    y = f''\nreturn x")).diagnostics
    assert [d.code for d in found] == ["not-allowed-in-code"] * 3
    assert [d.span.line for d in found if d.span] == [10, 11, 12]


# --- instances --------------------------------------------------------------------------------------------------------


def test_a_branch_that_cannot_run_is_checked_for_names_only() -> None:
    body = "if down is not None and use:\n    x = down(x, 1, 2)\n    x = down.weight + layers[7](x)\nreturn x"
    assert errors(body) == []
    assert errors(body.replace("down(x, 1, 2)", "nope(x)")) == ["undefined-name"]
    assert errors(body.replace("down(x, 1, 2)", "torch.load(x)")) == ["unknown-function"]
    assert errors(body.replace("down(x, 1, 2)", "weight.zero_()")) == ["changes-module-state"]
    # Another instance may have a child there that takes as many; torch's functions are the same in all of them.
    assert errors("if use:\n    x = layers[1](x, x, x)\nreturn x") == []
    assert errors("if depth:\n    x = layers[1](x, x, x)\nreturn x") == ["wrong-argument-count"]
    assert errors("if use:\n    x = torch.relu(x, x, x)\nreturn x") == ["wrong-argument-count"]


@pytest.mark.parametrize(
    ("condition", "live"),
    [("use", False), ("not use", True), ("down is None", True), ("lin is None", False), ("lin is not None", True),
     ("self.down != None", False), ("lin.bias is None", True), ("lin.bias is not None and x is None", False),
     ("depth > 1 and name == 'cat'", True), ("use or depth == 2", True), ("depth + 1 < 3", False),
     ("x is None or True", True),
     ("use and x.sum() > 0", False), ("0", False), ("sizes[0]", None), ("x is None", None), ("training", None),
     ("'cow' in heads", False), ("len(layers) == 2", True), ("weight is None", False)],
)  # fmt: skip
def test_conditions_settled_before_a_body_runs(condition: str, live: bool | None) -> None:
    wrong = "down(x)"
    then = errors(f"if {condition}:\n    return {wrong}\nreturn x")
    other = errors(f"if {condition}:\n    return x\nelse:\n    return {wrong}")
    assert ("call-of-none" in then, "call-of-none" in other) == (live is not False, live is not True)


def test_every_element_of_a_container_is_checked_for_a_computed_index() -> None:
    two = Signature((), result=TENSOR)
    mixed = ModuleKind("ModuleList", container="list", items={"0": MEMBERS["lin"], "1": ModuleKind("Odd", two)})
    scope = replace(SCOPE, members={**MEMBERS, "mixed": mixed})
    assert errors("i = 0\nreturn mixed[i](x)", scope) == ["wrong-argument-count"]
    assert errors("for layer in mixed:\n    x = layer(x)\nreturn x", scope) == ["wrong-argument-count"]
    assert errors("return mixed[0](x)", scope) == []


@pytest.mark.parametrize(
    ("body", "kind"),
    [("return lin(x)", TENSOR), ("return x", UNKNOWN), ("return depth * 2", NUMBER), ("return name", TEXT),
     ("return", NONE),
     ("return lin(x), depth", TupleKind((TENSOR, NUMBER))), ("return [lin(x)]", ListKind(TENSOR)),
     ("if use:\n    return 1\nreturn lin(x)", TENSOR), ("y = lin(x)\ny += 1\nreturn y", TENSOR),
     ("l = []\nl.append(lin(x))\nreturn l", ListKind(TENSOR)), ("return torch.relu(x)", TENSOR)],
)  # fmt: skip
def test_the_kind_of_the_result(body: str, kind: Kind) -> None:
    assert check(body).result == kind


def test_what_a_check_tells_about_a_body() -> None:
    result = check(
        "x.add_(1)\ny = lin(x) * depth\nreturn encode(y) + (down(x) if down is not None else weight.view(-1))"
    )
    assert result.names_read == {"lin", "depth", "down", "weight"}
    assert result.methods_called == {"encode"}
    assert result.changes == {"x"}
    assert check("return weight.view(-1)").shares == {"weight"}
    assert check("return steps").shares == {"steps"}
    assert check("return lin(x)").shares == frozenset()
    assert check("y = x.view(-1)\nfor q in [y]:\n    q.zero_()\nreturn mask").changes == {"x"}


def test_what_a_child_changes_and_shares_reaches_the_caller() -> None:
    careless = ModuleKind("Careless", replace(SCOPE.methods["encode"], changes=frozenset({"x"})))
    sharing = ModuleKind("Sharing", replace(SCOPE.methods["encode"], shares_state=True))
    scope = replace(SCOPE, members={**MEMBERS, "careless": careless, "sharing": sharing})
    assert errors("return careless(weight)", scope) == ["changes-module-state"]
    assert errors("return careless(x=lin.weight[0])", scope) == ["changes-module-state"]
    assert errors("return careless(x)", scope) == []
    assert check("return careless(x)", scope).changes == {"x"}
    assert errors("y = sharing(x)\ny += 1\nreturn y", scope) == ["changes-module-state"]


def test_a_default_that_can_change_is_a_constant() -> None:
    scope = replace(SCOPE, inputs={"x": ListKind(NUMBER)}, defaults={"x": [1, 2]})
    assert errors("x[0] = 5\nreturn x", scope) == ["changes-constant"]


def test_hooks_read_a_module_and_may_return_nothing() -> None:
    lin = MEMBERS["lin"]
    scope = Scope(inputs={"module": lin, "args": UNKNOWN, "output": UNKNOWN}, has_self=False, must_return=False)
    assert errors("return output + module.weight", scope) == []
    assert errors("y = output", scope) == []
    assert errors("module.weight.zero_()", scope) == ["changes-module-state"]
    assert errors("return module.half()", scope) == ["module-method"]
    assert errors("return self.x", scope) == ["undefined-name"]
    assert errors("output + 1", scope) == ["missing-return"]


# --- values ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    ["torch.tril(torch.ones(depth, depth))", "  torch.ones(depth,\n    depth)", "torch.ones(depth)\n + 1",
     "y = torch.ones(depth)\nreturn y", "if use:\n    return torch.ones(1)\nreturn torch.zeros(1)"],
)  # fmt: skip
def test_a_value_is_an_expression_or_a_block(text: str) -> None:
    assert check(text, form="value").ok
    assert isinstance(function(text, "value")(Small(), None), torch.Tensor)


def test_a_value_that_is_neither_is_refused() -> None:
    assert [d.code for d in check("y = torch.ones(depth)", form="value").diagnostics] == ["missing-return"]
    assert [d.code for d in check("y = = 1", form="value").diagnostics] == ["invalid-syntax"]
    assert [d.code for d in check("# nothing", form="value").diagnostics] == ["empty-code"]
    assert [d.code for d in check("", form="body").diagnostics] == ["empty-code"]


# --- the function ---------------------------------------------------------------------------------------------------


def test_a_function_is_what_a_person_would_write() -> None:
    made = function("y = lin(x)\nreturn y + type")
    assert (made.__name__, made.__qualname__) == ("forward", "Small.forward")
    assert made.__code__.co_varnames == ("self", "x", "mask", "y")
    assert made.__code__.co_names == ("lin", "_arg_type")
    assert made.__defaults__ == (None,)
    assert made.__code__.co_freevars == ()


def test_a_traceback_shows_the_file_and_the_columns(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = "größe: 'ä' + lin(x) + x.view(3, 3)"
    (tmp_path / "model.yaml").write_text("# a file\n" + line + "\n", encoding="utf-8")
    parsed = parse_code(code("'ä' + lin(x) + x.view(3, 3)", "value", indent=7, first_line=2))
    names = Names(MEMBERS)
    made = compile_function(parsed, "forward", [("x", True, None)], names, source_lines=["# a file", line])
    with pytest.raises(TypeError) as caught:
        made.bind(module_globals())(Small(), torch.ones(4, 4))
    shown = "".join(traceback.format_tb(caught.value.__traceback__)[-1:])
    assert 'File "model.yaml", line 2, in forward' in shown
    text, carets = shown.splitlines()[1:3]
    assert text.strip() == line
    assert "'ä' + lin(x)" in text[carets.index("~") : carets.rindex("~") + 1]


def test_a_traceback_of_a_block_shows_its_line() -> None:
    made = function("y = lin(x)\n\nreturn (y +\n        x.view(3, 3))")
    with pytest.raises(RuntimeError) as caught:
        made(Small(), torch.ones(4, 4))
    frame = traceback.extract_tb(caught.value.__traceback__)[1]
    assert (frame.filename, frame.lineno, frame.colno, frame.end_colno) == ("model.yaml", 13, 12, 24)


def test_defaults_cannot_be_changed_through_a_call() -> None:
    parsed = parse_code(code("return sizes"))
    made = compile_function(parsed, "forward", [("sizes", False, [1, [2]])], Names()).bind(module_globals())
    assert made(None) == (1, (2,))


@pytest.mark.parametrize(
    "inputs", [[("a", False, 1), ("b", True, None)], [("a b", True, None)], [("class", True, None)]]
)
def test_inputs_that_python_cannot_have(inputs: list[tuple[str, bool, object]]) -> None:
    with pytest.raises(ValueError, match=r"."):
        compile_function(parse_code(code("return 1")), "forward", inputs, Names())


@pytest.mark.parametrize(
    "text", ["return open(x)", "return [eval(y) for y in x]", "return __import__(x)", "return twice(x)"]
)
def test_compiled_code_reaches_for_no_other_global(text: str) -> None:
    """The lock behind the checker: an unchecked body does not compile either."""
    parsed = replace(parse_code(code("return x")), body=tuple(ast.parse(text).body))
    with pytest.raises(ValueError, match="not a name that code may use"):
        compile_function(parsed, "forward", [("x", True, None)], Names(functions=frozenset()))


def test_comprehension_variables_shadow_attributes_inside_only() -> None:
    module = Small()
    made = function("y = [lin for lin in range(3)]\nreturn y, lin(x)")
    values, out = made(module, torch.ones(4, 4))
    assert values == [0, 1, 2]
    assert torch.equal(out, module.lin(torch.ones(4, 4)))


def test_a_module_with_compiled_code_passes_fullgraph_and_export() -> None:
    body = "for layer in layers:\n    x = F.relu(layer(x))\nreturn x * type"
    cls = type("Built", (Small,), {"forward": function(body)})
    module = cls()
    x = torch.ones(4, 4)
    assert torch.equal(torch.export.export(module, (x,)).module()(x), module(x))
    compiled: Any = torch.compile(module, backend="eager", fullgraph=True)  # type: ignore[no-untyped-call,unused-ignore]
    assert torch.equal(compiled(x), module(x))


# --- names ----------------------------------------------------------------------------------------------------------


def test_the_attributes_of_modules_are_those_of_torch() -> None:
    # In a process of its own: other libraries, and dynamo, leave marks on the class.
    code = "import torch; print(*dir(torch.nn.Module()))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert frozenset(found.split()) == MODULE_ATTRIBUTES


def test_attribute_names_never_meet() -> None:
    assert attribute_name("dim") == "dim"
    assert attribute_name("type") == "_arg_type"
    words = ["type", "_arg_type", "_arg__arg_type", "dim", "training"]
    assert len({attribute_name(word) for word in words}) == len(words)
    assert not MODULE_ATTRIBUTES & {attribute_name(word) for word in words}


@pytest.mark.parametrize(
    ("graph", "cycle"),
    [({}, None), ({"a": ["b"], "b": []}, None), ({"a": ["a"]}, ["a", "a"]),
     ({"a": ["b", "c"], "b": ["c"], "c": []}, None),
     ({"a": ["b"], "b": ["c"], "c": ["b"]}, ["b", "c", "b"]), ({"a": ["torch"]}, None)],
)  # fmt: skip
def test_find_cycle(graph: dict[str, list[str]], cycle: list[str] | None) -> None:
    assert find_cycle(graph) == cycle


def test_refused_text_is_answered_with_its_own_diagnostics() -> None:
    parsed = parse_code(code("while x: pass"))
    assert not parsed.ok
    assert check_code(parsed, SCOPE).diagnostics == parsed.diagnostics


# --- bounds ---------------------------------------------------------------------------------------------------------


def loops(depth: int, body: str) -> str:
    """`body` inside so many loops, over `x` and what is in it."""
    heads = [f"for a{i} in {f'a{i - 1}' if i else 'x'}:" for i in range(depth)]
    lines = [*("  " * i + head for i, head in enumerate(heads)), *("  " * depth + line for line in body.split("\n"))]
    return "\n".join([*lines, "return x"])


def chain(length: int) -> str:
    """Locals that hand a value on, so that each round of a loop tells the check something new."""
    return "\n".join([*(f"b{i} = b{i + 1}" for i in range(length)), f"b{length} = weight"])


SLOW: dict[str, str] = {
    "loops": loops(20, "x = x + a19"),
    "chain": "".join(f"b{i} = x\n" for i in range(1001)) + loops(1, chain(1000)),
    "chain in loops": "".join(f"b{i} = x\n" for i in range(301)) + loops(19, chain(300)),
    "aliases of a list": "l = []\n" + "".join(f"c{i} = l\n" for i in range(800)) + "l.append(x)\n" * 800 + "return x",
    "replaced items": "l = [x]\n" + "".join(f"c{i} = l\n" for i in range(800)) + "l[0] = x\n" * 800 + "return x",
    "branches": "".join(f"c{i} = x\n" for i in range(1400))
    + "".join(f"if x is None:\n  y{i} = x\n" for i in range(500))
    + "return x",
    "unknown names": "".join(f"name{i} = x\n" for i in range(900))
    + "".join(f"y = unknown_name{i}\n" for i in range(1500))
    + "return x",
    "tuples of tuples": "t = x\n" + f"t = ({'t, ' * 16} if x is None else t, {'t, ' * 15})\n" * 100 + "return x",
}


@pytest.mark.parametrize("name", SLOW)
def test_any_body_is_judged_soon(name: str) -> None:
    started = time.process_time()
    with contextlib.suppress(ConfnetError):  # more mistakes than anyone reads
        errors(SLOW[name])
    assert time.process_time() - started < 5  # about one second, on a machine that does nothing else


def test_nested_loops_are_checked_and_not_given_up() -> None:
    """The rounds of loops in loops add up, they do not multiply."""
    assert check(loops(20, "x = x + a19")).ok
    assert errors("y = x.clone()\n" + loops(12, "y.zero_()\ny = weight")) == ["changes-module-state"]


@pytest.mark.parametrize(
    "text",
    [
        loops(21, "x = x + 1"),
        "\n".join(" " * i + "with torch.no_grad():" for i in range(21)) + "\n" + " " * 21 + "x = x + 1\nreturn x",
        "\n".join(" " * i + "if x is None:" for i in range(120)) + "\n" + " " * 120 + "x = x + 1\nreturn x",
    ],
)
def test_what_python_cannot_nest_is_told(text: str) -> None:
    assert errors(text) == ["code-too-deep"]


@pytest.mark.parametrize(
    "text",
    [
        "return x" + "[0]" * 95,
        "return x" + " + x" * 95,
        "return " + "(x, " * 88 + "x" + ")" * 88,
        "return " + "[" * 88 + "x" + " for q in x]" * 88,
        "return [x " + "for q in x " * 95 + "]",
        "return (" + "x, " * 4900 + ")",
        "\n".join(" " * i + "if x is None:" for i in range(90)) + "\n" + " " * 90 + "x = x + 1\nreturn x",
        "if x is None:\n  x = x + 1\n" + "elif x is None:\n  x = x + 1\n" * 80 + "return x",
        loops(20, "x = x + 1"),
    ],
)
def test_what_is_accepted_can_be_compiled(text: str) -> None:
    assert errors(text) == []
    function(text)

"""The allowlist of torch functions: it says what torch does, and nothing on it can do harm."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.overrides import get_testing_overrides

from confnet.builder.introspect_functions import regenerate, resolve, schemas_of
from confnet.catalog import functions
from confnet.catalog.function_groups import CORRECTED_FORMS, CORRECTED_RESULTS, GROUPS, MAY_SHARE, MUTATES
from confnet.catalog.functions import (
    DATA_FILE,
    TENSOR_ATTRIBUTES,
    ArgumentProblem,
    Function,
    Namespace,
    check_arguments,
    functional,
    names,
    refusal_help,
    result_fields,
    tensor_method,
    torch_function,
)
from confnet.language.kinds import DTYPE, FLAG, NUMBER, TENSOR, ListKind, TupleKind

NAMESPACES: tuple[Namespace, ...] = ("torch", "functional", "tensor")
LOOKUP: dict[Namespace, Callable[[str], Function | None]] = {
    "torch": torch_function,
    "functional": functional,
    "tensor": tensor_method,
}

# What may never be on the list, as patterns over names: files, process state, Python objects, callables, hooks,
# memory that was never written, changes of a tensor's shape or place in memory.
DENIED = re.compile(
    r"""
    (^|\.)_ | ^(from|to)_(file|dlpack|numpy|mkldnn|sparse.*|padded_tensor)$ | frombuffer | ^set_ | ^get_(?!device$)
    | seed | rng_state | vmap | ^cond$ | while_loop | fork | ^wait$ | apply | ^map2?_$ | resize | ^data$ | numpy
    | tolist | ^item$ | storage$ | ^storage | data_ptr | ^new$ | subclass | compile | ^load$ | ^save$ | import | parse
    | hook | backward | retain_grad | requires_grad | share_memory | pin_memory | record_stream | empty | sparse
    | quantize | ^q_ | ^int_repr$ | autocast | enabled$ | num_threads | deterministic | default | ^is_(shared|pinned)
    | _with_distance | multi_head | nonzero_static | names | rename | ^align_ | ^refine | module | typename | reinforce
    | ^(squeeze|unsqueeze|t|transpose|swapaxes|swapdims|as_strided|detach)_$ | ^(cudnn|miopen|mkldnn|fbgemm)
    """,
    re.VERBOSE,
)
DENIED_ARGUMENTS = re.compile(
    r"^(out|generator|names|layout|pin_memory|memory_format|max_norm|_.*|func|callable|hook|file.*|.*_function)$"
)


def every_function() -> Iterator[Function]:
    for namespace in NAMESPACES:
        for name in names(namespace):
            found = LOOKUP[namespace](name)
            assert found is not None
            yield found


# --- the list -------------------------------------------------------------------------------------------------------


def test_data_is_what_torch_says() -> None:
    shipped = DATA_FILE.read_text(encoding="utf-8")
    if json.loads(shipped)["torch"] != torch.__version__.split("+")[0]:
        pytest.skip("functions.json speaks of another torch")
    assert shipped == regenerate()


def test_every_name_exists() -> None:
    listed = [(namespace, name) for namespace in NAMESPACES for name in names(namespace)]
    assert len(listed) > 1000
    for namespace, name in listed:
        assert callable(resolve(namespace, name)), f"{namespace}.{name}"


def test_a_name_that_does_not_exist_is_found() -> None:
    with pytest.raises(AttributeError):
        resolve("torch", "linalg.no_such_function")


def test_no_name_is_listed_twice() -> None:
    listed = [pair for group in GROUPS for pair in group.names()]
    assert sorted(listed) == sorted(set(listed))


def test_nothing_denied_is_listed() -> None:
    assert [f.label for f in every_function() if DENIED.search(f.name)] == []
    for function in every_function():
        assert [p.name for p in function.parameters or () if DENIED_ARGUMENTS.search(p.name)] == [], function.label


@pytest.mark.parametrize(
    "name",
    """
    from_file frombuffer from_numpy set_default_dtype set_num_threads manual_seed vmap cond fork apply_ map_ set_
    resize_ data numpy tolist item untyped_storage new as_subclass requires_grad_ register_hook compile load save empty
    new_empty to_sparse share_memory_ __getattr__ _copy_from get_rng_state pin_memory squeeze_ data_ptr
    """.split(),  # noqa: SIM905
)
def test_the_denying_pattern_catches(name: str) -> None:
    assert DENIED.search(name)
    assert all(lookup(name) is None for lookup in LOOKUP.values())


def test_denied_names_that_torch_has_are_many() -> None:
    """The pattern bites on torch as it is: were it written so that it cannot match, this would fail."""
    caught = [name for name in {*dir(torch), *dir(torch.Tensor)} if DENIED.search(name)]
    assert len(caught) > 200


def test_corrections_speak_of_listed_functions() -> None:
    listed = {f"{namespace}.{name}" for group in GROUPS for namespace, name in group.names()}
    assert {*CORRECTED_FORMS, *CORRECTED_RESULTS, *MUTATES} <= listed
    assert {key.partition(".")[2] for key in listed} >= MAY_SHARE


def test_every_function_tells_its_arguments() -> None:
    assert [f.label for f in every_function() if f.parameters is None] == []


def test_arguments_of_overloads_agree_with_torch_s_own_list() -> None:
    """`torch.overrides` lists the arguments of functions independently: required ones of ours are among them."""
    overrides = get_testing_overrides()
    compared = 0
    for name in names("functional"):
        lambda_ = overrides.get(getattr(F, name))
        function = functional(name)
        if lambda_ is None or function is None or name.endswith("_") or lambda_.__code__.co_flags & 0x0C:
            continue
        # There `one_hot` takes `tensor`; the function itself takes `input`, as a call below shows.
        theirs = {*lambda_.__code__.co_varnames, *(["input"] if name == "one_hot" else [])}
        assert [p.name for p in function.parameters or () if p.required and p.name not in theirs] == [], name
        compared += 1
    assert compared > 70


def test_reading_needs_no_torch() -> None:
    code = "import sys, confnet.catalog.functions as f; f.torch_function('cat'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- real calls -----------------------------------------------------------------------------------------------------

# Calls as models write them, one a line, over the values that `values()` makes.
CALLS = Path(__file__).with_name("function_calls.txt").read_text(encoding="utf-8").splitlines()


def values() -> dict[str, Any]:
    torch.manual_seed(0)
    return {
        "torch": torch,
        "F": F,
        "x": torch.randn(2, 3, 4),
        "m": torch.tensor([True, False, True, False]),
        "i": torch.zeros(2, 3, 4, dtype=torch.int64),
        "ids": torch.tensor([0, 1]),
        "ids3": torch.tensor([0, 1, 2]),
        "eye4": torch.eye(4),
        "image": torch.randn(1, 4, 6, 6),
        "kernel": torch.randn(4, 4, 3, 3),
        "grid": torch.zeros(1, 5, 5, 2),
        "wave": torch.randn(1, 64),
        "q": torch.randn(1, 2, 3, 4),
        "float_min": torch.finfo(torch.float32).min,
    }


def called(node: ast.Call) -> Function | None:
    """The listed function that a call names."""
    text = ast.unparse(node.func)
    plain = re.fullmatch(r"[\w.]+", text) is not None
    if plain and text.startswith("torch."):
        return torch_function(text.removeprefix("torch."))
    if plain and text.startswith("F."):
        return functional(text.removeprefix("F."))
    assert isinstance(node.func, ast.Attribute)
    return tensor_method(node.func.attr)


def problems(node: ast.Call) -> list[str]:
    function = called(node)
    assert function is not None, ast.unparse(node.func)
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
    found = check_arguments(function, count, [k.arg for k in node.keywords if k.arg], starred)
    return [f"{problem.code}: {problem.message}; {problem.help}" for problem in found]


def storage(value: Any) -> set[int]:
    """The addresses of the memory behind a value."""
    if isinstance(value, torch.Tensor):
        return {value.untyped_storage().data_ptr()} if value.numel() else set()
    if isinstance(value, tuple | list):
        return set().union(*map(storage, value))
    return set()


def test_there_are_many_calls() -> None:
    assert len(CALLS) > 300


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", CALLS)
def test_a_real_call_is_accepted_and_runs(call: str) -> None:
    tree = ast.parse(call, mode="eval").body
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            assert problems(node) == []
    eval(call, values())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("call", [call for call in CALLS if call.endswith(")")])
def test_what_a_call_returns_and_touches(call: str) -> None:
    """The kind of the result is as told, memory is shared only where told, and arguments change only where told."""
    tree = ast.parse(call, mode="eval").body
    assert isinstance(tree, ast.Call)
    function = called(tree)
    assert function is not None
    space = values()
    before = {name: value.clone() for name, value in space.items() if isinstance(value, torch.Tensor)}
    result = eval(call, space)
    assert conforms(result, function)
    given = {name: space[name] for name in before if re.search(rf"\b{name}\b", call)}
    if not function.view:
        assert not storage(result) & storage(list(given.values())) or changes_its_input(function, call)
    if not (function.in_place or function.mutates or changes_its_input(function, call)):
        assert all(torch.equal(space[name], value) for name, value in before.items())


def changes_its_input(function: Function, call: str) -> bool:
    return function.mutates_if_inplace and "inplace=True" in call


def conforms(value: Any, function: Function) -> bool:
    kind = function.result
    if kind == TENSOR:
        return isinstance(value, torch.Tensor)
    if isinstance(kind, ListKind):
        return isinstance(value, tuple | list) and all(isinstance(item, torch.Tensor) for item in value)
    if isinstance(kind, TupleKind):
        return isinstance(value, tuple) and len(value) == len(kind.items)
    if kind == NUMBER:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, bool) if kind == FLAG else isinstance(value, torch.dtype) if kind == DTYPE else True


NULLARY = [
    name for name in names("tensor") if name != "cuda" and () in [f.parameters for f in (tensor_method(name),) if f]
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NULLARY)
def test_methods_without_arguments(name: str) -> None:
    """Every method that needs no argument, tried: what it shares, changes and returns is as told."""
    function = tensor_method(name)
    assert function is not None
    for value in (torch.eye(4) + 1, torch.eye(4, dtype=torch.int64), torch.eye(4, dtype=torch.bool)):
        before = value.clone()
        try:
            result = getattr(value, name)()
        except (RuntimeError, NotImplementedError):
            continue
        assert conforms(result, function)
        assert function.view or not storage(result) & storage(value)
        assert function.in_place or torch.equal(value, before)


def test_methods_without_arguments_are_many() -> None:
    assert len(NULLARY) > 80


UNARY = [
    name
    for name in names("functional")
    for function in [functional(name)]
    if function and not function.mutates and [p.name for p in function.parameters or () if p.required] == ["input"]
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", UNARY)
def test_functional_that_takes_one_tensor(name: str) -> None:
    """Dropout in evaluation and the like return their argument itself: that is told."""
    function = functional(name)
    assert function is not None
    value = torch.randn(2, 4, 6)
    options = {"training": False} if any(p.name == "training" for p in function.parameters or ()) else {}
    try:
        result = resolve("functional", name)(value, **options)
    except (RuntimeError, ValueError, TypeError):
        pytest.skip("takes another shape")
    assert function.view or not storage(result) & storage(value)


def test_only_what_is_told_to_change_a_tensor_does_so_in_torch_s_schemas() -> None:
    written = 0
    for function in every_function():
        for schema in schemas_of(function.namespace, function.name):
            writes = [a.name for a in schema.arguments if a.alias_info is not None and a.alias_info.is_write]
            assert not writes or function.in_place or function.mutates, function.label
            written += bool(writes)
    assert written > 100


# --- check_arguments ------------------------------------------------------------------------------------------------


def check(call: str) -> list[ArgumentProblem]:
    node = ast.parse(call, mode="eval").body
    assert isinstance(node, ast.Call)
    function = called(node)
    assert function is not None
    starred = any(isinstance(argument, ast.Starred) for argument in node.args)
    count = sum(not isinstance(argument, ast.Starred) for argument in node.args)
    return list(check_arguments(function, count, [str(k.arg) for k in node.keywords], starred))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (
            "torch.cat([x], dimm=1)",
            ("unknown-argument", "`torch.cat` has no argument `dimm`", "did you mean `dim`?", "dimm"),
        ),
        (
            "F.dropout(x, 0.1, True, False, 1)",
            ("too-many-arguments", "`F.dropout` takes at most 4 positional arguments, not 5", "", 4),
        ),
        (
            "F.gelu(x, 'tanh')",
            (
                "too-many-arguments",
                "`F.gelu` takes at most 1 positional argument, not 2",
                "give `approximate` by name",
                1,
            ),
        ),
        ("x.masked_fill(m)", ("missing-argument", "`Tensor.masked_fill` is missing its argument `value`", "", None)),
        (
            "F.linear(x, wieght=w)",
            ("unknown-argument", "`F.linear` has no argument `wieght`", "did you mean `weight`?", "wieght"),
        ),
        (
            "x.gather(1, i, dim=1)",
            (
                "duplicate-argument",
                "`dim` of `Tensor.gather` is given by position and by name",
                "remove one of them",
                "dim",
            ),
        ),
        (
            "x.relu(inplace=True)",
            ("unknown-argument", "`Tensor.relu` has no argument `inplace`", "it takes no arguments", "inplace"),
        ),
        (
            "torch.zeros(2, memory_format=1)",
            (
                "unknown-argument",
                "`memory_format` of `torch.zeros` may not be given in code",
                "leave `memory_format` away: set it on the built model",
                "memory_format",
            ),
        ),
    ],
)
def test_messages(call: str, expected: tuple[str, str, str, str | None]) -> None:
    assert [problem[:4] for problem in check(call)] == [expected]


@pytest.mark.parametrize("argument", ["out", "generator", "layout", "pin_memory", "names"])
def test_withheld_arguments_are_refused_with_the_repair(argument: str) -> None:
    function = torch_function("rand")
    assert function is not None
    (problem,) = check_arguments(function, 2, [argument], False)
    assert problem.code == "unknown-argument"
    assert argument in problem.message
    assert problem.help


def test_a_position_behind_a_withheld_argument_is_not_shifted() -> None:
    (problem,) = check("F.embedding(i, w, 0, 2.0)")
    assert problem[0] == "too-many-arguments"


def test_spread_arguments_may_fill_any_position() -> None:
    assert check("x.view(*shape)") == []
    assert check("torch.gather(x, *rest)") == []
    assert check("torch.gather(*rest)") == []
    assert [problem[0] for problem in check("x.relu(1, *rest)")] == ["too-many-arguments"]


def test_every_message_is_in_the_house_style() -> None:
    for function in every_function():
        for count, keywords in ((99, ()), (0, ("dimm",)), (0, ())):
            for problem in check_arguments(function, count, keywords, False):
                assert not problem.message.endswith(".")
                assert function.label in problem.message
                assert problem.place is None or problem.place in (*keywords, *range(count))


# --- the rest of the interface --------------------------------------------------------------------------------------


def test_only_a_lone_list_of_integers_may_be_spread() -> None:
    assert check("x.squeeze(0, 1)") == check("x.count_nonzero(0, 1)") == []
    assert [problem[0] for problem in check("x.relu(0)")] == ["too-many-arguments"]
    assert [problem[0] for problem in check("torch.permute(x, 0, 2, 1)")] == ["too-many-arguments"]


def test_overloads_are_joined() -> None:
    function = tensor_method("max")
    assert function is not None
    assert function.parameters is not None
    assert [(p.name, p.required) for p in function.parameters] == [("other", False), ("dim", False), ("keepdim", False)]


def test_what_changes_its_arguments() -> None:
    relu, norm, method = functional("relu"), functional("batch_norm"), tensor_method("add_")
    assert relu
    assert relu.mutates_if_inplace
    assert not relu.mutates
    assert norm
    assert norm.mutates == ("running_mean", "running_var")
    assert method
    assert method.in_place
    flagged = {f.name for f in every_function() if f.mutates_if_inplace}
    assert flagged == {name for name in names("functional") if "inplace" in _arguments(name)}


def _arguments(name: str) -> set[str]:
    function = functional(name)
    return {p.name for p in function.parameters or ()} if function else set()


def test_attributes_exist_and_have_their_kind() -> None:
    value = torch.ones(2, 2, dtype=torch.complex64)
    for name, kind in TENSOR_ATTRIBUTES.items():
        found = getattr(value, name)
        assert isinstance(found, torch.Tensor) == (kind == TENSOR)
        assert isinstance(found, torch.dtype) == (kind == DTYPE)
        assert isinstance(found, int | float) == (kind == NUMBER)


def test_dtypes_exist() -> None:
    assert all(isinstance(getattr(torch, name), torch.dtype) for name in functions.DTYPES)
    every = {name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)}
    assert {"float32", "float", "long", "bfloat16", "bool"} <= functions.DTYPES <= every


def test_fields_of_named_results() -> None:
    assert {"values", "indices", "eigenvalues", "Q", "Vh", "sign"} <= result_fields()


def test_help_for_what_is_left_out() -> None:
    assert "new_zeros" in refusal_help("new_empty")
    assert refusal_help("cat") == ""
    assert all(lookup(name) is None for name in functions._REFUSED for lookup in LOOKUP.values())


def test_forms_are_read_as_written() -> None:
    form = functions.Form.parse("size*, *, dtype=, device=")
    assert form.variadic
    assert [p.name for p in form.positions] == ["size"]
    assert [(p.name, p.required, p.positional) for p in form.parameters][1:] == [
        ("dtype", False, False),
        ("device", False, False),
    ]
    assert functions.Form.parse("") == functions.Form(())

"""The functions and tensor methods that code of a file may call, read without torch.

functions.json is generated from the curated list in `confnet.catalog.function_groups`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from confnet.catalog import data
from confnet.catalog.types import DTYPES as _DTYPE_NAMES
from confnet.diagnostics import closest
from confnet.language.kinds import DTYPE, FLAG, NUMBER, TENSOR, UNKNOWN, Kind, ListKind, Parameter, TupleKind
from confnet.records import dataclass

__all__ = [
    "DATA_FILE",
    "DTYPES",
    "TENSOR_ATTRIBUTES",
    "ArgumentProblem",
    "Form",
    "Function",
    "Namespace",
    "check_arguments",
    "functional",
    "names",
    "refusal_help",
    "result_fields",
    "tensor_method",
    "torch_function",
]

DATA_FILE: Final = Path(__file__).with_name("functions.json")

Namespace = Literal["torch", "functional", "tensor"]

DTYPES: Final[frozenset[str]] = frozenset(_DTYPE_NAMES)

TENSOR_ATTRIBUTES: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "H": TENSOR,
        "T": TENSOR,
        "device": UNKNOWN,
        "dtype": DTYPE,
        "imag": TENSOR,
        "itemsize": NUMBER,
        "mH": TENSOR,
        "mT": TENSOR,
        "nbytes": NUMBER,
        "ndim": NUMBER,
        "real": TENSOR,
        "shape": ListKind(NUMBER),
    }
)


@dataclass(frozen=True, slots=True)
class Form:
    """One way to call a function. `variadic`: the last positional parameter takes any further positional values."""

    parameters: tuple[Parameter, ...]
    variadic: bool = False

    @classmethod
    def parse(cls, text: str) -> Form:
        """Read a form as functions.json holds it: `input, dim=, *, dtype=` or `size*, *, dtype=`."""
        parameters: list[Parameter] = []
        positional, variadic = True, False
        for part in filter(None, (part.strip() for part in text.split(","))):
            if part == "*":
                positional = False
                continue
            variadic = variadic or part.endswith("*")
            parameters.append(Parameter(part.rstrip("*="), required=not part.endswith("="), positional=positional))
        return cls(tuple(parameters), variadic)

    @property
    def positions(self) -> tuple[Parameter, ...]:
        """The parameters that may be given by position."""
        return tuple(p for p in self.parameters if p.positional)


@dataclass(frozen=True, slots=True)
class Function:
    """A function of torch or a tensor method that code may call.

    `parameters` joins those of all `forms` (the overloads), without the tensor itself for methods; None where torch
    tells nothing. `in_place` methods change the tensor and may stand as statements. `view`: the result may share
    memory with an argument. `mutates` names the arguments that a call may change; `mutates_if_inplace` says that
    `inplace=True` changes the first argument. `native` functions also take numpy's names (`axis`,
    `keepdims`), as torch's own argument parser does.
    """

    name: str
    namespace: Namespace
    parameters: tuple[Parameter, ...] | None
    variadic: bool
    keywords: bool
    result: Kind
    in_place: bool
    view: bool
    mutates: tuple[str, ...]
    mutates_if_inplace: bool
    group: str
    forms: tuple[Form, ...] = ()
    native: bool = False

    @property
    def label(self) -> str:
        """The name as messages show it."""
        return f"{_PREFIXES[self.namespace]}.{self.name}"


class ArgumentProblem(NamedTuple):
    """Why a call does not fit: `place` is the keyword or the position of the argument to underline, None for the
    whole call; `meant` is the name that it was most likely to have."""

    code: str
    message: str
    help: str
    place: str | int | None
    meant: str = ""


_PREFIXES: Final = {"torch": "torch", "functional": "F", "tensor": "Tensor"}

_NUMPY_NAMES: Final = {"axis": "dim", "keepdims": "keepdim", "a": "input", "x": "input", "x1": "input", "x2": "other"}

# What torch takes and code of a file may not give, and what to do instead.
_WITHHELD: Final[Mapping[str, str]] = {
    "out": "leave `out` away and use the result, or an in-place method such as `copy_`",
    "generator": "leave `generator` away: random numbers come from torch's own generator",
    "names": "named dimensions are not part of the language",
    "layout": "only dense tensors are part of the language",
    "pin_memory": "leave `pin_memory` away",
    "memory_format": "leave `memory_format` away: set it on the built model",
    "max_norm": "leave `max_norm` away: it changes the weight; use the layer `Embedding` with `max_norm`",
    "norm_type": "leave `norm_type` away: it goes with `max_norm`, which changes the weight",
}

_UNWRITTEN = "memory that was never written is not a value: use `zeros`, or `ones`, `full`, `rand`"
_PYTHON_VALUE = "a tensor stays a tensor in code: compute with it as it is"
_REFUSED: Final[Mapping[str, str]] = {
    "empty": _UNWRITTEN,
    "empty_like": "memory that was never written is not a value: use `zeros_like`",
    "empty_permuted": _UNWRITTEN,
    "empty_strided": _UNWRITTEN,
    "new_empty": "memory that was never written is not a value: use `new_zeros`",
    "new_empty_strided": "memory that was never written is not a value: use `new_zeros`",
    "resize_": "use `reshape` or `F.pad`",
    "resize_as_": "use `reshape` or `F.pad`",
    "item": _PYTHON_VALUE,
    "tolist": _PYTHON_VALUE,
    "numpy": _PYTHON_VALUE,
    "is_nonzero": _PYTHON_VALUE,
    "data": "use `detach()`",
    "squeeze_": "use `squeeze`",
    "unsqueeze_": "use `unsqueeze`",
    "transpose_": "use `transpose`",
    "t_": "use `t`",
    "detach_": "use `detach`",
    "from_numpy": "use `torch.tensor` with numbers",
    "asarray": "use `torch.as_tensor`",
    "set_": "use `copy_` on a buffer of the module",
    "requires_grad_": "use `requires_grad` beside the layer or in a rule under `apply`",
    "register_hook": "declare it under `hooks`",
    "backward": "gradients are computed by whoever trains the module",
    "manual_seed": "the caller seeds torch before the build",
}


def torch_function(name: str) -> Function | None:
    """The function `torch.<name>` (`cat`, `linalg.norm`), or None when it is not on the list."""
    return _function("torch", name)


def functional(name: str) -> Function | None:
    """The function `torch.nn.functional.<name>`, or None when it is not on the list."""
    return _function("functional", name)


def tensor_method(name: str) -> Function | None:
    """The tensor method `name`, or None when it is not on the list."""
    return _function("tensor", name)


@cache
def names(namespace: Namespace) -> tuple[str, ...]:
    """The names on the list, sorted."""
    prefix = f"{namespace}."
    return tuple(sorted(key.removeprefix(prefix) for key in _data()["functions"] if key.startswith(prefix)))


@cache
def result_fields() -> frozenset[str]:
    """The fields of the named tuples that listed functions return (`values`, `indices`, `eigenvalues`, ...)."""
    return frozenset(_data()["fields"])


def refusal_help(name: str) -> str:
    """What to write instead of a function that is left out on purpose; empty for any other name."""
    return _REFUSED.get(name.rpartition(".")[2], "")


def check_arguments(
    function: Function, positional_count: int, keyword_names: Sequence[str], starred: bool
) -> list[ArgumentProblem]:
    """What is wrong with the arguments of a call; nothing when some overload takes them.

    `positional_count` counts the positional arguments without `*` ones, `starred` tells that there are such, so
    that there may be more. A near-miss keyword is reported instead of the missing argument that it explains.
    """
    if not function.forms:
        return [_unknown(function, name, ()) for name in keyword_names if name in _WITHHELD]
    found = [_check_form(function, form, positional_count, keyword_names, starred) for form in function.forms]
    return min(found, key=lambda problems: (len(problems), sum(p.code == "too-many-arguments" for p in problems)))


def _check_form(
    function: Function, form: Form, count: int, keyword_names: Sequence[str], starred: bool
) -> list[ArgumentProblem]:
    positions, problems = form.positions, list[ArgumentProblem]()
    if count > len(positions) and not form.variadic:
        problems.append(_too_many(function, count))
    by_position = {p.name for p in positions[:count]}
    known = {p.name for p in form.parameters}
    given: set[str] = set()
    explained: set[str] = set()
    for written in keyword_names:
        name = written
        if function.native and written not in known:
            name = _NUMPY_NAMES.get(written, written)
        if name not in known:
            candidates = known - by_position - set(keyword_names)
            problems.append(_unknown(function, written, sorted(candidates)))
            explained.add(closest(written, sorted(candidates)) or "")
        elif name in by_position:
            message = f"`{name}` of `{function.label}` is given by position and by name"
            problems.append(ArgumentProblem("duplicate-argument", message, "remove one of them", written))
        given.add(name)
    missing = [p.name for p in form.parameters if p.required and p.name not in given | by_position | explained]
    # What `*` spreads may fill any of the positions.
    for name in missing if not starred else [m for m in missing if m not in {p.name for p in positions}]:
        message = f"`{function.label}` is missing its argument `{name}`"
        problems.append(ArgumentProblem("missing-argument", message, "", None))
    return problems


def _too_many(function: Function, count: int) -> ArgumentProblem:
    most = max(len(form.positions) for form in function.forms)
    takes = "no positional arguments" if most == 0 else f"at most {most} positional argument{'s' if most > 1 else ''}"
    named = [p.name for form in function.forms for p in form.parameters if not p.positional]
    help = f"give {_listed(named)} by name" if named else ""
    return ArgumentProblem("too-many-arguments", f"`{function.label}` takes {takes}, not {count}", help, most)


def _unknown(function: Function, name: str, candidates: Sequence[str]) -> ArgumentProblem:
    message = f"`{function.label}` has no argument `{name}`"
    help, near = _WITHHELD.get(name, ""), None
    if help:
        message = f"`{name}` of `{function.label}` may not be given in code"
    else:
        near = closest(name, candidates)
        offered = [p.name for p in function.parameters or ()]
        help = f"did you mean `{near}`?" if near else f"it takes {_listed(offered) or 'no arguments'}"
    return ArgumentProblem("unknown-argument", message, help, name, near or "")


def _listed(words: Sequence[str]) -> str:
    return ", ".join(f"`{word}`" for word in dict.fromkeys(words))


# --- reading the data -----------------------------------------------------------------------------------------------


def _data() -> Mapping[str, Any]:
    return data.read("functions")


@cache
def _function(namespace: Namespace, name: str) -> Function | None:
    entry = _data()["functions"].get(f"{namespace}.{name}")
    if entry is None:
        return None
    forms = tuple(Form.parse(text) for text in entry["forms"] or ())
    parameters = tuple(_joined(forms)) if forms else None
    return Function(
        name=name,
        namespace=namespace,
        parameters=parameters,
        variadic=parameters is None or any(form.variadic for form in forms),
        keywords=parameters is None,
        result=_kind(entry["result"]),
        in_place=namespace == "tensor" and name.endswith("_"),
        view=entry.get("view", False),
        mutates=tuple(entry.get("mutates", ())),
        mutates_if_inplace=any(p.name == "inplace" for p in parameters or ()),
        group=entry["group"],
        forms=forms,
        native=entry.get("native", False),
    )


def _joined(forms: Sequence[Form]) -> Iterator[Parameter]:
    """The parameters of all forms, each once; required only where every form requires it."""
    for name in dict.fromkeys(p.name for form in forms for p in form.parameters):
        found = [[p for p in form.parameters if p.name == name] for form in forms]
        yield Parameter(
            name,
            required=all(len(ps) == 1 and ps[0].required for ps in found),
            positional=any(p.positional for ps in found for p in ps),
        )


_KINDS: Final[Mapping[str, Kind]] = {
    "tensor": TENSOR,
    "tensors": ListKind(TENSOR),
    "number": NUMBER,
    "flag": FLAG,
    "dtype": DTYPE,
    "unknown": UNKNOWN,
}


def _kind(text: str) -> Kind:
    name, _, count = text.partition("*")
    return TupleKind((TENSOR,) * int(count)) if count else _KINDS[name]

"""What confnet says of a spec, beside what becomes of it: the promise of `validate`, put to the test.

Accepted: it builds, runs at sizes within the reported conditions in train and eval mode, in every way to call it, and
every shape and dtype is the predicted one. Refused: the plain PyTorch of `reference.py` fails too when it is forced.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from random import Random
from typing import Any

import torch
from torch import Tensor, nn

import confnet
from confnet.api import Report
from tests.soundness.reference import SYMBOL, Broken, contract_of, hold_outputs, reference
from tests.soundness.structured import without_unused

__all__ = ["Verdict", "Violation", "verdict"]

Point = Mapping[str, int]
DRAWN = 5
ALIKE = 6
SHAPES = frozenset(
    {"shape-mismatch", "fixed-size", "contract-mismatch", "index-out-of-range", "dtype-mismatch", "forward-fails"}
)
"""What only the run on meta tells; every other code comes from reading the file."""
STRICTER = re.compile(
    r"takes .*, not|a list spreads into arguments|module cannot be (returned|stored)|method `float` of a .* cannot be"
)
"""Rules of the language that are stricter than torch, which takes `nn.BatchNorm1d([4])` and `nn.LayerNorm(4, 4)`, and
lets a forward return a module, or convert the weights of one."""


class Violation(AssertionError):
    """A promise that does not hold. `kind` says which."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind


@dataclass(frozen=True)
class Verdict:
    """`right`, `wrong` or `open` (accepted with a warning that sizes fail which no condition names).

    `stage` tells what refused: `shapes`, `reading`, a rule that is `stricter` than torch, or a mistake in what is
    `unused`. `points` is how many sizes were run within the conditions.
    """

    outcome: str
    codes: tuple[str, ...] = ()
    points: int = 0
    stage: str = ""


def verdict(spec: Mapping[str, Any], random: Random) -> Verdict:
    """Validate a spec, and hold it against real forwards. Raises Violation."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = confnet.validate(spec)
        except Exception as error:
            raise Violation("raises", f"{type(error).__name__}: {error}\n{spec}") from error
        shown = f"{confnet.dumps(spec)}\n{report}\n{[str(shape) for shape in report.shapes]}"
        codes = tuple(sorted({d.code for d in report.diagnostics if d.severity == "error"}))
        if not report.ok:
            stage = _refused(spec, random, report, codes, shown)
            return Verdict("wrong", codes, stage=stage)
        if len(report.shapes) != 1 or not report.shapes[0].checked:
            raise Violation("unchecked", shown)
        found = {d.code for d in report.diagnostics}
        if "shape-varies" in found:
            return Verdict("open", tuple(found))
        partly = bool(found & SHAPES - {"fixed-size"})
        points = _accepted(spec, random, report, shown, partly=partly)
        return Verdict("open" if partly else "right", tuple(found) if partly else (), points)


# --- accepted ---------------------------------------------------------------------------------------------------------


def _accepted(spec: Mapping[str, Any], random: Random, report: Report, shown: str, *, partly: bool) -> int:
    """Run it; `partly` is where a warning tells that some sizes fail: what runs has the predicted shapes even so."""
    try:
        model = confnet.build(spec)
    except Exception as error:
        raise Violation("accepted, does not build", f"{error}\n{shown}") from error
    points = within(report, symbols(spec), random)
    returned: list[tuple[nn.Module, Any]] = []
    for module in model.modules():
        module.register_forward_hook(lambda module, _, output: returned.append((module, output)))
    names = {module: name for name, module in model.named_modules()}
    for index, point in enumerate(points):
        for training, (first, call) in product((True, False), enumerate(calls(spec, point))):
            if first and index > 1:
                continue  # the other ways to call it are tried at two sizes
            returned.clear()
            try:
                result = model.train(training)(*call)
            except Exception as error:
                if partly:
                    continue
                raise Violation("accepted, fails", f"at {point} ({training=}): {error}\n{shown}") from error
            try:
                _contracts(spec, point, result)
            except Broken as error:
                raise Violation("accepted, breaks its contract", f"at {point}: {error}\n{shown}") from error
            if first == 0:
                inner = [(names[m], out) for m, out in returned if m is not model] if training else []
                _compare(report, point, result, inner, shown, training=training)
    return len(points)


def _compare(
    report: Report, point: Point, result: Any, inner: list[tuple[str, Any]], shown: str, *, training: bool
) -> None:
    """Predicted against real: outputs in order, and what every inner module returned under its name."""
    (shapes,) = report.shapes
    real = list(tensors(result))
    told = shapes.in_eval if shapes.in_eval and not training else shapes.outputs
    if len(real) != len(told):
        raise Violation("another number of outputs", f"{len(real)} at {point} ({training=})\n{shown}")
    pairs = [(value, tensor) for value, (_, tensor) in zip(told, real, strict=True)]
    counts: Counter[str] = Counter()
    known = {value.name: value for value in shapes.values}
    for name, output in inner:
        counts[name] += 1
        label = name if counts[name] == 1 else f"{name}#{counts[name]}"
        pairs += [(known[label + part], tensor) for part, tensor in tensors(output) if label + part in known]
    for value, tensor in pairs:
        predicted = [size if size == "?" else evaluate(size, point) for size in value.sizes]
        same = len(predicted) == tensor.dim() and all(
            size in ("?", actual) for size, actual in zip(predicted, tensor.shape, strict=True)
        )
        if not same:
            raise Violation("another shape", f"`{value.name}` is {list(tensor.shape)} at {point}\n{shown}")
        if value.dtype != str(tensor.dtype).removeprefix("torch."):
            raise Violation("another dtype", f"`{value.name}` is {tensor.dtype}, not {value.dtype}\n{shown}")


def within(report: Report, names: list[str], random: Random) -> list[dict[str, int]]:
    """Sizes that meet the reported conditions: small ones, equal ones and far ones."""
    conditions = [c.text for shape in report.shapes for c in shape.conditions if "`" not in c.text]
    found: list[dict[str, int]] = []
    for attempt in range(400):
        high = (8, 24, 40, 70)[attempt % 4]
        point = {name: random.randint(2, high) for name in names}
        if attempt % 5 == 4:
            point = dict.fromkeys(names, random.randint(2, 24))
        if all(evaluate(text, point) for text in conditions) and point not in found:
            found.append(point)
        if len(found) == DRAWN or (not names and found):
            break
    return found


# --- refused ----------------------------------------------------------------------------------------------------------


def _refused(spec: Mapping[str, Any], random: Random, report: Report, codes: tuple[str, ...], shown: str) -> str:
    """Force it: what refuses a spec must be a real mistake."""
    by_shapes = set(codes) <= SHAPES
    try:
        confnet.build(spec)
        builds = True
    except confnet.ConfnetError:
        builds = False
    except Exception as error:
        raise Violation("build raises", f"{type(error).__name__}: {error}\n{shown}") from error
    if by_shapes and not builds:
        raise Violation("build refuses what only shapes refused", shown)
    names = symbols(spec)
    points = [{name: random.randint(2, 40) for name in names} for _ in range(DRAWN if names else 1)]
    points += [dict.fromkeys(names, random.randint(2, 24)) for _ in range(ALIKE if len(names) > 1 else 0)]
    try:
        model = reference(spec)
    except Exception:
        return "shapes" if by_shapes else "reading"
    drawn = points[:DRAWN]
    failed = [point for point in points if not _works(spec, model, point)]
    if not any(point in drawn for point in failed):
        if _wrong_elsewhere(spec, drawn):
            return "unused"
        if all(STRICTER.search(d.message) for d in report.diagnostics if d.severity == "error"):
            return "stricter"
        raise Violation("refused, works", f"at {len(points) - len(failed)} of {len(points)} sizes\n{shown}")
    return "shapes" if by_shapes else "reading"


def _wrong_elsewhere(spec: Mapping[str, Any], points: list[dict[str, int]]) -> bool:
    """Whether the mistake is in what this one model does not use: a branch that is closed, an arg, a definition."""
    used = without_unused(dict(spec))
    if used != spec and confnet.validate(used).ok:
        return True
    try:
        reference(spec, whole=True)
    except Exception:
        return True
    for body in (spec, *spec.get("modules", {}).values()):
        for name, value in body.get("args", {}).items():
            if not isinstance(value, bool):
                continue
            other = copy.deepcopy(dict(spec))
            owner = other if body is spec else next(b for b in other["modules"].values() if b == body)
            owner["args"][name] = not value
            try:
                model = reference(other)
            except Exception:
                return True
            if not all(_works(other, model, point) for point in points):
                return True
    return False


def _works(spec: Mapping[str, Any], model: nn.Module, point: Point) -> bool:
    """Whether every way to call a model works at a point, and keeps its contracts."""
    for training in (True, False):
        try:
            for call in calls(spec, point):
                if not list(tensors(model.train(training)(*call))):
                    return False  # nothing comes out, or what is no value
        except Exception:
            return False
    return True


# --- calls ------------------------------------------------------------------------------------------------------------


def symbols(spec: Mapping[str, Any]) -> list[str]:
    """The symbolic sizes of the inputs."""
    found: dict[str, None] = {}
    inputs = spec.get("inputs", {})
    for value in inputs.values() if isinstance(inputs, dict) else ():
        contract = contract_of(value) or {}
        for size in contract.get("shape", contract.get("item", ())):
            found.update(dict.fromkeys(SYMBOL.findall(str(size))))
    return list(found)


def calls(spec: Mapping[str, Any], point: Point) -> Iterator[list[Any]]:
    """Every way to call a model: flags both ways, optional tensors given or not; the plainest first."""
    choices = [list(_given(value, spec, point)) for value in spec.get("inputs", {}).values()]
    yield from (list(call) for call in product(*choices))


def _given(written: Any, spec: Mapping[str, Any], point: Point) -> Iterator[Any]:
    contract = contract_of(written)
    if contract is None:
        if isinstance(written, dict) and written.get("type") == "bool":
            yield from (False, True)
        else:
            yield written["default"] if isinstance(written, dict) else written
        return
    if "default" in contract:
        yield contract["default"]
    if "item" in contract:
        yield [_tensor(contract, contract["item"], spec, point) for _ in range(2)]
    else:
        yield _tensor(contract, contract["shape"], spec, point)


def _tensor(contract: Mapping[str, Any], sizes: list[Any], spec: Mapping[str, Any], point: Point) -> Tensor:
    args = {name: value.get("default") if isinstance(value, dict) else value for name, value in _args(spec)}
    shape = [5 if size == "_" else evaluate(size, {**args, **point}) for size in sizes]
    if any(isinstance(size, bool) for size in shape):
        raise TypeError("a size is an integer")
    dtype: torch.dtype = getattr(torch, contract.get("dtype", "float32"))
    if dtype.is_floating_point:
        return torch.randn(shape, dtype=torch.float32).to(dtype)
    low, high = contract.get("low", 0), contract.get("high", 2)
    made = torch.randint(low, high, shape).to(dtype)
    if "high" in contract:
        made.view(-1)[0] = high - 1  # the end of the range is reached
    return made


def _args(spec: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return list(spec.get("args", {}).items())


def _contracts(spec: Mapping[str, Any], point: Point, result: Any) -> None:
    """The outputs that the document promises."""
    args = {name: value.get("default") if isinstance(value, dict) else value for name, value in _args(spec)}
    hold_outputs(spec, args, dict(point), result)


def tensors(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors of a result, named by what picks each of them."""
    if isinstance(value, Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from tensors(item, f"{name}[{key!r}]")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from tensors(item, f"{name}[{index}]")


def evaluate(code: object, names: Mapping[str, Any]) -> Any:
    """The value of a size or condition."""
    return eval(str(code), {"min": min, "max": max}, dict(names))

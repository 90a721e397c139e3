"""A small module, and the scope that describes it, for the tests of the forward language."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import FunctionType
from typing import Any, Literal

import torch
import torch.nn.functional as F
import torch.utils.checkpoint
from torch import nn

from confnet.diagnostics import Span
from confnet.language.code import Code
from confnet.language.compile import Names, compile_function
from confnet.language.forward import CheckResult, Scope, check_code, parse_code
from confnet.language.kinds import (
    FLAG,
    NONE,
    NUMBER,
    TENSOR,
    UNKNOWN,
    Kind,
    ModuleKind,
    Parameter,
    Signature,
)

X = Signature((Parameter("input"),), result=TENSOR)
LINEAR = ModuleKind("Linear", X, members={"weight": TENSOR, "bias": NONE, "in_features": NUMBER})
IDENTITY = ModuleKind("Identity", X)
RELU = ModuleKind("ReLU", X, members={"inplace": FLAG})
BLOCK = ModuleKind(
    "Block",
    Signature((Parameter("x"), Parameter("mask", required=False)), result=TENSOR),
    methods={"encode": Signature((Parameter("x"),), result=TENSOR)},
    members={"proj": LINEAR, "scale": TENSOR},
)
LAYERS = ModuleKind("ModuleList", container="list", items={"0": LINEAR, "1": LINEAR})
HEADS = ModuleKind("ModuleDict", container="dict", items={"cat": LINEAR, "dog": LINEAR})
EMPTY = ModuleKind("ModuleList", container="list")

MEMBERS: Mapping[str, Kind] = {
    "lin": LINEAR,
    "identity": IDENTITY,
    "act": RELU,
    "block": BLOCK,
    "layers": LAYERS,
    "heads": HEADS,
    "empty": EMPTY,
    "down": NONE,
    "weight": TENSOR,
    "steps": TENSOR,
}
CONSTANTS: Mapping[str, object] = {
    "depth": 2, "sizes": [1, 2], "use": False, "name": "cat", "type": 3, "table": {"a": [1]}, "pair": ([1], [2]),
}  # fmt: skip
SCOPE = Scope(
    inputs={"x": UNKNOWN, "mask": UNKNOWN},
    members=MEMBERS,
    constants=CONSTANTS,
    functions={"twice": Signature((Parameter("a"),))},
    methods={"encode": Signature((Parameter("x"),), result=TENSOR)},
    buffers={"steps"},
)


def code(text: str, form: Literal["body", "value"] = "body", indent: int = 4, first_line: int = 10) -> Code:
    """Code that stands in a file from line 10, shifted by four columns."""
    place = Span("model.yaml", first_line, indent + 1, first_line, indent + 2)
    return Code(text, "model.yaml", first_line, indent, place, form)


def check(text: str, scope: Scope = SCOPE, form: Literal["body", "value"] = "body") -> CheckResult:
    """Parse and check a body."""
    return check_code(parse_code(code(text, form)), scope)


def errors(text: str, scope: Scope = SCOPE) -> list[str]:
    """The codes of the errors in a body, by place."""
    return [d.code for d in check(text, scope).diagnostics if d.severity == "error"]


class Block(nn.Module):
    """A composite child with a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.proj = nn.Linear(4, 4, bias=False)
        self.scale = nn.Parameter(torch.ones(4, 4))

    def forward(self, x: torch.Tensor, mask: object = None) -> torch.Tensor:
        out: torch.Tensor = self.proj(x) * self.scale
        return out

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x + 1


class Small(nn.Module):
    """The module that SCOPE describes. Nothing requires a gradient: autograd must not do the checker's work."""

    down: None

    def __init__(self) -> None:
        super().__init__()
        self.lin = nn.Linear(4, 4, bias=False)
        self.identity = nn.Identity()
        self.act = nn.ReLU(inplace=True)
        self.block = Block()
        self.layers = nn.ModuleList([nn.Linear(4, 4, bias=False) for _ in range(2)])
        self.heads = nn.ModuleDict({key: nn.Linear(4, 4, bias=False) for key in ("cat", "dog")})
        self.empty = nn.ModuleList()
        self.down = None
        self.weight = nn.Parameter(torch.randn(4, 4))
        self.register_buffer("steps", torch.zeros(4, 4))
        self.requires_grad_(False)
        self.depth, self.sizes, self.use, self.name, self._arg_type = 2, [1, 2], False, "cat", 3
        self.table, self.pair = {"a": [1]}, ([1], [2])

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return x * 2


def twice(a: Any) -> Any:
    """A function that a caller has registered."""
    return a * 2


def module_globals() -> dict[str, object]:
    """The globals of compiled code: the namespaces, and what is registered."""
    return {"torch": torch, "F": F, "nn": nn, "math": math, "twice": twice}


def function(text: str, form: Literal["body", "value"] = "body", **options: Any) -> FunctionType:
    """The compiled forward of a body over SCOPE."""
    parsed = parse_code(code(text, form, **options))
    assert parsed.ok, parsed.diagnostics
    names = Names({*MEMBERS, "encode"}, {*CONSTANTS}, {"twice"})
    inputs = [("x", True, None), ("mask", False, None)]
    return compile_function(parsed, "forward", inputs, names, class_name="Small").bind(module_globals())


def run(text: str, x: object = None, module: nn.Module | None = None) -> Any:
    """What a body returns, after a check that it may run."""
    assert not errors(text), check(text).diagnostics
    given = torch.ones(4, 4) if x is None else x
    with torch.no_grad():
        return function(text)(module or Small(), given)

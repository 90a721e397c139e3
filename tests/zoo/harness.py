"""What an architecture of the zoo is, and how it is held against its reference."""

from __future__ import annotations

import inspect
import io
import tokenize
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import confnet
from tests.oracle import disturb, leaves

__all__ = [
    "ZOO",
    "Architecture",
    "Comparison",
    "Config",
    "compare",
    "compiles",
    "exports",
    "lines_of_python",
    "lines_of_yaml",
    "padded",
    "tokens",
    "twins",
]

ZOO = Path(__file__).resolve().parents[2] / "examples" / "zoo"


@dataclass(frozen=True)
class Config:
    """Args of the file, the module that the file must then equal, and arguments for the forward of both."""

    args: dict[str, Any]
    reference: Callable[[], nn.Module]
    inputs: Callable[[], dict[str, Any]]
    variant: str | None = None
    root: str | None = None


@dataclass(frozen=True)
class Architecture:
    """One file of the zoo.

    `python` are the classes and functions that make up the reference: their lines are counted against the file's.
    `answer` takes from the reference's result what ours returns (transformers wraps it in an object of its own).
    `not_compiled` and `not_exported` give torch's reason where it cannot.
    """

    title: str
    file: str
    reference: str
    python: tuple[Any, ...]
    configs: tuple[Config, Config]
    answer: Callable[[Any], Any] = lambda result: result
    not_compiled: str = ""
    not_exported: str = ""

    @property
    def path(self) -> Path:
        return ZOO / self.file


def tokens(length: int) -> dict[str, Tensor]:
    """The inputs of a language model: two sequences of a small vocabulary."""
    return {"input_ids": torch.randint(0, 30, (2, length))}


def padded(length: int, row: int) -> dict[str, Tensor]:
    """The same, one of them with padding from its fifth token on."""
    mask = torch.ones(2, length, dtype=torch.bool)
    mask[row, 4:] = False
    return {**tokens(length), "attention_mask": mask}


@dataclass(frozen=True)
class Comparison:
    """The largest absolute differences between a built model and its reference, over train and eval."""

    outputs: float
    gradients: float


def twins(architecture: Architecture, config: Config) -> tuple[nn.Module, nn.Module]:
    """The built model and its reference, with the reference's weights under the same names (strict, both ways)."""
    torch.manual_seed(0)
    reference = config.reference()
    disturb(reference)
    built = confnet.build(architecture.path, variant=config.variant, root=config.root, args=config.args)
    built.load_state_dict(reference.state_dict(), strict=True)
    assert list(built.state_dict()) == list(reference.state_dict()), "the keys in their order"
    names = [name for name, _ in reference.named_parameters()]
    assert [name for name, _ in built.named_parameters()] == names, "ties take the canonical names of the reference"
    return built, reference


def compare(architecture: Architecture, config: Config) -> Comparison:
    """Outputs, gradients of parameters and inputs, and buffers afterwards, in train and in eval mode."""
    built, reference = twins(architecture, config)
    outputs = gradients = 0.0
    for training in (True, False):
        torch.manual_seed(1)
        inputs = config.inputs()
        torch.manual_seed(2)
        result, found = _run(built.train(training), inputs, lambda value: value)
        torch.manual_seed(2)
        wanted, expected = _run(reference.train(training), inputs, architecture.answer)
        outputs = max(outputs, _difference(result, wanted, "output"))
        assert list(found) == list(expected)
        for name, gradient in expected.items():
            mine = found[name]
            assert (gradient is None) == (mine is None), f"gradient of {name}"
            if gradient is not None and mine is not None:
                gradients = max(gradients, _difference([mine], [gradient], f"gradient of {name}"))
        buffers = dict(reference.named_buffers())
        for name, buffer in built.named_buffers():
            if name in buffers:  # non-persistent buffers may be the file's own
                _difference([buffer], [buffers[name]], f"buffer {name}")
    return Comparison(outputs, gradients)


def _run(
    model: nn.Module, inputs: dict[str, Any], answer: Callable[[Any], Any]
) -> tuple[list[Tensor], dict[str, Tensor | None]]:
    values = {
        name: value.detach().clone().requires_grad_(value.is_floating_point()) if isinstance(value, Tensor) else value
        for name, value in inputs.items()
    }
    result = list(leaves(answer(model(**values))))
    generator = torch.Generator().manual_seed(3)
    parts = [(leaf * torch.randn(leaf.shape, generator=generator)).sum() for leaf in result if leaf.requires_grad]
    assert parts, "an output that depends on no parameter"
    model.zero_grad()
    sum(parts, torch.zeros(())).backward()  # type: ignore[no-untyped-call]
    gradients = {name: parameter.grad for name, parameter in model.named_parameters()}
    taken = {f"input {k}": v.grad for k, v in values.items() if isinstance(v, Tensor) and v.requires_grad}
    return result, gradients | taken


def _difference(result: list[Tensor], wanted: list[Tensor], what: str) -> float:
    """The largest absolute difference; AssertionError where it is more than rounding."""
    assert len(result) == len(wanted), f"{what}: {len(result)} tensors, not {len(wanted)}"
    largest = 0.0
    for mine, theirs in zip(result, wanted, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=lambda text: f"{what}: {text}")
        if mine.numel():
            largest = max(largest, float((mine.detach().double() - theirs.detach().double()).abs().max()))
    return largest


def compiles(architecture: Architecture) -> None:
    """One graph for the whole model, which gives the same result; AssertionError or torch's own where not."""
    torch._dynamo.reset()
    model, inputs = _ready(architecture)
    compiled: Any = torch.compile(model, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(**inputs), model(**inputs))


def exports(architecture: Architecture) -> None:
    """An exported program, which gives the same result; AssertionError or torch's own where not."""
    model, inputs = _ready(architecture)
    exported = torch.export.export(model, (), kwargs=inputs)
    torch.testing.assert_close(exported.module()(**inputs), model(**inputs))


def _ready(architecture: Architecture) -> tuple[nn.Module, dict[str, Any]]:
    """The first config in eval mode, and arguments for it."""
    model, _ = twins(architecture, architecture.configs[0])
    torch.manual_seed(1)
    return model.eval(), architecture.configs[0].inputs()


def lines_of_yaml(path: Path) -> int:
    """Lines of a spec that are neither empty nor only a comment."""
    return sum(1 for line in path.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))


def lines_of_python(objects: tuple[Any, ...]) -> int:
    """Lines of code of classes and functions: without comments, docstrings and empty lines."""
    return sum(_code_lines(inspect.getsource(item)) for item in objects)


def _code_lines(source: str) -> int:
    lines: set[int] = set()
    fresh = True  # at the beginning of a statement, where a string is a docstring
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT):
            fresh = True
        elif token.type not in (tokenize.COMMENT, tokenize.NL, tokenize.ENDMARKER):
            if not (fresh and token.type == tokenize.STRING):
                lines.update(range(token.start[0], token.end[0] + 1))
            fresh = False
    return len(lines)

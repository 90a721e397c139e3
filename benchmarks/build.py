"""How long it takes to build a model from a file, against the same model by hand and by other tools' files.

    python -m benchmarks.build --repetitions 7

Three questions: a model without values (on meta), a model with values that the file asks for (on the CPU), a model with
the weights of a safetensors file. `from the file` counts reading, checking and resolving the file; `from a Spec` (with
other tools: `from its config`) is a model of a file that was read before. By hand: the plain class, in `with
torch.device("meta")`, with `model.apply(...)`, with `load_state_dict(load_file(...))`. `by hand, lean` is the same by
somebody who knows where time is lost: it passes `device=` to each layer, or makes no matrix for a tied projection.
`by hand again` tells what this machine can tell apart. Before anything is timed, all models are compared.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks import gpt2
from benchmarks.gpt2_rivals import MAKERS, Maker, installed
from benchmarks.measuring import BASE, TIMES, Setting, Table, Way, assert_equal, parser_of, rows_of, show, shuffled
from confnet.api import build, load
from tests.references.resnet import VARIANTS, ResNet

__all__ = ["main", "tables"]

FILE, SPEC, LEAN, AGAIN = "confnet, from the file", "confnet, from a Spec", "by hand, lean", "by hand again"
EXAMPLES = Path(__file__).resolve().parent.parent / "examples"

RESNET_INITIALISE = """
apply:
  - {where: {type: Conv2d}, init: {weight: {kaiming_normal_: {mode: fan_out, nonlinearity: relu}}}}
  - {where: {type: BatchNorm2d}, init: {weight: ones_, bias: zeros_}}
  - {where: {type: Linear}, init: {weight: {normal_: {std: 0.01}}, bias: zeros_}}
"""


def initialise_resnet(module: nn.Module) -> None:
    """The same by hand, for `nn.Module.apply`."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.ones_(module.weight)
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
        nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class Case:
    """A model: its file, what `build` takes beside it, and the ways to it by hand, each of a device."""

    name: str
    file: Path
    options: Mapping[str, Any]
    hand: Callable[[], nn.Module]
    initialise: Callable[[nn.Module], None]
    lean_meta: Callable[[], nn.Module] | None = None
    lean: Callable[[], nn.Module] | None = None


# --- the files ------------------------------------------------------------------------------------------------------


def gpt2_case(folder: Path, setting: Setting) -> Case:
    """GPT-2 small, with GPT-2's own initialisation as rules."""
    size = gpt2.SIZES["tiny" if setting.tiny else "small"]
    file = folder / "gpt2.yaml"
    file.write_text((EXAMPLES / "gpt2.yaml").read_text(encoding="utf-8") + gpt2.INITIALISE, encoding="utf-8")
    return Case(
        setting.name("GPT-2 small"),
        file,
        {"args": size},
        lambda: gpt2.gpt2(size),
        gpt2.initialise,
        lambda: gpt2.gpt2(size, "meta", lean=True),
        lambda: gpt2.gpt2(size, lean=True),
    )


def resnet_case(folder: Path, setting: Setting) -> Case:
    """ResNet-50, with the initialisation of its paper as rules."""
    shutil.copytree(EXAMPLES / "blocks", folder / "blocks", dirs_exist_ok=True)
    file = folder / "resnet.yaml"
    file.write_text((EXAMPLES / "resnet.yaml").read_text(encoding="utf-8") + RESNET_INITIALISE, encoding="utf-8")
    args: dict[str, Any] = {"width": 4, "num_classes": 5} if setting.tiny else {}
    return Case(
        setting.name("ResNet-50"),
        file,
        {"variant": "resnet50", "args": args},
        lambda: ResNet(*VARIANTS["resnet50"], **args),
        initialise_resnet,
    )


def row_cases(folder: Path, setting: Setting) -> list[Case]:
    """Layers in a row: as a `repeat`, and each on a line of its own."""
    depth, width = 10 if setting.tiny else 1000, 16
    texts = {
        "": f"confnet: 1\nSequential: [{{repeat: {depth}, module: {{Linear: [{width}, {width}]}}}}]\n",
        ", written out": "confnet: 1\nSequential:\n" + f"  - Linear: [{width}, {width}]\n" * depth,
    }
    cases = []
    for index, (kind, text) in enumerate(texts.items()):
        file = folder / f"row{index}.yaml"
        file.write_text(text, encoding="utf-8")
        cases.append(
            Case(
                f"{depth:,} Linear in a row{kind}",
                file,
                {},
                lambda: nn.Sequential(*(nn.Linear(width, width) for _ in range(depth))),
                lambda module: None,
                lambda: nn.Sequential(*(nn.Linear(width, width, device="meta") for _ in range(depth))),
            )
        )
    return cases


# --- the three questions --------------------------------------------------------------------------------------------


def meta_ways(case: Case, makers: Sequence[Maker], files: Mapping[str, Path]) -> dict[str, Way]:
    """All ways to a model on meta. Raises AssertionError where two of them differ."""

    def by_hand() -> nn.Module:
        with torch.device("meta"):
            return case.hand()

    spec = load(case.file)
    ways: dict[str, Way] = {
        FILE: lambda: build(case.file, device="meta", **case.options),
        SPEC: lambda: build(spec, device="meta", **case.options),
        BASE: by_hand,
        AGAIN: by_hand,
    }
    if case.lean_meta is not None:
        ways[LEAN] = case.lean_meta

    def on_meta(make: Callable[[Any], nn.Module], config: Callable[[], Any]) -> Way:
        def way() -> nn.Module:
            read = config()
            with torch.device("meta"):
                return make(read)

        return way

    for maker in makers:
        path = files[maker.name]
        ways[f"{maker.title}, from the file"] = on_meta(maker.make, _reader(maker, path))
        ways[f"{maker.title}, from its config"] = on_meta(maker.make, _keeper(maker.read(path)))
    return _compared(case, ways)


def cpu_ways(case: Case, makers: Sequence[Maker], files: Mapping[str, Path]) -> dict[str, Way]:
    """All ways to a model with the values that its file asks for. Raises AssertionError where two of them differ."""

    def by_hand() -> nn.Module:
        return case.hand().apply(case.initialise)

    spec = load(case.file)
    ways: dict[str, Way] = {
        FILE: lambda: build(case.file, device="cpu", **case.options),
        SPEC: lambda: build(spec, device="cpu", **case.options),
        BASE: by_hand,
        AGAIN: by_hand,
    }
    if case.lean is not None:
        lean = case.lean
        ways[LEAN] = lambda: lean().apply(case.initialise)
    for maker in makers:
        read = _reader(maker, files[maker.name])
        ways[f"{maker.title}, from the file"] = lambda make=maker.make, read=read: make(read()).apply(case.initialise)  # type: ignore[misc]
    return _compared(case, ways, spread=True)


def load_ways(case: Case, makers: Sequence[Maker], files: Mapping[str, Path], weights: Path) -> dict[str, Way]:
    """All ways to a model with the weights of a file. Raises AssertionError where two of them differ."""
    from safetensors.torch import load_file, save_model

    def filled(model: nn.Module) -> nn.Module:
        model.load_state_dict(load_file(weights), strict=False)  # the file holds one of two tied names
        return model

    save_model(case.hand().apply(case.initialise), str(weights))
    spec = load(case.file)
    ways: dict[str, Way] = {
        FILE: lambda: build(case.file, device="cpu", weights=weights, **case.options),
        SPEC: lambda: build(spec, device="cpu", weights=weights, **case.options),
        BASE: lambda: filled(case.hand()),
        AGAIN: lambda: filled(case.hand()),
    }
    if case.lean is not None:
        lean = case.lean
        ways[LEAN] = lambda: filled(lean())
    for maker in makers:
        read = _reader(maker, files[maker.name])
        ways[f"{maker.title}, from the file"] = lambda make=maker.make, read=read: filled(make(read()))  # type: ignore[misc]
    return _compared(case, ways, equal=True)


def _reader(maker: Maker, path: Path) -> Callable[[], Any]:
    return lambda: maker.read(path)


def _keeper(config: Any) -> Callable[[], Any]:
    return lambda: config


def _compared(case: Case, ways: dict[str, Way], spread: bool = False, equal: bool = False) -> dict[str, Way]:
    """The same ways, after one model of each was compared with the one by hand: its structure, and its values: in
    each bit if `equal`, by mean and deviation if `spread`."""
    reference = ways[BASE]()
    assert isinstance(reference, nn.Module)
    for name, way in ways.items():
        model = way()
        assert isinstance(model, nn.Module)
        assert_equal(f"{case.name}: {name}", model, reference)
        for (key, ours), theirs in zip(model.state_dict().items(), reference.state_dict().values(), strict=True):
            if equal:
                assert torch.equal(ours, theirs), f"{case.name}: `{name}` loads other values into {key}"
            elif spread and ours.is_floating_point() and ours.numel() > 1:
                error = 8 * max(theirs.std().item(), 1e-12) / ours.numel() ** 0.5
                torch.testing.assert_close(ours.std(), theirs.std(), rtol=0, atol=error)
                torch.testing.assert_close(ours.mean(), theirs.mean(), rtol=0, atol=2 * error)
    return ways


# --- tables ---------------------------------------------------------------------------------------------------------


def tables(setting: Setting) -> list[Table]:
    """The three tables."""
    makers, absent = installed(MAKERS)
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as name:
        folder = Path(name)
        small, resnet50, rows = gpt2_case(folder, setting), resnet_case(folder, setting), row_cases(folder, setting)
        size: Mapping[str, int] = small.options["args"]
        files = {maker.name: folder / maker.file for maker in makers}
        for maker in makers:
            files[maker.name].write_text(maker.text(size), encoding="utf-8")

        def measured(title: str, cases: Sequence[tuple[Case, dict[str, Way]]], file: float, spec: float) -> Table:
            targets = {FILE: setting.target(file), SPEC: setting.target(spec)}
            found = [
                row
                for case, ways in cases
                for row in rows_of(case.name, shuffled(ways, setting, warm_up=False), targets)
            ]
            return Table(title, TIMES, found, absent)

        def of(case: Case) -> Sequence[Maker]:
            return makers if case is small else ()

        meta = [(case, meta_ways(case, of(case), files)) for case in (small, resnet50, *rows)]
        result = [measured("Build on meta", meta, 2.0, 1.15)]
        cpu = [(case, cpu_ways(case, of(case), files)) for case in (small, resnet50)]
        result.append(measured("Build on the CPU with an initialisation of one's own", cpu, 0.6, 0.6))
        loaded = [
            (case, load_ways(case, of(case), files, folder / f"{case.file.stem}.safetensors"))
            for case in (small, resnet50)
        ]
        result.append(measured("Build with the weights of a safetensors file", loaded, 0.5, 0.5))
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    show(tables, Setting.of(parser_of(__doc__, repetitions=7).parse_args(arguments)))


if __name__ == "__main__":
    main()

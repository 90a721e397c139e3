"""The tools that `benchmarks.mistakes` compares, each used as its own documentation shows and as strictly as it can be.

A tool is a function of a file and of `stage`. It checks the file as far as the tool can without making a layer, calls
`stage("build")`, and returns the module. Whatever it prints or raises is what a person would see. The comments name
the page of each tool's documentation that its function follows.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import StrictInt
from torch import nn

__all__ = ["LAYERS", "TOOLS", "SmallCNN", "Tool", "Use"]

Use = Callable[[Path, Callable[[str], None]], nn.Module]

LAYERS: tuple[type[nn.Module], ...] = (
    nn.AdaptiveAvgPool2d,
    nn.BatchNorm2d,
    nn.Conv2d,
    nn.Flatten,
    nn.Linear,
    nn.MaxPool2d,
    nn.ReLU,
)
"""The layers of the model, for MMEngine, where each one is registered."""


class SmallCNN(nn.Sequential):
    """Named layers in a row: for the tools that cannot name the children of `nn.Sequential`."""

    def __init__(self, **layers: nn.Module) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)


class LayeredCNN(SmallCNN):
    """The same, for the tools that read the types of a constructor's arguments."""

    def __init__(self, layers: dict[str, nn.Module]) -> None:
        super().__init__(**layers)


@dataclass(frozen=True)
class Tool:
    """A tool, the file of `benchmarks/mistakes` that it reads, and the distribution whose version counts."""

    name: str
    file: str
    distribution: str
    use: Use


# --- confnet --------------------------------------------------------------------------------------------------------


def use_confnet(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """`confnet validate FILE`, then `confnet.build`."""
    import confnet
    from confnet.cli import commands

    commands(["validate", str(path)], prog_name="confnet", standalone_mode=False)
    stage("build")
    return confnet.build(path)


# --- Hydra ----------------------------------------------------------------------------------------------------------


def use_hydra(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """hydra.cc: "Structured config schema", "Instantiating objects"; omegaconf.readthedocs.io: "Structured configs".

    A schema for the whole file, with the type of every argument: the strictest that Hydra has.
    """
    import hydra
    from hydra.core.config_store import ConfigStore
    from omegaconf import MISSING, OmegaConf

    def layer(target: type[nn.Module], **arguments: Any) -> Any:
        required = [(name, kind, field(default=MISSING)) for name, kind in arguments.items() if isinstance(kind, type)]
        given = [(name, type(value), field(default=value)) for name, value in arguments.items() if type(value) is int]
        name = f"torch.nn.{target.__name__}"
        return make_dataclass(target.__name__, [("_target_", str, field(default=name)), *required, *given])

    convolution = layer(nn.Conv2d, in_channels=int, out_channels=int, kernel_size=int, stride=1, padding=0)
    layers = {
        "conv1": convolution,
        "norm1": layer(nn.BatchNorm2d, num_features=int),
        "act1": layer(nn.ReLU),
        "pool1": layer(nn.MaxPool2d, kernel_size=int),
        "conv2": convolution,
        "act2": layer(nn.ReLU),
        "pool2": layer(nn.AdaptiveAvgPool2d, output_size=int),
        "flatten": layer(nn.Flatten),
        "fc": layer(nn.Linear, in_features=int, out_features=int),
    }
    children = [(name, kind, field(default_factory=kind)) for name, kind in layers.items()]
    target = f"{SmallCNN.__module__}.{SmallCNN.__name__}"
    model = make_dataclass("Model", [("_target_", str, field(default=target)), *children])
    head = [("name", str, field(default="")), ("channels", int, MISSING), ("classes", int, MISSING)]
    schema = make_dataclass("Schema", [*head, ("model", model, field(default_factory=model))])
    ConfigStore.instance().store(name="schema", node=schema)

    built: list[nn.Module] = []

    @hydra.main(version_base=None, config_path=str(path.parent), config_name=path.stem)
    def run(config: Any) -> None:
        OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
        stage("build")
        built.append(hydra.utils.instantiate(config.model))
        stage("forward")  # inside, so that Hydra reports what goes wrong there too
        built[0](example())

    sys.argv = ["train.py", f"hydra.run.dir={path.parent / 'run'}", "hydra.output_subdir=null"]
    run()
    return built[0]


# --- MMEngine -------------------------------------------------------------------------------------------------------


def use_mmengine(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """mmengine.readthedocs.io: "Registry", "Config". Its Python files, the form that it documents first."""
    from mmengine.config import Config
    from mmengine.registry import MODELS

    for layer in LAYERS:
        MODELS.register_module(module=layer)

    def small_cnn(**layers: Any) -> nn.Module:
        return SmallCNN(**{name: MODELS.build(layer) for name, layer in layers.items()})

    MODELS.register_module(name="SmallCNN", module=small_cnn)
    config = Config.fromfile(path)
    stage("build")
    module: nn.Module = MODELS.build(config.model)
    return module


# --- jsonargparse ---------------------------------------------------------------------------------------------------


def use_jsonargparse(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """jsonargparse.readthedocs.io: "Configuration files", "Classes, methods and functions"."""
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(prog="train.py", parser_mode="omegaconf")
    parser.add_argument("--config", action="config")
    parser.add_argument("--name", type=str)
    parser.add_argument("--channels", type=int)
    parser.add_argument("--classes", type=int)
    parser.add_class_arguments(LayeredCNN, "model")
    config = parser.parse_args(["--config", str(path)])
    stage("build")
    module: nn.Module = parser.instantiate(config).model
    return module


# --- confection -----------------------------------------------------------------------------------------------------


def use_confection(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """confection's README and thinc.ai: "Config system", with a schema that forbids what it does not name.

    confection checks by the annotations of functions. It cannot read those of torch's classes (it takes the type of
    the attribute `bias` for that of the argument), so each layer has a function with the types that the file needs.
    There confection takes the strictness off `StrictInt`, and so lets a text pass.
    """
    import catalogue
    from confection import Config, Schema, registry

    def schema(title: str, **fields: Any) -> Any:
        # Real types, not the texts that annotations are in this file.
        return type(title, (Schema,), {"__annotations__": fields, "model_config": {"extra": "forbid"}})

    net = schema("Net", name=str, channels=StrictInt, classes=StrictInt)
    file = schema("File", net=net, model=dict[str, Any])
    layers = catalogue.create("benchmarks", "layers", entry_points=False)
    registry.layers = layers

    @layers.register("AdaptiveAvgPool2d")
    def pool(output_size: StrictInt) -> nn.Module:
        return nn.AdaptiveAvgPool2d(output_size)

    @layers.register("BatchNorm2d")
    def norm(num_features: StrictInt) -> nn.Module:
        return nn.BatchNorm2d(num_features)

    @layers.register("Conv2d")
    def convolution(
        in_channels: StrictInt, out_channels: StrictInt, kernel_size: StrictInt, padding: StrictInt = 0
    ) -> nn.Module:
        return nn.Conv2d(in_channels, out_channels, kernel_size, padding=padding)

    @layers.register("Flatten")
    def flatten() -> nn.Module:
        return nn.Flatten()

    @layers.register("Linear")
    def linear(in_features: StrictInt, out_features: StrictInt) -> nn.Module:
        return nn.Linear(in_features, out_features)

    @layers.register("MaxPool2d")
    def max_pool(kernel_size: StrictInt) -> nn.Module:
        return nn.MaxPool2d(kernel_size)

    @layers.register("ReLU")
    def relu() -> nn.Module:
        return nn.ReLU()

    @layers.register("SmallCNN")
    def small_cnn(*layers: nn.Module) -> nn.Module:
        return nn.Sequential(*layers)

    config = Config().from_disk(path)
    config.validate(file)
    registry.fill(config, validate=True)
    stage("build")
    module: nn.Module = registry.resolve(config, validate=True)["model"]
    return module


# --- Fiddle ---------------------------------------------------------------------------------------------------------


def use_fiddle(path: Path, stage: Callable[[str], None]) -> nn.Module:
    """github.com/google/fiddle: the README. Its file is a Python module whose function returns a `fdl.Config`."""
    import fiddle

    config = runpy.run_path(str(path))["config"]()
    stage("build")
    module: nn.Module = fiddle.build(config)
    return module


def example() -> torch.Tensor:
    """What the model is called with."""
    return torch.zeros(2, 3, 32, 32)


TOOLS = (
    Tool("confnet", "confnet.yaml", "torch-confnet", use_confnet),
    Tool("hydra", "hydra.yaml", "hydra-core", use_hydra),
    Tool("mmengine", "mmengine.py", "mmengine", use_mmengine),
    Tool("jsonargparse", "jsonargparse.yaml", "jsonargparse", use_jsonargparse),
    Tool("confection", "confection.cfg", "confection", use_confection),
    Tool("fiddle", "fiddle.py", "fiddle", use_fiddle),
)
"""confnet first."""

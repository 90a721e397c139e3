"""GPT-2 as a file for each tool that `benchmarks.build` compares, and how the tool makes the model of it.

The leaves are torch's layers and `Conv1D`, the parts the classes of `benchmarks.gpt2` that end in `Of`; each tool is
used as the page of its documentation shows that `benchmarks.rivals` names, here without anything that only checks:
no schema, no types of arguments, but for jsonargparse and confection, which cannot do without. A tool that can write a
layer once and name it several times (Hydra, MMEngine, Fiddle) does so; in the other files the layers are written out.
"""

from __future__ import annotations

import runpy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from torch import nn

from benchmarks import gpt2
from benchmarks.gpt2 import DROPOUT

__all__ = ["MAKERS", "Maker", "installed"]

Size = Mapping[str, int]


@dataclass(frozen=True)
class Maker:
    """A tool: the module to import for it, its distribution, its file of GPT-2, how it reads the file, and how it
    makes the model of what it read."""

    name: str
    module: str
    distribution: str
    file: str
    text: Callable[[Size], str]
    read: Callable[[Path], Any]
    make: Callable[[Any], nn.Module]

    @property
    def title(self) -> str:
        return f"{self.name} {metadata.version(self.distribution)}"


def installed(makers: Sequence[Maker]) -> tuple[list[Maker], list[str]]:
    """The tools that can be imported, and a line for each that cannot."""
    found, absent = [], []
    for maker in makers:
        try:
            import_module(maker.module)
            found.append(maker)
        except ImportError:
            absent.append(f"{maker.name} is not installed and is left out")
    return found, absent


# --- the tree of layers, from which the files are written -------------------------------------------------------------


@dataclass(frozen=True)
class Node:
    """A class with arguments: numbers, other nodes, lists of nodes."""

    cls: type[nn.Module]
    arguments: Mapping[str, Any]


def block(size: Size) -> Node:
    """One layer."""
    width = size["n_embd"]
    norm = Node(nn.LayerNorm, {"normalized_shape": width})
    drop = Node(nn.Dropout, {"p": DROPOUT})

    def conv(nf: int, nx: int) -> Node:
        return Node(gpt2.Conv1D, {"nf": nf, "nx": nx})

    attention = {"heads": size["n_head"], "c_attn": conv(3 * width, width), "c_proj": conv(width, width)}
    mlp = {"c_fc": conv(4 * width, width), "c_proj": conv(width, 4 * width)}
    parts = {
        "ln_1": norm,
        "attn": Node(gpt2.AttentionOf, {**attention, "attn_dropout": drop, "resid_dropout": drop}),
        "ln_2": norm,
        "mlp": Node(gpt2.MLPOf, {**mlp, "act": Node(nn.GELU, {"approximate": "tanh"}), "dropout": drop}),
    }
    return Node(gpt2.BlockOf, parts)


def tree(size: Size, layers: Any) -> Node:
    """The whole model; `layers` stand for its list of layers."""
    width = size["n_embd"]
    transformer = {
        "n_positions": size["n_positions"],
        "wte": Node(nn.Embedding, {"num_embeddings": size["vocab_size"], "embedding_dim": width}),
        "wpe": Node(nn.Embedding, {"num_embeddings": size["n_positions"], "embedding_dim": width}),
        "drop": Node(nn.Dropout, {"p": DROPOUT}),
        "h": layers,
        "ln_f": Node(nn.LayerNorm, {"normalized_shape": width}),
    }
    head = {"in_features": width, "out_features": size["vocab_size"], "bias": False}
    return Node(gpt2.GPT2Of, {"transformer": Node(gpt2.TransformerOf, transformer), "lm_head": Node(nn.Linear, head)})


def path_of(cls: type) -> str:
    """The name under which a file finds a class."""
    home = "torch.nn" if cls.__module__.startswith("torch.nn") else cls.__module__
    return f"{home}.{cls.__qualname__}"


def yaml(value: Any, target: Callable[[Node], Mapping[str, Any]], indent: int = 0) -> str:
    """Block style YAML of a tree; `target` tells what the mapping of a node holds."""
    pad = "  " * indent
    if isinstance(value, Node):
        value = target(value)
    if isinstance(value, Mapping):
        return "".join(f"\n{pad}{key}:{yaml(item, target, indent + 1)}" for key, item in value.items())
    if isinstance(value, list):
        return "".join(f"\n{pad}-{yaml(item, target, indent + 1)}" for item in value)
    return f" {str(value).lower() if isinstance(value, bool) else value}"


def python(value: Any, call: Callable[[Node, str], str]) -> str:
    """A Python expression of a tree; `call` writes a node of its class and its arguments."""
    if isinstance(value, Node):
        return call(value, ", ".join(f"{name}={python(item, call)}" for name, item in value.arguments.items()))
    return value.strip("<>") if isinstance(value, str) and value.startswith("<") else repr(value)


# --- Hydra ----------------------------------------------------------------------------------------------------------


def hydra_text(size: Size) -> str:
    def target(node: Node) -> Mapping[str, Any]:
        return {"_target_": path_of(node.cls), **node.arguments}

    layers = ["${block}"] * size["n_layer"]
    return yaml({"block": block(size), "model": tree(size, layers)}, target).lstrip() + "\n"


def hydra_read(path: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.load(path)


def hydra_make(config: Any) -> nn.Module:
    from hydra.utils import instantiate

    module: nn.Module = instantiate(config.model)
    return module


# --- MMEngine -------------------------------------------------------------------------------------------------------


def mmengine_text(size: Size) -> str:
    def call(node: Node, arguments: str) -> str:
        return f"dict(type={node.cls.__name__!r}, {arguments})"

    layers = f"<[block] * {size['n_layer']}>"
    return f"block = {python(block(size), call)}\nmodel = {python(tree(size, layers), call)}\n"


def mmengine_read(path: Path) -> Any:
    from mmengine.config import Config

    return Config.fromfile(path)


def mmengine_make(config: Any) -> nn.Module:
    module: nn.Module = _mmengine_registry().build(config.model)
    return module


def _mmengine_registry() -> Any:
    from mmengine.registry import Registry

    if not _REGISTRIES:
        registry = Registry("gpt2", locations=["benchmarks.gpt2"])

        def part(cls: type[nn.Module]) -> Callable[..., nn.Module]:
            def build(**parts: Any) -> nn.Module:
                return cls(**{name: _built(part) for name, part in parts.items()})

            def _built(value: Any) -> Any:
                if isinstance(value, list):
                    return [registry.build(item) for item in value]
                return registry.build(value) if isinstance(value, dict) else value

            return build

        for layer in LEAVES:
            registry.register_module(module=layer)
        for cls in PARTS:
            registry.register_module(name=cls.__name__, module=part(cls))
        _REGISTRIES.append(registry)
    return _REGISTRIES[0]


LEAVES = (nn.Dropout, nn.Embedding, nn.GELU, nn.LayerNorm, nn.Linear, gpt2.Conv1D)
PARTS = (gpt2.AttentionOf, gpt2.BlockOf, gpt2.GPT2Of, gpt2.MLPOf, gpt2.TransformerOf)
_REGISTRIES: list[Any] = []


# --- jsonargparse ---------------------------------------------------------------------------------------------------


def jsonargparse_text(size: Size) -> str:
    def target(node: Node) -> Mapping[str, Any]:
        return {"class_path": path_of(node.cls), "init_args": node.arguments}

    layers = [block(size)] * size["n_layer"]
    return yaml({"model": dict(tree(size, layers).arguments)}, target).lstrip() + "\n"


def jsonargparse_read(path: Path) -> Any:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser()
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(gpt2.GPT2Of, "model")
    return parser, parser.parse_args(["--config", str(path)])


def jsonargparse_make(config: Any) -> nn.Module:
    parser, values = config
    module: nn.Module = parser.instantiate(values).model
    return module


# --- confection -----------------------------------------------------------------------------------------------------


def confection_text(size: Size) -> str:
    lines: list[str] = []

    def write(section: str, node: Node) -> None:
        plain = {name: item for name, item in node.arguments.items() if not isinstance(item, Node | list)}
        lines.append(f'[{section}]\n@layers = "{node.cls.__name__}"')
        for name, item in plain.items():
            lines.append(f"{name} = {_ini(item)}")
        lines.append("")
        for name, item in node.arguments.items():
            if isinstance(item, Node):
                write(f"{section}.{name}", item)
            elif isinstance(item, list):
                lines.append(f'[{section}.{name}]\n@layers = "list"\n')
                for index, each in enumerate(item):
                    write(f"{section}.{name}.*.layer{index}", each)

    write("model", tree(size, [block(size)] * size["n_layer"]))
    return "\n".join(lines)


def _ini(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else str(value)


def confection_read(path: Path) -> Any:
    from confection import Config

    return Config().from_disk(path)


def confection_make(config: Any) -> nn.Module:
    from confection import registry

    if not hasattr(registry, "layers") or not _CATALOGUES:
        registry.layers = _confection_layers()
    module: nn.Module = registry.resolve(config)["model"]
    return module


_CATALOGUES: list[Any] = []


def _confection_layers() -> Any:
    """A function for each layer, since confection checks by annotations and cannot read those of torch's classes."""
    import catalogue

    layers = catalogue.create("benchmarks", "gpt2", entry_points=False)

    def dropout(p: float) -> nn.Module:
        return nn.Dropout(p)

    def embedding(num_embeddings: int, embedding_dim: int) -> nn.Module:
        return nn.Embedding(num_embeddings, embedding_dim)

    def gelu(approximate: str) -> nn.Module:
        return nn.GELU(approximate)

    def norm(normalized_shape: int) -> nn.Module:
        return nn.LayerNorm(normalized_shape)

    def linear(in_features: int, out_features: int, bias: bool) -> nn.Module:
        return nn.Linear(in_features, out_features, bias)

    def conv(nf: int, nx: int) -> nn.Module:
        return gpt2.Conv1D(nf, nx)

    def listed(*items: nn.Module) -> list[nn.Module]:
        return list(items)

    functions: dict[str, Any] = {
        "Dropout": dropout,
        "Embedding": embedding,
        "GELU": gelu,
        "LayerNorm": norm,
        "Linear": linear,
        "Conv1D": conv,
        "list": listed,
    }
    for name, function in {**functions, **{cls.__name__: cls for cls in PARTS}}.items():
        layers.register(name, func=function)
    _CATALOGUES.append(layers)
    return layers


# --- Fiddle ---------------------------------------------------------------------------------------------------------


def fiddle_text(size: Size) -> str:
    def call(node: Node, arguments: str) -> str:
        return f"fdl.Config({path_of(node.cls)}, {arguments})"

    layers = f"<[block() for _ in range({size['n_layer']})]>"
    imports = "import benchmarks.gpt2\nimport fiddle as fdl\nimport torch.nn"
    return (
        f"{imports}\n\n\ndef block():\n    return {python(block(size), call)}\n"
        f"\n\ndef config():\n    return {python(tree(size, layers), call)}\n"
    )


def fiddle_read(path: Path) -> Any:
    return runpy.run_path(str(path))["config"]()


def fiddle_make(config: Any) -> nn.Module:
    import fiddle

    module: nn.Module = fiddle.build(config)
    return module


MAKERS = (
    Maker("hydra", "hydra", "hydra-core", "gpt2_hydra.yaml", hydra_text, hydra_read, hydra_make),
    Maker("mmengine", "mmengine", "mmengine", "gpt2_mmengine.py", mmengine_text, mmengine_read, mmengine_make),
    Maker(
        "jsonargparse",
        "jsonargparse",
        "jsonargparse",
        "gpt2_jsonargparse.yaml",
        jsonargparse_text,
        jsonargparse_read,
        jsonargparse_make,
    ),
    Maker(
        "confection",
        "confection",
        "confection",
        "gpt2_confection.cfg",
        confection_text,
        confection_read,
        confection_make,
    ),
    Maker("fiddle", "fiddle", "fiddle", "gpt2_fiddle.py", fiddle_text, fiddle_read, fiddle_make),
)

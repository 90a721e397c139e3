"""What torch's docstrings say, as data: `python -m confnet.builder.introspect_docs` writes documentation.json.

Texts are read, never typed in; the reviewed tables hold what torch leaves undocumented.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, cast, get_args

import torch
from torch import nn
from torch.nn.utils import parametrizations

from confnet.builder.introspect import DATA as LAYER_DATA
from confnet.builder.introspect import collect as collect_layers
from confnet.builder.introspect_functions import collect as collect_functions
from confnet.builder.introspect_functions import resolve
from confnet.catalog import docstrings
from confnet.catalog.functions import Form, Namespace
from confnet.whole_files import write_whole

__all__ = ["DATA", "collect", "text_of"]

DATA: Final = LAYER_DATA.with_name("documentation.json")

Row = dict[str, Any]

# --- reviewed tables ----------------------------------------------------------------------------------------------

# Classes without a docstring and a page, and the one that computes the same.
_STAND_INS: Final[Mapping[str, str]] = {"CrossMapLRN2d": "LocalResponseNorm", "NLLLoss2d": "NLLLoss"}

# Arguments of layers that torch does not document.
_ARGUMENTS: Final[Mapping[str, str]] = {
    "dtype": "dtype of the parameters and buffers. Default: torch's default dtype",
    "inplace": "can optionally do the operation in-place. Default: `False`",
    "norm_type": "the exponent: `1` is sum pooling, infinity is max pooling",
    "padding_mode": "only `'zeros'` is supported",
    "value": "the value to pad with",
    "mask_check": "whether to check that the mask allows the fast path of nested tensors. Default: `True`",
}

# Functions without a docstring, for which no other function's serves either.
_FUNCTIONS: Final[Mapping[str, str]] = {
    "torch.affine_grid_generator": "Generates a sampling grid for `grid_sampler`, given a batch of affine matrices.",
    "torch.binomial": "Draws from binomial distributions with the given counts of trials and probabilities of success.",
    "torch.clamp_max": "Clamps all elements of `input` to be at most `max`.",
    "torch.clamp_min": "Clamps all elements of `input` to be at least `min`.",
    "torch.constant_pad_nd": "Pads a tensor with a constant value; `pad` begins at the last dimension, as in `F.pad`.",
    "torch.fill": "Returns a copy of `input` filled with `value`.",
    "torch.feature_dropout": "Randomly zeroes out entire channels with probability `p`.",
    "torch.grid_sampler": "Samples `input` at the locations of `grid`, as `F.grid_sample` does.",
    "torch.grid_sampler_2d": "Samples a 4D `input` at the locations of `grid`, as `F.grid_sample` does.",
    "torch.grid_sampler_3d": "Samples a 5D `input` at the locations of `grid`, as `F.grid_sample` does.",
    "torch.gru_cell": "Applies one step of a gated recurrent unit with the given weights.",
    "torch.is_same_size": "Tells whether two tensors have the same shape.",
    "torch.is_signed": "Tells whether the dtype of the tensor is signed.",
    "torch.lstm_cell": "Applies one step of a long short-term memory with the given weights.",
    "torch.norm_except_dim": "Computes the norm of a tensor over all dimensions but `dim`.",
    "torch.rnn_relu_cell": "Applies one step of an Elman RNN with ReLU and the given weights.",
    "torch.rnn_tanh_cell": "Applies one step of an Elman RNN with tanh and the given weights.",
    "torch.rsub": "Subtracts `input`, scaled by `alpha`, from `other`.",
    "torch.scalar_tensor": "Makes a tensor without dimensions from a number.",
    "torch.split_with_sizes": "Splits a tensor along `dim` into chunks of the given sizes, each a view.",
    "torch.unsafe_split_with_sizes": "Works like `torch.split_with_sizes` without its rules for in-place changes.",
}

_SPELLED: Final[Mapping[Namespace, str]] = {"torch": "torch", "functional": "F", "tensor": "Tensor"}


# --- collecting ---------------------------------------------------------------------------------------------------


def collect(catalog: Mapping[str, Any] | None = None, listed: Mapping[str, Row] | None = None) -> Row:
    """The documentation of what `catalog` (made by `confnet.builder.introspect.collect`) and code may name.

    `listed` are the functions, as functions.json has them (made by `confnet.builder.introspect_functions.collect`).
    """
    catalog = catalog or collect_layers()
    layers = {
        name: _layer(name, [row["name"] for row in rows["arguments"]]) for name, rows in catalog["layers"].items()
    }
    return {
        "torch": torch.__version__.split("+")[0],
        "layers": layers,
        "functions": _Functions(layers, collect_functions()["functions"] if listed is None else listed).collect(),
        "initializers": {
            name: _row(
                docstrings.summary(getattr(nn.init, name).__doc__ or ""),
                f"nn.init.html#torch.nn.init.{name}",
                _kept(docstrings.arguments(getattr(nn.init, name).__doc__ or ""), rows["arguments"]),
            )
            for name, rows in catalog["initializers"].items()
        },
        "parametrizations": {
            name: _row(
                docstrings.summary(getattr(parametrizations, name).__doc__ or ""),
                f"generated/torch.nn.utils.parametrizations.{name}.html",
                _kept(docstrings.arguments(getattr(parametrizations, name).__doc__ or ""), rows["arguments"]),
            )
            for name, rows in catalog["parametrizations"].items()
        },
    }


def _row(summary: str, url: str, arguments: Mapping[str, str]) -> Row:
    return {"summary": summary, "url": url, **({"arguments": dict(arguments)} if arguments else {})}


def _kept(arguments: Mapping[str, str], rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    return {row["name"]: arguments[row["name"]] for row in rows if row["name"] in arguments}


def text_of(data: Mapping[str, Any]) -> str:
    """The text of the data: one entry a line, so that a difference can be read."""
    parts = [f'"torch": {json.dumps(data["torch"])}']
    for table in ("layers", "functions", "initializers", "parametrizations"):
        rows = [f"{json.dumps(name)}: {json.dumps(row, ensure_ascii=False)}" for name, row in data[table].items()]
        parts.append(f'"{table}": {{\n' + ",\n".join(rows) + "\n}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


# --- layers -------------------------------------------------------------------------------------------------------


def _layer(name: str, arguments: list[str]) -> Row:
    shown = _STAND_INS.get(name, name)
    cls: type = getattr(nn, shown)
    said: dict[str, str] = {}
    for base in cls.__mro__[: cls.__mro__.index(nn.Module)]:  # a lazy layer documents less than what it becomes
        for argument, text in docstrings.arguments(base.__doc__ or "").items():
            said.setdefault(argument, text)
    texts = {argument: said.get(argument) or _ARGUMENTS.get(argument, "") for argument in arguments}
    return _row(
        docstrings.summary(cls.__doc__ or ""),
        f"generated/torch.nn.{shown}.html",
        {argument: text for argument, text in texts.items() if text},
    )


# --- functions ----------------------------------------------------------------------------------------------------


_Key = tuple[Namespace, str]


class _Functions:
    """The documentation of functions, which often send their reader to one another."""

    def __init__(self, layers: Mapping[str, Row], listed: Mapping[str, Row]) -> None:
        self.layers = layers
        self.folded = {name.lower(): name for name in layers}
        self.forms: dict[_Key, list[str]] = {}
        for key, row in listed.items():
            space, _, name = key.partition(".")
            self.forms[cast(Namespace, space), name] = row["forms"] or []
        self.own = {(space, name): _own(space, name) for space, name in self.forms}

    def collect(self) -> dict[str, Row]:
        """Every function that code may call, as code spells it."""
        rows = {f"{_SPELLED[space]}.{name}": self._row((space, name)) for space, name in self.own}
        return {name: rows[name] for name in sorted(rows)}

    def _row(self, key: _Key) -> Row:
        summary, url = self._summary(key)
        sources = [row.get("arguments", {}) for row in self._chain(key)]
        texts = {}
        for name in dict.fromkeys(p.name for form in self.forms[key] for p in Form.parse(form).parameters):
            said = next((source[name] for source in sources if name in source), "")
            texts.update({name: said} if said else {})
        return _row(summary.replace("`input`", "`self`") if key[0] == "tensor" else summary, url, texts)

    def _summary(self, key: _Key, left: int = 4) -> tuple[str, str]:
        """What a function does and torch's page about it; `left` pointers are followed at most."""
        namespace, name = key
        said = self.own[key]["summary"]
        target = self._target(namespace, docstrings.reference(said))
        if target is not None and left:
            if isinstance(target, str):
                there = self.layers[target]["summary"]
            else:
                there, _ = self._summary(target, left - 1)
            return _joined(said, there), self.own[key]["url"]
        if said or f"torch.{name}" in _FUNCTIONS:
            return (said, self.own[key]["url"]) if said else (_FUNCTIONS[f"torch.{name}"], "")
        base = (namespace, name.removesuffix("_"))
        if base != key and base in self.own and left:
            there, url = self._summary(base, left - 1)
            return _joined(f"In-place version of `{base[1]}`", there), url
        row = next(
            (row for row in self._chain(key) if row["summary"] and not docstrings.reference(row["summary"])), None
        )
        return (row["summary"], row["url"]) if row is not None else ("", "")

    def _chain(self, key: _Key) -> Iterator[Row]:
        """The texts that are about a function, the nearest first: its own, those it points to, its namesakes'."""
        seen: list[_Key | str] = [key]
        for here in seen:  # grows below
            yield self.layers[here] if isinstance(here, str) else self.own[here]
            if isinstance(here, str):
                continue
            namespace, name = here
            base = name.removesuffix("_")
            found = [
                self._target(namespace, docstrings.reference(self.own[here]["summary"])),
                (namespace, base),
                *((other, plain) for plain in (name, base) for other in get_args(Namespace)),
                self.folded.get(name.replace("_", "")),
            ]
            for other in dict.fromkeys(found):
                if other is not None and other not in seen and self._is_known(other):
                    seen.append(other)

    def _is_known(self, key: _Key | str) -> bool:
        return key in (self.layers if isinstance(key, str) else self.own)

    def _target(self, namespace: Namespace, name: str) -> _Key | str | None:
        """What a docstring means by a name: `torch.add`, `torch.Tensor.add`, `torch.nn.ReLU`, or one of its own."""
        path = name.removeprefix("torch.")
        keys: list[_Key | str] = [("torch", path), ("tensor", path)]
        if path.startswith("nn.functional."):
            keys = [("functional", path.removeprefix("nn.functional."))]
        elif path.startswith("Tensor."):
            keys = [("tensor", path.removeprefix("Tensor."))]
        elif path.startswith("nn."):
            keys = [path.removeprefix("nn.")]
        elif path == name:
            keys.insert(0, (namespace, path))
        return next(filter(self._is_known, keys), None)


def _own(namespace: Namespace, name: str) -> Row:
    text = getattr(resolve(namespace, name), "__doc__", None) or ""
    return {
        "summary": docstrings.summary(text),
        "url": _page(namespace, name),
        "arguments": docstrings.arguments(text),
    }


def _joined(pointer: str, said: str) -> str:
    """A pointer and what stands there: "See ..." is the text itself."""
    if not said or pointer.startswith("See "):
        return said or pointer
    return f"{pointer.rstrip('.')}: {said}"


def _page(namespace: Namespace, name: str) -> str:
    if namespace == "torch" and getattr(nn.functional, name, None) is resolve(namespace, name):
        namespace = "functional"
    if namespace == "functional":
        name = name.removesuffix("_")  # an in-place version stands on the page of the other
    if namespace == "torch" and name.startswith("special."):
        return f"special.html#torch.{name}"
    owner = {"torch": "torch", "functional": "torch.nn.functional", "tensor": "torch.Tensor"}[namespace]
    return f"generated/{owner}.{name}.html"


def main(path: Path = DATA) -> None:
    """Write the data file, all of it or nothing."""
    write_whole(path, text_of(collect()))


if __name__ == "__main__":
    main()

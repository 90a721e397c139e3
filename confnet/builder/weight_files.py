"""Weights on disk: safetensors files, sharded ones, and torch's own files where a caller asks for them.

A file of weights may come from anyone. A safetensors file is names and numbers and is mapped into memory, never
executed; a pickle is refused, and read only by torch's restricted reader, when a caller asks for that.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from confnet.blueprint import Blueprint
from confnet.builder.instances import blueprint_of
from confnet.diagnostics import ConfnetError, Diagnostic

__all__ = ["FORMATS", "MAPPING", "Checkpoint", "Stored", "WeightsLike", "read_weights", "save_weights"]

FORMATS: Final = ("safetensors", "torch")
MAPPING: Final = "<weights>"
"""What stands for a file where the weights are a mapping."""

WeightsLike = str | os.PathLike[str] | Mapping[str, torch.Tensor]
"""A path (of a file, of the index of a sharded one, or of a folder that has one), or tensors by name."""

MAX_INDEX = 64_000_000  # bytes; the index of the largest public models has about 10 MB
_INDEX: Final = ".index.json"
_STEMS: Final = {"safetensors": "model.safetensors", "torch": "pytorch_model.bin"}
_ENDINGS: Final = {"safetensors": (".safetensors",), "torch": (".bin", ".pt", ".pth")}
_LFS: Final = b"version https://git-lfs"
_CONVERT: Final = (
    "convert it to safetensors where you trust it; or read it with `torch.load(weights_only=True)`, which refuses "
    'code: `weights_format="torch"`, on the command line `--weights-format torch`'
)


@dataclass(frozen=True, slots=True)
class Stored:
    """One tensor of a checkpoint, with its file and its key there; values of a file are mapped, not read."""

    tensor: torch.Tensor
    file: str
    key: str


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything that weights hold, by key; `metadata` is what torch keeps beside a state dict (versions)."""

    entries: Mapping[str, Stored]
    files: tuple[str, ...]
    metadata: Any = field(default=None, repr=False)


def read_weights(source: WeightsLike, form: str) -> Checkpoint:
    """The tensors of a path or mapping, in the format that the caller names. Raises ConfnetError, or TypeError for
    what is no source of weights."""
    if form not in FORMATS:
        raise TypeError(f"`weights_format` is one of {', '.join(map(repr, FORMATS))}, not {form!r}")
    if isinstance(source, Mapping):
        return _from_mapping(source)
    if not isinstance(source, str | os.PathLike):
        raise TypeError(f"weights are a path or a mapping of tensors by name, not {type(source).__name__}")
    name = os.fspath(source)
    if not isinstance(name, str):
        raise TypeError("a path is text, not bytes")
    path, name = _file_of(Path(name), name, form)
    if name.endswith(".json"):
        return _sharded(path, name, form)
    tensors, metadata = _tensors(path, name, form)
    return Checkpoint({key: Stored(tensor, name, key) for key, tensor in tensors.items()}, (name,), metadata)


def _from_mapping(source: Mapping[Any, Any]) -> Checkpoint:
    entries = {}
    for key, tensor in source.items():
        if not isinstance(key, str) or not isinstance(tensor, torch.Tensor):
            raise TypeError(f"`weights` maps names to tensors, not {type(key).__name__} to {type(tensor).__name__}")
        if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized:
            raise TypeError(f"`{key}` of `weights` must be a dense tensor with values")
        entries[key] = Stored(tensor.detach(), MAPPING, key)
    return Checkpoint(entries, (MAPPING,), getattr(source, "_metadata", None))


# --- which file -----------------------------------------------------------------------------------------------------


def _file_of(path: Path, name: str, form: str) -> tuple[Path, str]:
    """The file that a path means, and its name: of a folder, the only one that holds weights."""
    try:
        if path.is_file():
            return path, name
        if not path.is_dir():
            raise _unreadable(f"`{name}` is not a file" if path.exists() else f"`{name}` does not exist")
        found = sorted(each.name for each in path.iterdir() if each.is_file())
    except (OSError, ValueError) as error:
        raise _unreadable(f"`{name}` cannot be read: {_reason(error)}") from None
    stem = _STEMS[form]
    usual = [each for each in (f"{stem}{_INDEX}", stem) if each in found]
    indices = [each for each in found if each.endswith(tuple(f"{ending}{_INDEX}" for ending in _ENDINGS[form]))]
    chosen = usual[:1] or indices or [each for each in found if each.endswith(_ENDINGS[form])]
    if len(chosen) == 1:
        return path / chosen[0], os.path.join(name, chosen[0])
    if chosen:
        names = ", ".join(f"`{each}`" for each in chosen[:5])
        raise _unreadable(f"the folder `{name}` holds {len(chosen)} files of weights", f"name one of them: {names}")
    if form == "safetensors" and any(each.endswith(_ENDINGS["torch"]) for each in found):
        raise _unsafe(f"the folder `{name}` holds weights as pickles only, and a pickle can run code when it is loaded")
    raise _unreadable(f"the folder `{name}` holds no `{stem}`, nor another file of weights")


def _sharded(path: Path, name: str, form: str) -> Checkpoint:
    """The tensors of all shards that an index names, each key from the shard that it says."""
    keys: dict[str, list[str]] = {}
    for key, shard in _weight_map(path, name).items():
        keys.setdefault(shard, []).append(key)
    paths = {shard: _shard(path, name, shard) for shard in keys}  # all of them before any is read
    entries: dict[str, Stored] = {}
    files = []
    for shard, wanted in keys.items():
        file = os.path.join(os.path.dirname(name), shard)
        tensors, _ = _tensors(paths[shard], file, form)
        for key in wanted:
            if key not in tensors:
                raise _unreadable(f"`{file}` holds no `{key}`, which `{name}` says it does")
            entries[key] = Stored(tensors[key], file, key)
        for key in tensors.keys() - set(wanted):
            raise _unreadable(f"`{file}` holds `{key}`, which `{name}` does not place there")
        files.append(file)
    return Checkpoint(entries, tuple(files))


def _weight_map(path: Path, name: str) -> dict[str, str]:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_INDEX + 1)
        if len(data) > MAX_INDEX:
            raise _unreadable(f"the index `{name}` is larger than {MAX_INDEX:,} bytes")
        index = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        why = _reason(error) if isinstance(error, OSError) else "it is not JSON"
        raise _unreadable(f"the index `{name}` cannot be read: {why}", _help_for(data[:200])) from None
    found = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(found, dict) or not all(isinstance(shard, str) for shard in found.values()):
        raise _unreadable(f"the index `{name}` has no `weight_map` from names to files")
    return found


def _shard(index: Path, name: str, shard: str) -> Path:
    """The path of a shard, which lies beside the index whatever the index says.

    The cache of the Hugging Face hub keeps `snapshots/REVISION/` as links to `blobs/`, which are its own.
    """
    if not shard or shard in (".", "..") or set(shard) & set("/\\:\0"):
        raise _unreadable(f"the index `{name}` names `{shard}`, and a shard is a file beside its index")
    folder = index.parent.resolve()
    homes = [folder]
    if folder.parent.name == "snapshots":
        homes.append(folder.parent.parent / "blobs")
    try:
        path = (folder / shard).resolve()
    except (OSError, RuntimeError):  # before Python 3.13, a circle of links is a RuntimeError
        raise _unreadable(f"`{shard}`, which `{name}` names, is a link that leads nowhere") from None
    if not any(path.parent == home for home in homes):
        raise _unreadable(f"`{shard}`, which `{name}` names, is a link out of the folder")
    if not path.is_file():
        raise _unreadable(f"the shard `{shard}`, which `{name}` names, is not there")
    return path


# --- what is in it --------------------------------------------------------------------------------------------------


def _tensors(path: Path, name: str, form: str) -> tuple[dict[str, torch.Tensor], Any]:
    """The tensors of one file, mapped into memory, and torch's metadata."""
    return (_safetensors(path, name), None) if form == "safetensors" else _torch(path, name)


def _safetensors(path: Path, name: str) -> dict[str, torch.Tensor]:
    try:
        from safetensors import safe_open
    except ImportError:
        raise _no_safetensors() from None
    try:
        with safe_open(os.fspath(path), framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118 (it is no mapping)
    except Exception as error:  # whatever the library makes of a file from anywhere
        raise _not_safetensors(path, name, error) from None


def _not_safetensors(path: Path, name: str, error: Exception) -> ConfnetError:
    """Why a file cannot be read: another format, or what the library says of it."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            head = stream.read(200)
    except OSError as cause:
        return _unreadable(f"`{name}` cannot be read: {_reason(cause)}")
    if head[:4] == b"PK\x03\x04" or (head[:1] == b"\x80" and head[1:2] in (b"\2", b"\3", b"\4", b"\5")):
        return _unsafe(f"`{name}` is a pickle, which can run code when it is loaded")
    if _help_for(head):
        return _unreadable(f"`{name}` is a pointer of Git LFS, not the file itself", _help_for(head))
    if len(head) < 8:
        return _unreadable(f"`{name}` is no safetensors file: it has {size} bytes")
    header = int.from_bytes(head[:8], "little")
    if head[8:9] == b"{" and header > size - 8:
        return _unreadable(f"`{name}` is cut off within its header", "copy or download it again")
    if head[8:9] == b"{":
        reason = str(error).removeprefix("Error while deserializing header: ")
        return _unreadable(f"`{name}` is damaged: {' '.join(reason.split())}", "copy or download it again")
    return _unreadable(f"`{name}` is no safetensors file")


def _help_for(head: bytes) -> str:
    return "fetch the file itself: `git lfs pull`" if head.startswith(_LFS) else ""


def _torch(path: Path, name: str) -> tuple[dict[str, torch.Tensor], Any]:
    """A state dict that `torch.save` wrote, by torch's reader that makes tensors and plain values only."""
    try:
        with warnings.catch_warnings(), path.open("rb") as stream:
            warnings.simplefilter("ignore")
            # Files of torch before 1.6 are no archives and cannot be mapped; by some names torch takes another reader.
            mapped = zipfile.is_zipfile(path) and path.suffix != ".safetensors"
            loaded = torch.load(path if mapped else stream, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever torch makes of a file from anywhere
        if "GLOBAL" in str(error):
            raise _unsafe(
                f"`{name}` holds more than tensors: torch does not load it without running code",
                "where you trust it, load it yourself, and give its state dict as `weights`",
            ) from None
        # torch's text on other pickles advises to load them with code.
        why = "is no file of `torch.save`" if isinstance(error, pickle.UnpicklingError | EOFError) else ""
        raise _unreadable(f"`{name}` {why or f'cannot be read by `torch.load`: {_first_line(error)}'}") from None
    if not isinstance(loaded, Mapping):
        raise _unreadable(f"`{name}` holds no state dict but a value of type `{type(loaded).__name__}`")
    others = [str(key) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if others:
        shown = ", ".join(f"`{key}`" for key in others[:5])
        raise _unreadable(
            f"`{name}` holds more than a state dict: {shown} {'is' if len(others) == 1 else 'are'} no tensor",
            "load it with `torch.load(..., weights_only=True)`, and give the state dict in it as `weights`",
        )
    return {str(key): tensor for key, tensor in loaded.items()}, getattr(loaded, "_metadata", None)


# --- saving ---------------------------------------------------------------------------------------------------------


def save_weights(model: nn.Module, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write a model's state dict as a safetensors file; tensors that are one are written under their first name.

    The file's metadata tells the other names of such a tensor, as `safetensors.torch.save_model` does, and a digest
    of the spec. The file is written beside its place and moved there when it is complete: nobody sees half of it. An
    existing file is replaced with `overwrite` only. Raises ConfnetError where the file cannot be written.
    """
    try:
        from safetensors.torch import save_file
    except ImportError:
        raise _no_safetensors() from None
    place, name = Path(path), os.fspath(path)
    if place.is_dir():
        raise _unwritable(f"`{name}` is a folder")
    if not overwrite and os.path.lexists(place):
        raise _unwritable(f"`{name}` exists", "replace it with `overwrite=True`, on the command line `--force`")
    tensors, metadata = _unshared(model.state_dict())
    blueprint = blueprint_of(model)
    if blueprint is not None:
        metadata["confnet.spec"] = _digest(blueprint)
    partial = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        save_file(tensors, partial, {"format": "pt", **metadata})
        os.replace(partial, place)
    except Exception as error:  # the library's own errors for a full disk or a missing folder are of several kinds
        why = "its folder does not exist" if not place.parent.is_dir() else _first_line(error)
        raise _unwritable(f"`{name}` cannot be written: {why}") from None
    finally:
        with suppress(OSError):
            partial.unlink()


def _unshared(state: Mapping[str, Any]) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor once, none a view of another, and the name that each further name stands for."""
    tensors: dict[str, torch.Tensor] = {}
    others: dict[str, str] = {}
    first: dict[Any, str] = {}
    storages: set[Any] = set()
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor) or tensor.is_meta:
            what = "has no values" if isinstance(tensor, torch.Tensor) else "is no tensor"
            raise _unwritable(f"`{name}` {what}, and a safetensors file holds the values of tensors")
        storage = (tensor.device, tensor.untyped_storage().data_ptr()) if tensor.numel() else name
        same = (storage, tensor.storage_offset(), tensor.shape, tensor.stride(), tensor.dtype)
        if same in first:
            others[name] = first[same]
            continue
        first[same] = name
        whole = tensor.is_contiguous() and storage not in storages
        tensors[name] = tensor if whole else tensor.clone(memory_format=torch.contiguous_format)
        storages.add(storage)
    return tensors, others


def _digest(blueprint: Blueprint) -> str:
    """Of the texts and the args, wherever the files lie: the same model has the same digest on every machine."""
    parts = [[text for _, text in blueprint.texts], blueprint.args, blueprint.variant, blueprint.root]
    return f"sha256:{hashlib.sha256(json.dumps(parts).encode()).hexdigest()}"


# --- errors ---------------------------------------------------------------------------------------------------------


def _unreadable(message: str, help: str = "") -> ConfnetError:
    return ConfnetError([Diagnostic("unreadable-weights", message, help=help)])


def _unsafe(message: str, help: str = _CONVERT) -> ConfnetError:
    return ConfnetError([Diagnostic("unsafe-weights", message, help=help)])


def _unwritable(message: str, help: str = "") -> ConfnetError:
    return ConfnetError([Diagnostic("unwritable-weights", message, help=help)])


def _no_safetensors() -> ConfnetError:
    message = "safetensors files need the package `safetensors`, which is not installed"
    return ConfnetError([Diagnostic("missing-package", message, help="pip install 'torch-confnet[weights]'")])


def _reason(error: Exception) -> str:
    return error.strerror.lower() if isinstance(error, OSError) and error.strerror else "the path is not usable"


def _first_line(error: Exception) -> str:
    lines: Iterable[str] = str(error).strip().splitlines()
    return next(iter(lines), type(error).__name__).rstrip(".")

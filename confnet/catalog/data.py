"""The catalog's data files: those of the package, or of the user's cache where another torch is installed.

layers.json, functions.json and documentation.json are made from one version of torch and come with the package. Where
another one is installed, the same three files are made from that one, once, by a process of its own (torch is never
imported here), and kept in the user's cache. They are data: whoever can write there can change what the catalog says
of torch, but not make confnet run anything.
"""

from __future__ import annotations

import json
import os
import re
import sys
import warnings
import zlib
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from confnet.processes import environment, python
from confnet.whole_files import write_whole

__all__ = ["TABLES", "cache_folder", "clear", "installed_torch", "read"]

TABLES: Final[Mapping[str, tuple[str, ...]]] = {
    "layers": ("layers", "initializers", "parametrizations"),
    "functions": ("functions",),
    "documentation": ("layers", "functions", "initializers", "parametrizations"),
}
"""The files, and the tables that each must have."""

_HERE: Final = Path(__file__).parent
_SECONDS: Final = 600  # far more than it takes
_MAKING: Final = "CONFNET_MAKING_CATALOG"  # set for the process that makes the data: it is not to start another one


@lru_cache(maxsize=len(TABLES))
def read(name: str) -> Mapping[str, Any]:
    """The data file of that name for the installed torch; that of the package where there is no torch."""
    shipped = _shipped(name)
    version = None if os.environ.get(_MAKING) else installed_torch()
    if version is None or version == shipped["torch"]:
        return shipped
    folder = _folder(version)
    found = _cached(folder, name, version) if folder is not None else None
    return found if found is not None else _made(version, folder).get(name, shipped)


def clear() -> None:
    """Forget what was read, so that it is looked for again."""
    for cached in (read, _shipped, installed_torch, _made):
        cached.cache_clear()


@lru_cache(maxsize=len(TABLES))
def _shipped(name: str) -> Mapping[str, Any]:
    data: dict[str, Any] = json.loads((_HERE / f"{name}.json").read_bytes())
    return data


# --- the installed torch ------------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def installed_torch() -> str | None:
    """The release of torch that is installed ("2.13.0"), found without importing it, or None if there is none."""
    try:
        spec = find_spec("torch")
    except (ImportError, ValueError):  # something else calls itself torch
        return None
    if spec is None or spec.origin is None:
        return None
    try:
        text = Path(spec.origin).with_name("version.py").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = ""
    match = re.search(r"^__version__ = ['\"]([\w.]+)", text, re.MULTILINE)
    return match[1] if match else _told_version()


def _told_version() -> str | None:
    """What the installer noted, which takes longer to find out."""
    from importlib import metadata

    try:
        return metadata.version("torch").partition("+")[0]
    except metadata.PackageNotFoundError:
        return None


# --- the user's cache ---------------------------------------------------------------------------------------------


def cache_folder() -> Path | None:
    """The folder of the user's cache: CONFNET_CACHE_DIR, or the place that the system has for such. None if neither."""
    own = os.environ.get("CONFNET_CACHE_DIR")
    if own:
        return Path(own)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA", "")
    elif sys.platform == "darwin":
        base = os.path.expanduser("~/Library/Caches")
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        if not os.path.isabs(base):  # the standard says to ignore such
            base = os.path.expanduser("~/.cache")
    return Path(base) / "confnet" if os.path.isabs(base) else None  # `~` stays where there is no home


def _folder(version: str) -> Path | None:
    """Where the data of a version are; the digest of the package's own tells releases of confnet apart."""
    base = cache_folder()
    if base is None:
        return None
    digest = 0
    for name in TABLES:
        digest = zlib.crc32((_HERE / f"{name}.json").read_bytes(), digest)
    return base / f"torch-{version}-{digest:08x}"


def _cached(folder: Path, name: str, version: str) -> Mapping[str, Any] | None:
    """What the cache has, or None where it has nothing, or something that is not what belongs there."""
    try:
        data = json.loads((folder / f"{name}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return data if _is_sound(data, name, version) else None


def _is_sound(data: object, name: str, version: str) -> bool:
    return (
        isinstance(data, dict)
        and data.get("torch") == version
        and all(isinstance(data.get(table), dict) for table in TABLES[name])
    )


@lru_cache(maxsize=1)
def _made(version: str, folder: Path | None) -> Mapping[str, Mapping[str, Any]]:
    """The data files of the installed torch, made by another process and kept if the cache can be written.

    Empty, with a warning, where they cannot be made: the package's own are near enough then.
    """
    import subprocess
    import tempfile

    variables = environment(**{_MAKING: "1"})
    try:
        with tempfile.TemporaryDirectory(prefix="confnet-") as place:
            file = os.path.join(place, "catalog.json")
            command = python("confnet.builder.introspect_torch", file)
            subprocess.run(command, capture_output=True, env=variables, timeout=_SECONDS, check=True)
            data = json.loads(Path(file).read_bytes())
        if not all(_is_sound(data.get(name), name, version) for name in TABLES):
            raise ValueError("it tells of another version")
    except (OSError, ValueError, AttributeError, subprocess.SubprocessError) as error:
        own = _shipped("layers")["torch"]
        message = f"the catalog of torch {version} cannot be made ({error}): files are checked against torch {own}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return {}
    if folder is not None:
        _keep(folder, data)
    made: dict[str, dict[str, Any]] = data
    return made


def _keep(folder: Path, data: Mapping[str, Any]) -> None:
    """Write what was made into the cache, each file whole; without a cache it is made again next time."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in TABLES:
            write_whole(folder / f"{name}.json", json.dumps(data[name], ensure_ascii=False), mode=0o644)
    except OSError:
        pass

"""The catalog where another torch is installed: made once, kept in the user's cache, right whatever is there."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from confnet.catalog import data
from confnet.catalog.documentation import function_documentation
from confnet.catalog.functions import torch_function
from confnet.catalog.layers import torch_version

ROOT = Path(__file__).parents[1]
OTHER = "2.99.1"

# A package called torch that says it is another version, and is the real one when it is imported.
FAKE = """\
import sys
here = {folder!r}
sys.path[:] = [path for path in sys.path if path != here]
del sys.modules["torch"]
import torch
torch.__version__ = "{version}+cpu"
open({folder!r} + "/imports", "a").write("x")
"""


@pytest.fixture
def other_torch(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH in which torch is of another version."""
    folder = tmp_path / "site"
    (folder / "torch").mkdir(parents=True)
    (folder / "torch/__init__.py").write_text(FAKE.format(folder=str(folder), version=OTHER))
    (folder / "torch/version.py").write_text(f"from typing import Optional\n\n__version__ = '{OTHER}+cpu'\n")
    return folder


def environment(other_torch: Path, cache: Path) -> dict[str, str]:
    path = os.pathsep.join([str(other_torch), str(ROOT)])
    return {**os.environ, "PYTHONPATH": path, "CONFNET_CACHE_DIR": str(cache)}


def start(other_torch: Path, cache: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "confnet", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(other_torch, cache),
    )


def answer(process: subprocess.Popen[str]) -> str:
    out, err = process.communicate()
    assert (process.returncode, err) == (0, ""), err
    return out


def imports(other_torch: Path) -> int:
    """How many processes have imported torch."""
    path = other_torch / "imports"
    return len(path.read_text()) if path.exists() else 0


def test_the_catalog_is_made_once_for_another_torch_and_kept(other_torch: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    shown = answer(start(other_torch, cache, "layers", "Conv2d"))
    assert "  in_channels: int | auto, at least 0, required\n" in shown
    assert imports(other_torch) == 1
    (folder,) = cache.iterdir()
    assert folder.name.startswith(f"torch-{OTHER}-")
    assert sorted(path.name for path in folder.iterdir()) == ["documentation.json", "functions.json", "layers.json"]
    for path in folder.iterdir():
        made = json.loads(path.read_text())
        assert made.pop("torch") == OTHER
        shipped = json.loads((ROOT / "confnet/catalog" / path.name).read_text())
        del shipped["torch"]
        assert made == shipped  # the real torch is the same
    # Whatever is asked next comes from the cache: a change there is seen.
    layers = json.loads((folder / "layers.json").read_text())
    layers["layers"]["Novel"] = {**layers["layers"]["ReLU"]}
    (folder / "layers.json").write_text(json.dumps(layers))
    assert "Novel" in answer(start(other_torch, cache, "layers"))
    assert "F.relu" in answer(start(other_torch, cache, "functions", "F.relu"))
    assert imports(other_torch) == 1


CONCURRENT = """\
import json, subprocess, sys
from pathlib import Path
from confnet.catalog import data

def run(command, **options):  # as another process would make them, without the seconds that torch takes
    files = {name: {**data._shipped(name), "torch": sys.argv[1]} for name in data.TABLES}
    Path(command[-1]).write_text(json.dumps(files))

subprocess.run = run
for _ in range(8):
    for name in data.TABLES:
        assert data.read(name)["torch"] == sys.argv[1]
    data.clear()
    if sys.argv[2] == "vandal":
        for path in Path(sys.argv[3]).glob("*/*.json"):
            path.unlink(missing_ok=True)
"""


def test_concurrent_runs_do_not_disturb_each_other(other_torch: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", CONCURRENT, OTHER, part, str(cache)],
            env=environment(other_torch, cache),
            stderr=subprocess.PIPE,
            text=True,
        )
        for part in ("reader", "reader", "reader", "vandal")
    ]
    assert [process.communicate()[1] for process in running] == [""] * 4
    assert {process.returncode for process in running} == {0}
    (folder,) = cache.iterdir()
    assert not [path for path in folder.iterdir() if path.suffix != ".json"]  # no temporary file is left
    assert all(json.loads(path.read_text())["torch"] == OTHER for path in folder.iterdir())


# --- in this process: another process makes the data, and here it is stood in for ---------------------------------


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Another torch for this process; each time that data are made is noted."""
    calls: list[str] = []

    def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[bytes]:
        calls.append(command[-2])
        files = {name: json.loads((ROOT / f"confnet/catalog/{name}.json").read_text()) for name in data.TABLES}
        text = json.dumps({name: {**table, "torch": OTHER} for name, table in files.items()})
        Path(command[-1]).write_text(text)
        return subprocess.CompletedProcess(command, 0)

    data.clear()
    monkeypatch.setattr(data, "installed_torch", _version(OTHER))
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setenv("CONFNET_CACHE_DIR", str(tmp_path / "cache"))
    yield calls
    monkeypatch.undo()
    data.clear()


def _version(version: str | None) -> Any:
    def installed_torch() -> str | None:
        return version

    installed_torch.cache_clear = lambda: None  # type: ignore[attr-defined]
    return installed_torch


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache").glob("*/*.json"))


def test_it_is_made_once(made: list[str], tmp_path: Path) -> None:
    assert torch_version() == OTHER
    assert data.read("functions")["torch"] == OTHER
    assert made == ["confnet.builder.introspect_torch"]
    data.clear()
    assert data.read("documentation")["torch"] == OTHER
    assert len(made) == 1
    assert len(files(tmp_path)) == 3
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o644 for path in files(tmp_path))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[1]",
        "null",
        "\x00\xff",
        '{"torch": "2.0.0", "layers": {}, "initializers": {}, "parametrizations": {}}',
        '{"torch": "2.99.1", "layers": [], "initializers": {}, "parametrizations": {}}',
        '{"torch": "2.99.1"}',
        "[" * 100_000,
    ],
)
def test_a_broken_or_foreign_file_is_made_again(made: list[str], tmp_path: Path, text: str) -> None:
    data.read("layers")
    path = next(path for path in files(tmp_path) if path.name == "layers.json")
    path.write_text(text)
    data.clear()
    assert "Conv2d" in data.read("layers")["layers"]
    assert len(made) == 2
    assert json.loads(path.read_text())["torch"] == OTHER


def test_a_folder_in_the_place_of_a_file_does_no_harm(made: list[str], tmp_path: Path) -> None:
    data.read("layers")
    path = next(path for path in files(tmp_path) if path.name == "layers.json")
    path.unlink()
    path.mkdir()
    data.clear()
    assert "Conv2d" in data.read("layers")["layers"]
    assert not [child for child in path.parent.iterdir() if child.name.startswith(".")]  # nothing is left lying


def test_without_a_cache_it_still_works(made: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("this is no folder")  # root may write everywhere, but not below a file
    assert data.read("layers")["torch"] == OTHER
    assert data.read("functions")["torch"] == OTHER
    assert len(made) == 1
    data.clear()
    assert data.read("layers")["torch"] == OTHER
    assert len(made) == 2


@pytest.mark.parametrize(
    ("out", "why"), [(b"", "Expecting value"), (b"[]", "has no attribute"), (b"{}", "another version")]
)
def test_where_it_cannot_be_made_the_own_data_serve(
    made: list[str], monkeypatch: pytest.MonkeyPatch, out: bytes, why: str
) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, **options: Path(command[-1]).write_bytes(out))
    with pytest.warns(RuntimeWarning, match=rf"the catalog of torch {OTHER} cannot be made \(.*{why}.*torch 2\.13"):
        assert data.read("layers")["torch"] != OTHER
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # it is said once
        assert "torch.cat" in data.read("functions")["functions"]


def test_a_failing_process_is_told(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], **options: Any) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.warns(RuntimeWarning, match="exit status 1"):
        data.read("layers")


def test_the_process_that_makes_it_starts_no_other(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONFNET_MAKING_CATALOG", "1")
    assert data.read("layers")["torch"] != OTHER
    assert made == []


def test_without_torch_the_own_data_serve(monkeypatch: pytest.MonkeyPatch) -> None:
    data.clear()
    monkeypatch.setattr(data, "installed_torch", _version(None))
    assert torch_function("cat") is not None
    assert function_documentation("torch.cat") is not None
    monkeypatch.undo()
    data.clear()


# --- the version and the folder -----------------------------------------------------------------------------------


def test_the_version_is_found_without_importing_torch() -> None:
    data.clear()
    assert data.installed_torch() == torch.__version__.split("+")[0]
    code = "import sys; from confnet.catalog import data; print(data.installed_torch(), 'torch' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert shown == f"{torch.__version__.split('+')[0]} False\n"


@pytest.mark.parametrize("text", [None, "", "version = 1"])
def test_without_a_version_file_the_installer_tells(other_torch: Path, text: str | None) -> None:
    path = other_torch / "torch/version.py"
    path.unlink()
    if text is not None:
        path.write_text(text)
    info = other_torch / "torch-2.50.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.50.0+cu1\n")
    code = "from confnet.catalog import data; print(data.installed_torch())"
    variables = environment(other_torch, other_torch)
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert shown.stdout == "2.50.0\n"


@pytest.mark.parametrize(
    ("platform", "variables", "folder"),
    [
        ("linux", {"HOME": "/home/me"}, "/home/me/.cache/confnet"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "/tmp/x"}, "/tmp/x/confnet"),
        ("linux", {"HOME": "/home/me", "XDG_CACHE_HOME": "relative"}, "/home/me/.cache/confnet"),
        ("linux", {"HOME": "/home/me", "CONFNET_CACHE_DIR": "/tmp/own"}, "/tmp/own"),
        ("darwin", {"HOME": "/Users/me"}, "/Users/me/Library/Caches/confnet"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/confnet"),
        ("win32", {}, None),
    ],
)
def test_the_folder_is_the_one_of_the_system(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], folder: str | None
) -> None:
    for name in ("HOME", "XDG_CACHE_HOME", "CONFNET_CACHE_DIR", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert data.cache_folder() == (Path(folder) if folder is not None else None)

"""The command `confnet graph`: what it writes, and what it keeps."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from confnet.cli import commands
from confnet.graph.dot import dot
from confnet.graph.view import View


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "net.yaml").write_text(
        "confnet: 1\ninputs: {x: [B, 4]}\nSequential: {fc: {Linear: [4, 2]}, act: ReLU}\n"
    )
    (tmp_path / "bad.yaml").write_text("confnet: 1\nSequential: [Linaer]\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(commands, ["graph", *arguments], prog_name="confnet")


def test_the_command_writes_each_form(folder: Path) -> None:
    for name, begin in [("net.html", "<!doctype html>"), ("net.mmd", "flowchart TB"), ("net.dot", "digraph")]:
        result = run("net.yaml", "-o", name)
        assert (result.exit_code, result.output) == (0, f"saved to {name}\n")
        assert (folder / name).read_text(encoding="utf-8").startswith(begin)
    assert sorted(path.name for path in folder.iterdir()) == ["bad.yaml", "net.dot", "net.html", "net.mmd", "net.yaml"]


def test_the_command_prints(folder: Path) -> None:
    result = run("net.yaml", "-o", "-", "--format", "dot", "--depth", "1", "--open", "fc")
    assert result.exit_code == 0
    assert re.search(r"<b>fc</b>.*Linear · 4→2", result.output)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["-o", "net.gif"], "'net.gif' ends in none of .svg, .png, .html, .mmd, .dot"),
        (["-o", "net"], "'net' ends in none of .svg, .png, .html, .mmd, .dot"),
        (["-o", "-"], "'-o -' needs '--format', one of html, mmd, dot, svg"),
        (["-o", "net.dot", "--format", "mmd"], "contradicts the ending"),
        (["-o", "net.yaml"], "ends in none of"),
        (["-o", "none/net.dot"], "the folder of 'none/net.dot' does not exist"),
        (
            ["-o", "-", "--format", "dot", "--open", "actt"],
            "no module of the picture is called 'actt'; did you mean 'act'?",
        ),
        ([], "Missing option '-o'"),
    ],
)
def test_wrong_usage(folder: Path, arguments: list[str], text: str) -> None:
    result = run("net.yaml", *arguments)
    assert result.exit_code == 2
    assert text in " ".join(result.output.replace("│", " ").split())


def test_an_existing_file_is_kept(folder: Path) -> None:
    (folder / "net.dot").write_text("mine")
    assert "'--force' replaces it" in run("net.yaml", "-o", "net.dot").output
    assert (folder / "net.dot").read_text() == "mine"
    assert run("net.yaml", "-o", "net.dot", "--force").exit_code == 0


def test_a_file_that_came_while_it_was_drawn_is_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile(view: View) -> str:
        (folder / "net.dot").write_text("mine")
        return dot(view)

    monkeypatch.setattr(sys.modules["confnet.graph.picture"], "dot", meanwhile)
    assert "'--force' replaces it" in run("net.yaml", "-o", "net.dot").output
    assert (folder / "net.dot").read_text() == "mine"


def test_a_wrong_file_is_told(folder: Path) -> None:
    result = run("bad.yaml", "-o", "bad.dot")
    assert result.exit_code == 1
    assert "error[unknown-layer]" in result.output
    assert not (folder / "bad.dot").exists()


def test_without_graphviz(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    result = run("net.yaml", "-o", "net.svg")
    assert result.exit_code == 1
    assert result.output == "confnet: graphviz is not installed: install its program `dot`, or use `-o model.html`\n"
    assert not (folder / "net.svg").exists()

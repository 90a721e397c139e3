"""The house rules that no linter knows: which module may import what, who may print, how long a file may be.

Each rule is a function from a tree of source files to its breaches, so that small fake trees can show that it bites.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

TORCH_HOMES = ("confnet.builder", "confnet.shapes")
YAML_HOMES = ("confnet.source",)
# `print_shape` prints: that is what the hook is for.
PRINTING_HOMES = ("confnet.cli", "confnet.builder.builtin_hooks")
# Start-up is fast because these import what they need when they need it, torch's part of the house included.
LAZY_IMPORTERS = (
    "confnet",
    "confnet.api",
    "confnet.checked",
    "confnet.cli",
    "confnet.cli.build",
    "confnet.cli.show",
    "confnet.diff.compare",
    "confnet.lsp.worker",
    "confnet.resolved.documents",
    "confnet.__main__",
)
STANDARD_LIBRARY_ONLY = ("confnet.diagnostics", "confnet.limits", "confnet.records", "confnet.render")

SOFT_LIMIT, HARD_LIMIT = 400, 600
# Files over the soft limit that were looked at hard and are better whole. An entry that is not needed fails.
LONG_FILES = frozenset(
    {
        "confnet/builder/introspect.py",
        "confnet/catalog/arguments.py",
        "confnet/language/calls.py",
        "confnet/language/checker.py",
        "confnet/language/operands.py",
        "confnet/provenance.py",
        "confnet/spec/models.py",
    }
)


@dataclass(frozen=True)
class Import:
    """One imported module: by whom, where, and whether only when a function runs (or for a type checker)."""

    module: str
    target: str
    line: int
    lazy: bool


Tree = Mapping[str, str]
"""Source texts by path from the repository's root."""


def package(root: Path = ROOT) -> dict[str, str]:
    """The sources of the package."""
    paths = sorted((root / "confnet").rglob("*.py"))
    return {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8") for path in paths}


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def within(module: str, homes: tuple[str, ...]) -> bool:
    return any(module == home or module.startswith(f"{home}.") for home in homes)


def imports(tree: Tree) -> Iterator[Import]:
    """Every import of a tree; what is imported from a package counts as its module if it is one."""
    modules = frozenset(module_name(path) for path in tree)
    for path, text in tree.items():
        yield from _imports_of(path, text, modules)


@cache
def _imports_of(path: str, text: str, modules: frozenset[str]) -> tuple[Import, ...]:
    module = module_name(path)
    return tuple(
        Import(module, target, node.lineno, lazy)
        for node, lazy in _nodes(_parsed(text), False)
        for target in _targets(node, module, path.endswith("__init__.py"), modules)
    )


@cache
def _parsed(text: str) -> ast.Module:
    return ast.parse(text)


def _nodes(node: ast.AST, lazy: bool) -> Iterator[tuple[ast.stmt | ast.expr, bool]]:
    for child in ast.iter_child_nodes(node):
        inside = lazy or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        inside = inside or (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test))
        if isinstance(child, ast.stmt | ast.expr):
            yield child, lazy
        yield from _nodes(child, inside)


def _targets(node: ast.stmt | ast.expr, module: str, is_package: bool, modules: frozenset[str]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            parents = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
            base = ".".join([*parents, *filter(None, [node.module])])
        names = [f"{base}.{alias.name}" for alias in node.names]
        return list(dict.fromkeys(name if name in modules else base for name in names))
    if isinstance(node, ast.Call) and _last_word(node.func) in ("import_module", "__import__"):
        return [arg.value for arg in node.args[:1] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    return []


def _last_word(node: ast.expr) -> str:
    """The name itself, or that of an attribute."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


# --- the rules ------------------------------------------------------------------------------------------------------


def torch_outside_build(tree: Tree) -> list[str]:
    """Torch in `build/` and `shapes` only; a type checker may see it anywhere."""
    typing_only = {
        (module_name(path), statement.lineno)
        for path, text in tree.items()
        for node in ast.walk(_parsed(text))
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for body in node.body
        for statement in ast.walk(body)
        if isinstance(statement, ast.Import | ast.ImportFrom)
    }
    return [
        f"{each.module}:{each.line} imports {each.target}"
        for each in imports(tree)
        if within(each.target, ("torch",)) and not within(each.module, TORCH_HOMES)
        if (each.module, each.line) not in typing_only
    ]


def build_reached_too_early(tree: Tree) -> list[str]:
    """What imports torch is imported inside the functions of the outermost modules, by nobody else."""
    return [
        f"{each.module}:{each.line} imports {each.target}"
        for each in imports(tree)
        if within(each.target, TORCH_HOMES) and not within(each.module, TORCH_HOMES)
        if not (each.lazy and each.module in LAZY_IMPORTERS)
    ]


def yaml_outside_source(tree: Tree) -> list[str]:
    """YAML in `source` only."""
    return [
        f"{each.module}:{each.line} imports {each.target}"
        for each in imports(tree)
        if within(each.target, ("yaml",)) and not within(each.module, YAML_HOMES)
    ]


def printing_outside_cli(tree: Tree) -> list[str]:
    """Nothing but the command line speaks: no print, no standard streams, no click, no rich."""
    found = [
        f"{each.module}:{each.line} imports {each.target}"
        for each in imports(tree)
        if within(each.target, ("click", "rich")) and not within(each.module, PRINTING_HOMES)
    ]
    for path, text in tree.items():
        if not within(module_name(path), PRINTING_HOMES):
            for node in ast.walk(_parsed(text)):
                spoken = isinstance(node, ast.expr) and _last_word(node).strip("_") in ("print", "stdout", "stderr")
                words = ast.unparse(node) if spoken else ""
                if words in ("print", "sys.stdout", "sys.stderr", "sys.__stdout__", "sys.__stderr__"):
                    found.append(f"{module_name(path)}:{node.lineno} uses {words}")  # type: ignore[attr-defined]
    return found


def foreign_imports_of_the_base(tree: Tree) -> list[str]:
    """The base of the house stands on the standard library and on itself."""
    return [
        f"{each.module}:{each.line} imports {each.target}"
        for each in imports(tree)
        if each.module in STANDARD_LIBRARY_ONLY
        if each.target not in STANDARD_LIBRARY_ONLY and each.target.partition(".")[0] not in sys.stdlib_module_names
    ]


def cycles(tree: Tree) -> list[str]:
    """Arrows point one way. Imports inside functions and for type checkers are arrows too."""
    modules = {module_name(path) for path in tree}
    graph: dict[str, set[str]] = {module: set() for module in modules}
    for each in imports(tree):
        if each.target in modules:
            graph[each.module].add(each.target)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [" <- ".join(error.args[1])]
    return []


def utils(tree: Tree) -> list[str]:
    """A file is named for what it owns."""
    return [path for path in tree if Path(path).stem in ("utils", "util", "helpers", "common", "misc")]


def too_long(tree: Tree, long_files: frozenset[str] = LONG_FILES) -> list[str]:
    """Files over the limit, and exceptions that are none."""
    found = []
    for path, text in tree.items():
        lines = len(text.splitlines())
        if lines > HARD_LIMIT or (lines > SOFT_LIMIT and path not in long_files):
            found.append(f"{path} has {lines} lines")
    needless = [path for path in long_files if len(tree.get(path, "").splitlines()) <= SOFT_LIMIT]
    return found + [f"{path} needs no exception" for path in sorted(needless)]


RULES: list[Callable[[Tree], list[str]]] = [
    torch_outside_build,
    build_reached_too_early,
    yaml_outside_source,
    printing_outside_cli,
    foreign_imports_of_the_base,
    cycles,
    utils,
    too_long,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_package_keeps_the_rule(rule: Callable[[Tree], list[str]]) -> None:
    tree = package()
    assert "confnet/source/reading.py" in tree
    assert rule(tree) == []


# --- each rule bites ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "tree", "breaches"),
    [
        (torch_outside_build, {"confnet/plan.py": "import torch"}, ["confnet.plan:1 imports torch"]),
        (torch_outside_build, {"confnet/plan.py": "def f():\n  from torch import nn"},
         ["confnet.plan:2 imports torch"]),
        (torch_outside_build, {"confnet/plan.py": "import torch.nn as nn"}, ["confnet.plan:1 imports torch.nn"]),
        (torch_outside_build, {"confnet/a.py": "x = __import__('torch')"}, ["confnet.a:1 imports torch"]),
        (torch_outside_build, {"confnet/buildings.py": "import torch"}, ["confnet.buildings:1 imports torch"]),
        (torch_outside_build, {"confnet/a.py": "if not TYPE_CHECKING:\n  import torch"}, ["confnet.a:2 imports torch"]),
        (torch_outside_build, {"confnet/a.py": "if TYPE_CHECKING:\n  import torch\nelse:\n  import torch"},
         ["confnet.a:4 imports torch"]),
        (torch_outside_build, {"confnet/a.py": "if TYPE_CHECKING:\n  import torch"}, []),
        (torch_outside_build, {"confnet/builder/__init__.py": "import torch", "confnet/shapes.py": "import torch"}, []),
        (build_reached_too_early, {"confnet/api.py": "import confnet.builder.code"},
         ["confnet.api:1 imports confnet.builder.code"]),
        (build_reached_too_early, {"confnet/api.py": "def f():\n  import confnet.builder"}, []),
        (build_reached_too_early, {"confnet/plan.py": "def f():\n  import confnet.builder"},
         ["confnet.plan:2 imports confnet.builder"]),
        (build_reached_too_early, {"confnet/builder/__init__.py": "", "confnet/cli.py": "from confnet import builder"},
         ["confnet.cli:1 imports confnet.builder"]),
        (build_reached_too_early, {"confnet/builder/a.py": "from confnet.builder import b"}, []),
        (yaml_outside_source, {"confnet/cli.py": "def f():\n  import yaml"}, ["confnet.cli:2 imports yaml"]),
        (yaml_outside_source, {"confnet/source.py": "import yaml"}, []),
        (printing_outside_cli, {"confnet/plan.py": "print(1)"}, ["confnet.plan:1 uses print"]),
        (printing_outside_cli, {"confnet/plan.py": "import sys\nsys.stderr.write('')"},
         ["confnet.plan:2 uses sys.stderr"]),
        (printing_outside_cli, {"confnet/plan.py": "from click import echo"}, ["confnet.plan:1 imports click"]),
        (printing_outside_cli, {"confnet/plan.py": "def f():\n  from rich import console"},
         ["confnet.plan:2 imports rich"]),
        (printing_outside_cli, {"confnet/cli.py": "import click\nprint(1)"}, []),
        (foreign_imports_of_the_base, {"confnet/render.py": "import pydantic"}, ["confnet.render:1 imports pydantic"]),
        (foreign_imports_of_the_base, {"confnet/render.py": "from confnet.plan import Plan"},
         ["confnet.render:1 imports confnet.plan"]),
        (foreign_imports_of_the_base, {"confnet/render.py": "import json\nfrom confnet.diagnostics import Span"}, []),
        (cycles, {"confnet/a.py": "import confnet.b", "confnet/b.py": "def f():\n  from confnet import a"},
         ["confnet.a <- confnet.b <- confnet.a"]),
        (cycles, {"confnet/p/__init__.py": "from . import a", "confnet/p/a.py": "from .. import p"},
         ["confnet.p <- confnet.p.a <- confnet.p"]),
        (cycles, {"confnet/a.py": "import confnet.b", "confnet/b.py": "import confnet.c", "confnet/c.py": ""}, []),
        (utils, {"confnet/builder/utils.py": ""}, ["confnet/builder/utils.py"]),
        (lambda tree: too_long(tree, frozenset()), {"confnet/a.py": "\n" * 401}, ["confnet/a.py has 401 lines"]),
        (lambda tree: too_long(tree, frozenset()), {"confnet/a.py": "\n" * 400}, []),
        (lambda tree: too_long(tree, frozenset({"confnet/a.py"})), {"confnet/a.py": "\n" * 600}, []),
        (lambda tree: too_long(tree, frozenset({"confnet/a.py"})), {"confnet/a.py": "\n" * 601},
         ["confnet/a.py has 601 lines"]),
        (lambda tree: too_long(tree, frozenset({"confnet/a.py"})), {"confnet/a.py": "\n" * 10},
         ["confnet/a.py needs no exception"]),
    ],
)  # fmt: skip
def test_the_rule_bites(rule: Callable[[Tree], list[str]], tree: Tree, breaches: list[str], tmp_path: Path) -> None:
    for path, text in tree.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = rule(package(tmp_path))
    if rule is cycles and found:  # a cycle may be told from any of its members
        assert [sorted(set(found[0].split(" <- ")))] == [sorted(set(breaches[0].split(" <- ")))]
    else:
        assert found == breaches


# --- the files around the package -----------------------------------------------------------------------------------


def test_ci_runs_the_commands_of_the_readme() -> None:
    commands = re.findall(r"^\s*(pip install .*)$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    installing = [command for command in commands if "-c constraints.txt" in command]
    assert len(installing) == 2
    assert [
        line for line in (ROOT / ".ci/run").read_text(encoding="utf-8").splitlines() if line in installing
    ] == installing


def test_ci_stops_at_the_first_failure(tmp_path: Path) -> None:
    """Bash's `set -e` overlooks a command that fails to the left of `&&`."""
    (tmp_path / ".ci").mkdir()
    (tmp_path / "bin").mkdir()
    script = tmp_path / ".ci/run"
    script.write_text((ROOT / ".ci/run").read_text(encoding="utf-8"), encoding="utf-8")
    for name in ("python3", "pip", "confnet", "ruff"):
        program = tmp_path / "bin" / name
        # A stand-in for the virtual environment, with a `pip` that fails.
        program.write_text(
            '#!/bin/sh\n[ "$2" = venv ] && mkdir -p "$3/bin" && : >"$3/bin/activate"\n'
            f'echo "ran {name}"\n{"exit 9" if name == "pip" else "exit 0"}\n'
        )
        program.chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    result = subprocess.run(["bash", str(script)], capture_output=True, text=True, env=environment, check=False)
    assert result.returncode == 9
    assert [line for line in result.stdout.splitlines() if line.startswith("ran ")] == ["ran python3", "ran pip"]
    assert not list(tmp_path.glob("tmp.*"))  # and leaves nothing behind

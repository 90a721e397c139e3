"""The benchmarks still run, and compare what they say they compare."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from benchmarks import __main__ as everything
from benchmarks import build as building
from benchmarks import checking, compile, forward, gpt2, gpt2_rivals, growth, large, measuring, mistakes
from benchmarks import validate as validation
from benchmarks import weights as loading
from benchmarks.measuring import Row, Setting, Table
from benchmarks.rivals import TOOLS, Tool
from confnet.api import build, loads, validate
from confnet.cli import commands
from tests.references.resnet import resnet


@pytest.fixture(autouse=True)
def _keep_threads() -> object:
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    yield
    torch.set_num_threads(threads)
    torch.set_rng_state(state)


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    forward.main(["--case", "mlp", "--repetitions", "2"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("mlp ")]
    assert [row[11:25].strip() for row in rows] == [forward.BUILT, forward.TWIN, forward.CONTROL]
    assert [len(re.findall(r"\[[\d.]+, [\d.]+\]", row)) for row in rows] == [2, 1, 2]


def test_contenders_that_differ_are_refused() -> None:
    class Other(forward.DeepMLP):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return super().forward(x) + 1

    case = replace(forward.CASES["mlp"], twin=Other)
    with pytest.raises(AssertionError, match="computes something else"), torch.inference_mode():
        forward.contenders(case)


def test_resnet50_is_compared_with_a_twin_of_the_same_keys() -> None:
    with torch.device("meta"):
        twin: nn.Module = resnet("resnet50")
    built = build("examples/resnet.yaml", variant="resnet50", device="meta")
    assert list(built.state_dict()) == list(twin.state_dict())


OURS = TOOLS[0]
TWELVE = {
    "layer typo": (15, 11, True),
    "argument typo": (12, 25, True),
    "missing argument": (17, 11, True),
    "wrong type": (11, 33, True),
    "string for int": (14, 36, True),
    "negative channels": (15, 50, True),
    "channel mismatch": (15, 3, True),
    "unknown top key": (2, 1, True),
    "syntax": (15, 3, True),
    "duplicate key": (14, 39, None),
    "undefined variable": (19, 49, True),
    "cyclic reference": (5, 14, None),
}
"""Where confnet finds each, and whether it says how to mend it (None: only the author can know)."""


def test_the_right_file_passes() -> None:
    report = validate(loads(mistakes.right_text(OURS), name=OURS.file))
    assert report.ok, report
    assert not report.diagnostics
    assert [shapes.checked for shapes in report.shapes] == [True]
    build(loads(mistakes.right_text(OURS)))(torch.zeros(2, 3, 32, 32))


def test_the_twelve_are_all_there() -> None:
    assert [mistake.name for mistake in mistakes.mistakes()] == list(TWELVE)


@pytest.mark.parametrize("mistake", mistakes.mistakes(), ids=lambda mistake: mistake.name)
def test_each_mistake_is_one_error_at_its_place(mistake: mistakes.Mistake, tmp_path: Path) -> None:
    path = tmp_path / OURS.file
    path.write_text(mistake.text(OURS), encoding="utf-8")
    report = validate(path)
    line, column, repair = TWELVE[mistake.name]
    assert [(d.span.line, d.span.column) if d.span else None for d in report.diagnostics] == [(line, column)]
    assert not report.ok
    outcome = mistakes.judge(mistakes.Outcome("check", str(report)), OURS, mistake)
    assert (outcome.file, outcome.line, outcome.column, outcome.repair) == (True, True, True, repair)


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_every_mistake_is_an_edit_of_every_file(tool: Tool) -> None:
    texts = [mistake.text(tool) for mistake in mistakes.mistakes()]
    assert len({*texts, mistakes.right_text(tool)}) == 13
    assert all(mistake.places(tool) for mistake in mistakes.mistakes())


def test_only_the_right_place_counts() -> None:
    typo = mistakes.mistakes()[0]
    told = {
        "confnet.yaml:15:11: no `Conv2d`": (True, True, True),
        'in "<file>", line 15, column 11': (False, True, True),
        "confnet.yaml:14:11": (True, False, False),
        "confnet.yaml:15:3": (True, True, False),
        '  File "elsewhere.py", line 15\n    x\n    ^': (False, False, False),
        '  File "/x/confnet.yaml", line 15\n    conv2: {Conv2dd:\n            ^': (True, True, True),
    }
    for output, expected in told.items():
        outcome = mistakes.judge(mistakes.Outcome("check", output), OURS, typo)
        assert (outcome.file, outcome.line, outcome.column) == expected, output


def test_a_repair_in_quoted_source_does_not_count() -> None:
    typo = mistakes.mistakes()[0]
    traceback = 'Traceback (most recent call last):\n  File "x.py", line 1, in f\n    Conv2d()\nKeyError: 0'
    for output in (traceback, "15 | conv1: {Conv2d: 3}"):
        assert mistakes.judge(mistakes.Outcome("build", output), OURS, typo).repair is False
    assert mistakes.judge(mistakes.Outcome("build", f"{traceback}: not `Conv2d`"), OURS, typo).repair is True


def test_the_table_of_mistakes() -> None:
    results = {
        mistake.name: {OURS.name: mistakes.Outcome("check", "one\ntwo", True, True, True, bool(mistake.repair))}
        for mistake in mistakes.mistakes()
    }
    results["syntax"] = {OURS.name: mistakes.Outcome(None, "")}
    table = mistakes.rows(results, [OURS])
    assert table[0] == ["layer typo", "before the build; file, line, column, repair; 2 lines"]
    assert table[8] == ["syntax", "never"]
    assert table[-1][1] == "11 of 12; 11 with line and column; repair in 9 of 10"
    assert mistakes.markdown(["a", "b"], [["c", "d"]]) == "| a | b |\n| --- | --- |\n| c | d |"


def test_the_ways_to_a_model_with_weights(capsys: pytest.CaptureFixture[str]) -> None:
    loading.main(["--size", "tiny", "--repetitions", "2", "--threads", "1"])
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("tiny ")]
    assert [row[7:21].strip() for row in rows] == [loading.BUILT, loading.HAND, loading.LEAN]
    assert [len(re.findall(r"\[[\d.]+, [\d.]+\]", row)) for row in rows] == [1, 2, 2]


@pytest.mark.soak
def test_validate_is_measured_against_the_import(capsys: pytest.CaptureFixture[str]) -> None:
    validation.main(["--repetitions", "1", "examples/mlp.yaml"])
    out = capsys.readouterr().out
    costs = {name: float(re.findall(rf"^{name} +([\d.]+)", out, re.M)[0]) for name in ("import torch", "ratio")}
    assert costs["import torch"] > 0.1
    assert costs["ratio"] > 1
    assert re.search(r"^examples/mlp\.yaml +1 +[\d.]+ s$", out, re.M)


def test_validate_of_a_wrong_file_is_no_measurement(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("confnet: 1\nSequential: [Relu]\n", encoding="utf-8")
    with pytest.raises(AssertionError, match="unknown-layer"):
        validation.cost_of(validation.commands([str(wrong)])[validation.VALIDATE])


# --- the tables of docs/performance.md ------------------------------------------------------------------------------

TINY = Setting(repetitions=2, threads=1, tiny=True)
SPREAD = re.compile(r"[\d.]+ \[[\d.]+, [\d.]+\]")


def ways_of(table: Table, model: str) -> list[str]:
    return [row.cells[1] for row in table.rows if row.cells[0] == model]


@pytest.fixture
def _no_rivals(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "MAKERS", ())


@pytest.mark.soak
@pytest.mark.usefixtures("_no_rivals")
def test_the_tables_of_builds() -> None:
    meta, cpu, loaded = building.tables(TINY)
    ours = [building.FILE, building.SPEC, measuring.BASE, building.AGAIN]
    for table in (meta, cpu, loaded):
        assert ways_of(table, "GPT-2 small (tiny)") == [*ours, building.LEAN]
        assert ways_of(table, "ResNet-50 (tiny)") == ours
        assert all(SPREAD.fullmatch(row.cells[2]) for row in table.rows)
        assert all(row.cells[3] == "1" for row in table.rows if row.cells[1] == measuring.BASE)
        assert all(SPREAD.fullmatch(row.cells[3]) for row in table.rows if row.cells[1] != measuring.BASE)
        assert {row.met for row in table.rows} == {None}, "a tiny model has no targets"
    assert {row.cells[0] for row in meta.rows} > {"10 Linear in a row", "10 Linear in a row, written out"}


def test_targets_stand_where_models_have_their_size() -> None:
    full = replace(TINY, tiny=False)
    assert (full.target(1.5), TINY.target(1.5)) == (1.5, None)
    table = Table("T", ("a", "b"), [Row(("m", "w"), 2.0, 1.5), Row(("m", "v"), 1.5, 1.5), Row(("m", "u"))])
    assert [row.met for row in table.rows] == [False, True, None]
    assert measuring.missed([table]) == ["T: m, w: 2 instead of 1.5"]
    assert table.text().splitlines()[2:] == [
        "| a | b | target |  |",
        "|---|---|---|---|",
        "| m | w | 1.5 | **not met** |",
        "| m | v | 1.5 | met |",
        "| m | u |  |  |",
    ]


def test_every_contender_runs_once_a_repetition_and_once_before() -> None:
    runs: list[str] = []
    names = ("a", "b", "c")

    def way(name: str) -> Callable[[], object]:
        return lambda: runs.append(name)

    times = measuring.shuffled({name: way(name) for name in names}, replace(TINY, repetitions=9))
    assert [len(values) for values in times.values()] == [9, 9, 9]
    rounds = [tuple(runs[start : start + 3]) for start in range(0, len(runs), 3)]
    assert {tuple(sorted(each)) for each in rounds} == {names}
    assert len(rounds) == 10
    assert len(set(rounds)) > 1, "the order is drawn anew"


@pytest.mark.parametrize(
    ("other", "what"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.ReLU()), "modules"),
        (nn.Sequential(nn.Linear(2, 3)), "keys and shapes"),
        (nn.Sequential(nn.Linear(2, 2, dtype=torch.float64)), "keys and shapes"),
        (nn.Sequential(nn.Linear(2, 2, device="meta")), "devices"),
    ],
)
def test_models_that_differ_are_told_apart(other: nn.Module, what: str) -> None:
    with pytest.raises(AssertionError, match=f"`x` has other {what}"):
        measuring.assert_equal("x", other, nn.Sequential(nn.Linear(2, 2)))
    measuring.assert_equal("x", nn.Sequential(nn.Linear(2, 2)), nn.Sequential(nn.Linear(2, 2)))


def test_a_lost_tie_is_told() -> None:
    tied, untied = gpt2.gpt2(gpt2.SIZES["tiny"]), gpt2.gpt2(gpt2.SIZES["tiny"])
    assert isinstance(untied, gpt2.GPT2)
    untied.lm_head.weight = nn.Parameter(untied.lm_head.weight.detach().clone())
    with pytest.raises(AssertionError, match="ties"):
        measuring.assert_equal("x", untied, tied)


def test_other_weights_are_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    case = building.gpt2_case(tmp_path, TINY)
    monkeypatch.setattr(building, "build", lambda file, **_options: case.hand())
    with pytest.raises(AssertionError, match="loads other values"):
        building.load_ways(case, (), {}, tmp_path / "weights.safetensors")


def test_gpt2_by_hand_computes_what_the_file_does() -> None:
    size = gpt2.SIZES["tiny"]
    built, twin = build("examples/gpt2.yaml", args=size).eval(), gpt2.gpt2(size).eval()
    twin.load_state_dict(built.state_dict(), strict=True)
    tokens = torch.arange(12).view(2, 6)
    torch.testing.assert_close(built(tokens), twin(tokens))


def test_gpt2_of_parts_is_gpt2() -> None:
    size = gpt2.SIZES["tiny"]

    def made(value: object) -> object:
        if isinstance(value, list):
            return [made(item) for item in value]
        if isinstance(value, gpt2_rivals.Node):
            return value.cls(**{name: made(item) for name, item in value.arguments.items()})
        return value

    model = made(gpt2_rivals.tree(size, [gpt2_rivals.block(size)] * size["n_layer"]))
    assert isinstance(model, nn.Module)
    measuring.assert_equal("parts", model, gpt2.gpt2(size))


def test_a_tool_that_is_not_installed_is_left_out_with_a_line() -> None:
    absent = replace(gpt2_rivals.MAKERS[0], module="no_such_module")
    present = replace(gpt2_rivals.MAKERS[1], module="json")
    assert gpt2_rivals.installed([absent, present]) == ([present], ["hydra is not installed and is left out"])


def test_the_table_of_growth() -> None:
    (table,) = growth.tables(TINY)
    assert [row.cells[:2] for row in table.rows] == [
        (shape, way) for shape in ("row", "blocks") for way in (growth.BUILT, measuring.BASE)
    ]
    assert all(float(cell) > 0 for row in table.rows for cell in row.cells[2:-1])
    assert all(SPREAD.fullmatch(row.cells[-1]) for row in table.rows)


@pytest.mark.soak
def test_the_table_of_large_models() -> None:
    (table,) = large.tables(replace(TINY, repetitions=1))
    assert [row.cells[1] for row in table.rows] == ["validate with shapes, build on meta", "peak of memory"]
    assert re.fullmatch(r"[\d.]+ s \[[\d.]+, [\d.]+\]", table.rows[0].cells[2])
    assert table.rows[1].ratio is not None
    assert table.rows[1].ratio > 0.05, "torch alone takes more"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the peak does not begin with the parent's")
def test_the_memory_of_this_process_is_not_counted() -> None:
    ballast = torch.ones(2**29, dtype=torch.uint8)
    cost = large.cost_of(large.TINY[0], TINY)
    assert cost.peak < 0.5 < ballast.numel() / 1e9
    assert cost.base < cost.peak


def test_a_model_of_another_size_is_no_measurement() -> None:
    told = {"parameters": 22_496, "shapes": [True], "validate": 1.0, "build": 2.0, "base": 1e6, "peak": 2e6}
    unit = 1e9 if sys.platform == "darwin" else 1e6
    assert large._cost(large.TINY[0], told) == large.Cost(1.0, 2.0, 2e6 / unit, 1e6 / unit)
    for change, message in (
        ({"parameters": 1}, "has 1 parameters"),
        ({"shapes": []}, "no shapes were checked"),
        ({"shapes": [True, False]}, "not all shapes"),
    ):
        with pytest.raises(AssertionError, match=message):
            large._cost(large.TINY[0], {**told, **change})


def test_the_table_of_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of confnet are run in this process: `cost_of` has a test of its own."""

    def cost_of(command: Sequence[str]) -> tuple[float, str]:
        if "confnet" in command:
            commands(command[command.index("confnet") + 1 :], standalone_mode=False)
        return 2.0 if "confnet" in command else 1.0, ""

    monkeypatch.setattr(checking, "MAKERS", ())
    monkeypatch.setattr(validation, "cost_of", cost_of)
    (table,) = checking.tables(replace(TINY, repetitions=1))
    assert ways_of(table, "GPT-2 small (tiny)") == [checking.IMPORT, "confnet validate --variant gpt2"]
    assert ways_of(table, "examples (tiny)") == ["confnet validate, 1 files"]
    assert [row.ratio for row in table.rows] == [None, 2.0, 2.0]


def test_the_tables_of_compiling() -> None:
    compiling, running = compile.tables(replace(TINY, repetitions=1), (("aot_eager", "mlp"),))
    assert [row.cells[1] for row in compiling.rows] == [forward.BUILT, measuring.BASE, forward.CONTROL]
    assert {row.cells[4:] for row in compiling.rows} == {("1", "8", "0")}
    assert [row.cells[1] for row in running.rows] == [forward.BUILT, measuring.BASE, forward.CONTROL]


def test_other_graphs_are_no_measurement() -> None:
    case = compile.cases(TINY)["mlp"]

    class Broken(forward.DeepMLP):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = super().forward(x)
            torch._dynamo.graph_break()
            return y + 0

    modules = {forward.BUILT: case.built(), measuring.BASE: Broken(4)}
    with pytest.raises(AssertionError, match="instead of"), torch.inference_mode():
        compile.compile_times(case, modules, "eager", replace(TINY, repetitions=1))


def test_the_report_goes_between_the_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = Table("Some", ("a",), [Row(("b",), 2.0, 1.0)], ["left out"])
    monkeypatch.setattr(everything, "BENCHMARKS", {"some": (lambda setting: [table], 3)})
    page = tmp_path / "page.md"
    page.write_text(f"before\n{everything.START}\nold\n{everything.END}\nafter\n", encoding="utf-8")
    for _ in range(2):  # written again, it holds one report
        everything.main(["--threads", "1", "--write", str(page)])
    text = page.read_text(encoding="utf-8")
    assert text.startswith(f"before\n{everything.START}\n")
    assert text.endswith(f"\n{everything.END}\nafter\n")
    assert text.count("### Some (3 repetitions)") == 1
    assert "old" not in text
    assert "- Some (3 repetitions): b: 2 instead of 1" in text
    assert "- left out" in text
    with pytest.raises(ValueError, match="each once"):
        everything.written("no marks", "x")


def test_the_page_has_its_marks() -> None:
    page = Path("docs/performance.md").read_text(encoding="utf-8")
    assert everything.written(page, "x").count("x\n") >= 1

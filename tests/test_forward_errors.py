"""A forward that fails at run time shows the file of the model: its line, its text, and carets under the call."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch

import confnet

BLOCK = """\
    confnet: 1
    name: Net
    args: {width: 4}
    children:
      body: {Linear: [$width, 3]}
      head: {Linear: [5, 2]}            # wrong: takes 5, is given 3
    forward: |
      hidden = torch.relu(body(x))

      # a comment and an empty line above count as lines
      scores = torch.relu(head(hidden))
      return scores
    """

ONE_LINE = """\
    confnet: 1
    children:
      body: {Linear: [4, 3]}
      head: {Linear: [5, 2]}
    forward: return torch.relu(head(body(x)))
    """

QUOTED = """\
    confnet: 1
    children:
      body: {Linear: [4, 3]}
      head: {Linear: [5, 2]}
    forward: "return torch.relu(head(body(x)))"
    """

FLOW = """\
    confnet: 1
    modules:
      Net: {children: {body: {Linear: [4, 3]}, head: {Linear: [5, 2]}}, forward: return -head(body(x))}
    Sequential: [Net]
    """

INDENTED = """\
    confnet: 1
    modules:
      Inner:
        children:
          body: {Linear: [4, 3]}
          head: {Linear: [5, 2]}
        forward: |
                if training:
                    y = torch.relu(head(body(x)))
                else:
                    y = body(x)
                return y
    children:
      inner: Inner
    forward: return inner(x) + 1
    """

METHOD = """\
    confnet: 1
    children:
      body: {Linear: [4, 3]}
      head: {Linear: [5, 2]}
    methods:
      score: {inputs: [h], forward: return head(h).relu()}
    forward: |
      return self.score(body(x))
    """

NOT_ASCII = """\
    confnet: 1
    description: größe, wörter, 大きさ
    children:
      body: {Linear: [4, 3]}
      head: {Linear: [5, 2]}
    forward: |
      h = body(x)
      return {"größe": h.sum(), "wörter": head(h)}
    """

SEVERAL_LINES = """\
    confnet: 1
    children:
      body: {Linear: [4, 3]}
      head: {Linear: [5, 2]}
    forward: |
      h = body(x)
      return torch.cat(
          [head(h), head(h)], dim=1
      )
    """


@dataclass(frozen=True)
class Case:
    """A file, the line of it that must be shown, and the part of that line above the carets."""

    text: str
    line: str
    marked: str

    @property
    def number(self) -> int:
        (found,) = [n for n, line in enumerate(dedent(self.text).splitlines(), 1) if line.strip() == self.line]
        return found

    @property
    def column(self) -> int:
        """The column of the marked part, in characters, from 0."""
        return dedent(self.text).splitlines()[self.number - 1].index(self.marked)


CASES = {
    "block": Case(BLOCK, "scores = torch.relu(head(hidden))", "head(hidden)"),
    "one-line": Case(ONE_LINE, "forward: return torch.relu(head(body(x)))", "head(body(x))"),
    "quoted": Case(QUOTED, 'forward: "return torch.relu(head(body(x)))"', "head(body(x))"),
    "flow": Case(
        FLOW,
        "Net: {children: {body: {Linear: [4, 3]}, head: {Linear: [5, 2]}}, forward: return -head(body(x))}",
        "head(body(x))",
    ),
    "indented": Case(INDENTED, "y = torch.relu(head(body(x)))", "head(body(x))"),
    "method": Case(METHOD, "score: {inputs: [h], forward: return head(h).relu()}", "head(h)"),
    "not-ascii": Case(NOT_ASCII, 'return {"größe": h.sum(), "wörter": head(h)}', "head(h)"),
    "several-lines": Case(SEVERAL_LINES, "[head(h), head(h)], dim=1", "head(h)"),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))


def failure(source: Any) -> tuple[list[traceback.FrameSummary], str]:
    """The frames and the text of the traceback that a built module gives for its wrong width."""
    return failure_of(confnet.build(source))


def failure_of(model: torch.nn.Module) -> tuple[list[traceback.FrameSummary], str]:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied") as caught:
        model(torch.randn(2, 4))
    text = "".join(traceback.format_exception(caught.value))
    return list(traceback.extract_tb(caught.value.__traceback__)), text


def shown(text: str, file: str, number: int) -> tuple[str, str]:
    """The line of the file that a traceback prints under that frame, and the line of carets below it."""
    lines = text.splitlines()
    (start,) = [k for k, line in enumerate(lines) if line.startswith(f'  File "{file}", line {number}, in ')]
    return lines[start + 1], lines[start + 2]


def assert_points_at(case: Case, file: str, frames: list[traceback.FrameSummary], text: str) -> None:
    frame = next(frame for frame in reversed(frames) if frame.filename == file)  # the innermost of the file's
    assert frame.lineno == case.number
    assert frame.line == case.line
    line, carets = shown(text, file, case.number)
    assert line == f"    {case.line}"
    assert set(carets) == {" ", "^"}
    begin = line.index(case.marked)
    assert carets.index("^") == begin
    assert len(carets) == begin + len(case.marked)
    # What tools read: columns are bytes of the line as the file has it.
    whole = dedent(case.text).splitlines()[case.number - 1]
    assert frame.colno == len(whole[: case.column].encode())
    assert frame.end_colno == len(whole[: case.column + len(case.marked)].encode())


@every_case
def test_traceback_shows_the_file(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(dedent(case.text), encoding="utf-8")
    frames, text = failure(path)
    assert_points_at(case, str(path), frames, text)


@every_case
def test_traceback_shows_a_text(case: Case) -> None:
    spec = confnet.loads(dedent(case.text))
    frames, text = failure(spec)
    names = {frame.filename for frame in frames if not frame.filename.endswith(".py")}
    assert len(names) == 1, names
    (name,) = names
    assert not Path(name).exists()
    assert_points_at(case, name, frames, text)


def test_traceback_shows_every_call_of_the_file_outermost_first(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(dedent(INDENTED), encoding="utf-8")
    frames, _ = failure(path)
    assert [(frame.line, frame.name) for frame in frames if frame.filename == str(path)] == [
        ("forward: return inner(x) + 1", "forward"),
        ("y = torch.relu(head(body(x)))", "forward"),
    ]


def test_traceback_shows_the_included_file(tmp_path: Path) -> None:
    parts = tmp_path / "parts.yaml"
    parts.write_text(
        dedent(
            """\
            confnet: 1
            modules:
              Head:
                children:
                  proj: {Linear: [5, 2]}
                forward: return -proj(x)
            """
        ),
        encoding="utf-8",
    )
    path = tmp_path / "net.yaml"
    path.write_text("confnet: 1\ninclude: [parts.yaml]\nSequential: [{Linear: [4, 3]}, Head]\n", encoding="utf-8")
    frames, text = failure(path)
    inner = [frame for frame in frames if frame.filename == str(parts)]
    assert [(frame.lineno, frame.line) for frame in inner] == [(6, "forward: return -proj(x)")]
    line, carets = shown(text, str(parts), 6)
    assert (line, carets) == ("    forward: return -proj(x)", "                     ^^^^^^^")


def test_two_texts_with_the_same_name_are_not_confused() -> None:
    """Both models are alive, and both come from something called `<text>`: each traceback must show its own."""
    cases = (CASES["one-line"], CASES["block"])
    models = [confnet.build(confnet.loads(dedent(case.text))) for case in cases]
    for case, model in zip(cases, models, strict=True):
        frames, text = failure_of(model)
        (name,) = {frame.filename for frame in frames if not frame.filename.endswith(".py")}
        assert_points_at(case, name, frames, text)

"""Sessions of an editor with `confnet lsp` over standard input and output; the answers are in golden/.

CONFNET_UPDATE_LSP=1 writes them anew: read the difference.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pygls", reason="the extra `lsp` is not installed")

import torch
from click.testing import CliRunner

from confnet.catalog.registry import DEFAULT_REGISTRY, layer_of_class
from confnet.cli import commands
from confnet.lsp.answers import Job
from confnet.lsp.completion import Completer
from confnet.lsp.cursor import cursor_at
from confnet.lsp.documents import Content
from confnet.lsp.names import Names
from confnet.lsp.workers import Worker
from tests.lsp.client import Client, marked

GOLDEN = Path(__file__).with_name("golden")
SHOWN = 14

HEAD = """\
confnet: 1
args: {width: 32, act: {type: module, default: ReLU}, rate: {type: float, default: 0.1, ge: 0}}
let: {inner: $(4 * width)}
variants: {small: {width: 8}}
"""
BODY = """\
modules:
  Block:
    description: two layers and a shortcut
    args: {dim: int, drop: 0.1}
    children:
      fc: {Linear: [$dim, $dim]}
      out: {Dropout: $drop}
    methods: {encode: return fc(x)}
    forward: return x + out(encode(x))
parameters: {scale: {shape: [width]}}
buffers: {table: {value: "torch.ones(width)"}}
children:
  stem: {Linear: [16, $width]}
  body: {Sequential: [{Block: $width}, {Block: {dim: $width}}]}
  head: {Block: {dim: $width}}
"""


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A session without shapes: no process of it loads torch."""
    yield from ending(Client(tmp_path_factory.mktemp("session"), "--no-shapes"))


@pytest.fixture
def client(session: Client, tmp_path: Path) -> Iterator[Client]:
    """The same, with files of its own for each test."""
    session.folder = tmp_path
    yield session
    session.forget()


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """An editor that can do next to nothing, and counts bytes."""
    yield from ending(Client(tmp_path_factory.mktemp("bare"), "--no-shapes", capabilities={}, encodings=["utf-8"]))


@pytest.fixture(scope="module")
def session_with_shapes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    yield from ending(Client(tmp_path_factory.mktemp("shaping")))


@pytest.fixture
def shaping(session_with_shapes: Client, tmp_path: Path) -> Iterator[Client]:
    session_with_shapes.folder = tmp_path
    yield session_with_shapes
    session_with_shapes.forget()


def ending(session: Client) -> Iterator[Client]:
    """A session that ends as an editor ends it; nothing may have gone wrong in it."""
    yield session
    session.close()
    assert session.log() == ""


def compare(name: str, text: str) -> None:
    path = GOLDEN / f"{name}.txt"
    if os.environ.get("CONFNET_UPDATE_LSP"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


# --- completion -----------------------------------------------------------------------------------------------------

COMPLETIONS = {
    "an empty file": "@|@",
    "a key of the document": HEAD + "app@|@",
    "a layer's name, in braces": HEAD + "children:\n  a: {Conv@|@",
    "a layer's name, in a block": HEAD + "children:\n  a:\n    Conv@|@",
    "an item of a container": HEAD + BODY + "  more:\n    ModuleList:\n      - @|@",
    "an item in brackets": HEAD + "Sequential: [ReLU, Lin@|@",
    "arguments of a layer": HEAD + "children:\n  a: {Conv2d: {in_channels: 3, @|@, bias: false}}\n",
    "arguments of a definition": HEAD + BODY + "  more: {Block: {@|@",
    "a value that is a choice": HEAD + "children:\n  a: {Conv2d: {padding_mode: @|@",
    "a value that is a flag": HEAD + "children:\n  a: {Linear: {bias: @|@",
    "a `$` name": HEAD + "children:\n  a: {Linear: [16, $@|@",
    "inside `$()`": HEAD + "children:\n  a: {Linear: [16, $(max(wi@|@",
    "a step of a repeat": HEAD + "Sequential:\n  - repeat: 3\n    as: step\n    module: {Linear: [$s@|@",
    "an initialiser": HEAD + "apply:\n  - where: {type: Linear}\n    init: {weight: k@|@",
    "arguments of an initialiser": HEAD + "apply:\n  - init: {weight: {kaiming_normal_: {@|@",
    "parameters under init": HEAD + "children:\n  a: {Linear: [1, 2], init: {@|@",
    "a kind of hook": HEAD + "hooks:\n  - {kind: @|@",
    "a built-in hook": HEAD + "hooks:\n  - {kind: forward, call: @|@",
    "names in `do`": HEAD + 'hooks:\n  - {kind: full_backward, do: "return gra@|@',
    "keys of a rule": HEAD + "apply:\n  - where: {type: Linear}\n    @|@",
    "types of an arg": HEAD + "modules:\n  B:\n    args: {n: @|@",
    "args of a variant": HEAD.replace("{small: {width: 8}}", "{small: {wid@|@"),
    "an include": HEAD + "include: [confnet:@|@",
    "names in forward": HEAD + BODY + "forward: |\n  y = stem(x)\n  @|@",
    "attributes of a layer": HEAD + BODY + "forward: |\n  y = stem.@|@\n  return y\n",
    "attributes of a definition": HEAD + BODY + "forward: |\n  y = head.@|@\n",
    "an item of a container in code": HEAD + BODY + "forward: |\n  y = body[0].@|@\n",
    "functions of torch": HEAD + BODY + "forward: |\n  y = torch.@|@\n",
    "functions of F": HEAD + BODY + "forward: |\n  y = F.scaled@|@\n",
    "methods of a tensor": HEAD + BODY + "forward: |\n  y = x.@|@\n",
    "methods behind a call": HEAD + BODY + "forward: |\n  y = stem(x).@|@\n",
    "keyword arguments": HEAD + BODY + "forward: |\n  y = torch.cat([x, x], @|@\n",
    "self": HEAD + BODY + "forward: |\n  y = self.@|@\n",
    "inside a text nothing": HEAD + BODY + 'forward: |\n  assert x.ndim == 2, "two @|@\n',
    "a description": HEAD + "description: the @|@",
    "a file torn elsewhere": HEAD + "children:\n  a: {Linear: [$@|@\n  b: {{{\nforward: |\n  return a(",
}


def test_completions(client: Client) -> None:
    """What is offered, in every kind of place, in files that are broken where something is being typed."""
    client.open("model.yaml", "confnet: 1\n")
    out = []
    for title, source in COMPLETIONS.items():
        text, line, character = marked(source)
        client.change("model.yaml", text)
        found = client.at("completion", "model.yaml", line, character)
        items = sorted(found["items"], key=lambda item: item["sortText"])
        out.append(
            f"## {title}\n{source.rpartition(chr(10))[2] if not source.endswith(chr(10)) else line_of(source)}\n"
        )
        prefix = word_before(text, line, character)
        shown = [item for item in items if item["label"].startswith(prefix)] or items
        for item in shown[:SHOWN]:
            edit = item["textEdit"]["newText"]
            assert item["textEdit"]["range"]["end"] == {"line": line, "character": character}
            out.append(f"  {item['label']:<24} {edit!r:<44} {item.get('detail', '')}"[:150].rstrip() + "\n")
        out.append(f"  {len(shown)} of {len(items)}\n\n")
    compare("completion", "".join(out))


def line_of(source: str) -> str:
    return next(line for line in source.split("\n") if "@|@" in line)


def word_before(text: str, line: int, character: int) -> str:
    before = text.split("\n")[line][:character]
    return before[len(before.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789")) :]


def test_an_item_has_its_documentation(client: Client) -> None:
    text, line, character = marked("confnet: 1\nchildren:\n  a: {Conv2@|@")
    client.open("model.yaml", text)
    found = client.at("completion", "model.yaml", line, character)["items"]
    item = next(item for item in found if item["label"] == "Conv2d")
    assert item["textEdit"]["newText"] == "Conv2d: {in_channels: ${1}, out_channels: ${2}, kernel_size: ${3}}"
    assert item["insertTextFormat"] == 2
    assert "documentation" not in item
    said = client.request("completionItem/resolve", item)["documentation"]["value"]
    assert said.startswith("```python\nConv2d(in_channels: int, out_channels: int, kernel_size: int | tuple[int, int],")
    assert "Applies a 2D convolution" in said


def test_an_editor_without_fields_gets_none(bare: Client) -> None:
    text, line, character = marked("confnet: 1\nchildren:\n  a: {Conv2@|@")
    bare.open("fields.yaml", text)
    items = bare.at("completion", "fields.yaml", line, character)["items"]
    assert [item["textEdit"]["newText"] for item in items if item["label"] == "Conv2d"] == ["Conv2d: "]


def test_a_plugin_is_known_everywhere(tmp_path: Path) -> None:
    """To the process that answers, and to the one that checks. A function needs no torch, which takes seconds."""
    (tmp_path / "my_layers.py").write_text(
        "import confnet\n\nprint('hello')  # which is no message of the protocol\n\n\n@confnet.register\n"
        "def swish(x, beta: float = 1.0):\n    '''x times its sigmoid.'''\n    return x * (beta * x).sigmoid()\n"
    )
    session = Client(tmp_path, "--no-shapes", "--plugin", "my_layers")
    text, line, character = marked("confnet: 1\nforward: return swi@|@")
    session.open("model.yaml", text)
    assert "swish" in [item["label"] for item in session.at("completion", "model.yaml", line, character)["items"]]
    session.change("model.yaml", "confnet: 1\nforward: return swish(x, betta=2.0)\n")
    assert session.at("hover", "model.yaml", line, character)["contents"]["value"].endswith("x times its sigmoid.")
    found = session.diagnostics("model.yaml", until=1)
    while "betta" not in found[0]["message"]:  # the first text was told of before
        found = session.diagnostics("model.yaml", until=1)
    assert "did you mean `beta`?" in found[0]["message"]
    session.close()


def test_registered_layers_are_completed(monkeypatch: pytest.MonkeyPatch) -> None:
    class Swish(torch.nn.Module):
        """x times its sigmoid."""

        def __init__(self, beta: float) -> None:
            super().__init__()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    monkeypatch.setattr(DEFAULT_REGISTRY, "layers", {"Swish": layer_of_class(Swish, "Swish")})
    text, line, character = marked("confnet: 1\nSequential: [Swi@|@")
    content = Content("<text>", text)
    cursor = cursor_at(content.text, line, character, content.outline)
    items = Completer(Names(content.file, lambda file, include: None), None, True).items(cursor)
    (item,) = [item for item in items if item.label == "Swish"]
    assert item.insert == "{Swish: {beta: ${1}}}"
    assert item.about is not None
    assert item.about().endswith("x times its sigmoid.")


# --- diagnostics ----------------------------------------------------------------------------------------------------

WRONG = """\
confnet: 1
description: "größe 😀"
children:
  "é😀": {Linear: [4, 4]}
  a: {Linear: {in_features: 4, "out_featurs": 8}}
  b: {Linaer: [8, 2]}
forward: |
  y = a(x)  # é😀
  return "é😀", c(y)
"""


def test_diagnostics_are_those_of_the_command(client: Client) -> None:
    from confnet import api

    client.open("model.yaml", WRONG)
    found = client.diagnostics("model.yaml")
    path = client.folder / "model.yaml"
    path.write_text(WRONG, encoding="utf-8")
    expected = api.validate(str(path)).diagnostics
    assert [(d["code"], d["message"].split("\n")[0]) for d in found] == [(d.code, d.message) for d in expected]
    lines = WRONG.split("\n")
    for given, wanted in zip(found, expected, strict=True):
        assert wanted.span is not None
        start, end = given["range"]["start"], given["range"]["end"]
        assert start["line"] == wanted.span.line - 1
        units = lines[start["line"]].encode("utf-16-le")
        under = units[2 * start["character"] : 2 * end["character"]].decode("utf-16-le")
        assert under == lines[start["line"]][wanted.span.column - 1 : wanted.span.end_column - 1]
    compare("diagnostics", json.dumps(found, indent=1, ensure_ascii=False) + "\n")


def test_diagnostics_follow_the_text_as_it_is_typed(client: Client) -> None:
    client.open("model.yaml", "confnet: 1\nSequential: [ReLU, {Linear: [4, 4]}]\n")
    assert client.diagnostics("model.yaml") == []
    edit = {"range": {"start": {"line": 1, "character": 13}, "end": {"line": 1, "character": 17}}, "text": "ReLUU"}
    client.edit("model.yaml", [edit])
    assert [d["code"] for d in client.diagnostics("model.yaml", until=1)] == ["unknown-layer"]
    client.change("model.yaml", "confnet: 1\nSequential: [ReLU, {Linear: [4, 4]}\n")
    assert [d["code"] for d in client.diagnostics("model.yaml", until=1)] == ["yaml-syntax"]
    client.change("model.yaml", "confnet: 1\nSequential: [ReLU]\n")
    assert client.diagnostics("model.yaml", until=0) == []


def test_mistakes_of_included_files_are_shown_in_them(client: Client) -> None:
    library = "confnet: 1\nmodules:\n  Block:\n    args: {n: int}\n    Linear: [$n, $m]\n"
    (client.folder / "parts.yaml").write_text(library)
    client.open("model.yaml", "confnet: 1\ninclude: [parts.yaml]\nSequential: [{Block: 4}]\n")
    found = client.diagnostics("parts.yaml")
    assert [d["code"] for d in found] == ["undefined-name"]
    client.open("parts.yaml", library.replace("$m", "$n"))  # the editor's text counts, not the disk's
    assert client.diagnostics("parts.yaml", until=0) == []
    client.change("parts.yaml", library.replace("int", "integer"))
    assert [d["code"] for d in client.diagnostics("parts.yaml", until=1)] == ["unknown-type"]
    client.change("parts.yaml", library.replace("$m", "$n"))
    assert client.diagnostics("parts.yaml", until=0) == []


def test_a_file_that_is_another_on_the_disk_is_read_again(client: Client) -> None:
    parts = client.folder / "parts.yaml"
    library = "confnet: 1\nmodules:\n  Block:\n    args: {n: int}\n    Linear: [$n, $n]\n"
    parts.write_text(library)
    client.open("model.yaml", "confnet: 1\ninclude: [parts.yaml]\nSequential: [{Block: {m: 4}}]\n")
    assert client.diagnostics("model.yaml") != []
    parts.write_text(library.replace("n: int", "m: int").replace("$n", "$m"))
    client.notify("workspace/didChangeWatchedFiles", {"changes": [{"uri": parts.as_uri(), "type": 2}]})
    assert client.diagnostics("model.yaml", until=0) == []


def test_a_file_keeps_the_name_that_its_editor_gives_it(client: Client) -> None:
    """Brackets may be escaped in a URI or not: what is told of a file is told under the name that it was opened by."""
    uri = client.folder.as_uri() + "/model(1).yaml"
    client.open(uri, "confnet: 1\nSequential: [Relu]\n")
    assert [d["code"] for d in client.diagnostics(uri, until=1)] == ["unknown-layer"]


def test_a_note_with_a_place_is_a_link_where_the_editor_has_links(client: Client, bare: Client) -> None:
    text = "confnet: 1\nmodules:\n  B:\n    args: {n: int}\n    Linear: [$n, 4]\nSequential: [{B: {n: -3}}]\n"
    for editor, linked in ((client, True), (bare, False)):
        editor.open("model.yaml", text)
        (found,) = editor.diagnostics("model.yaml", until=1)
        assert ("relatedInformation" in found) == linked
        assert ("note: in `B`" in found["message"]) != linked
        if linked:
            assert found["relatedInformation"][0]["location"]["range"]["start"] == {"line": 5, "character": 14}


def test_other_yaml_is_left_alone(client: Client) -> None:
    client.open("compose.yaml", "services:\n  web: {image: nginx}\n")
    assert client.diagnostics("compose.yaml") == []
    assert client.at("hover", "compose.yaml", 1, 3) is None
    assert client.at("completion", "compose.yaml", 1, 3) is None
    client.change("compose.yaml", "confnet: 1\nservices: 3\nSequential: [ReLU]\n")
    assert [d["code"] for d in client.diagnostics("compose.yaml", until=1)] == ["unknown-key"]


def test_a_text_that_is_no_file(client: Client) -> None:
    client.open("untitled:one", "confnet: 1\nSequential: [Relu]\n")
    assert [d["code"] for d in client.diagnostics("untitled:one")] == ["unknown-layer"]


def test_a_closed_document_has_no_diagnostics(client: Client) -> None:
    uri = client.open("model.yaml", "confnet: 1\nSequential: [Relu]\n")
    assert len(client.diagnostics("model.yaml")) == 1
    client.notify("textDocument/didClose", {"textDocument": {"uri": uri}})
    assert client.diagnostics("model.yaml") == []


def test_a_file_too_large_is_refused(client: Client) -> None:
    client.open("model.yaml", "confnet: 1\n# " + "x" * 10_000_000)
    (found,) = client.diagnostics("model.yaml")
    assert found["code"] == "file-too-large"
    assert client.at("completion", "model.yaml", 0, 3) is None
    assert client.at("hover", "model.yaml", 0, 3) is None
    client.change("model.yaml", "confnet: 1\nSequential: [ReLU]\n")
    assert client.diagnostics("model.yaml") == []


def test_an_editor_chooses_how_columns_are_counted(client: Client, bare: Client) -> None:
    line = "Sequential: {𐀀: ReLU, b: {Linaer: 1}}"  # a letter of four bytes, and of two units of UTF-16
    before = line[: line.index("Linaer")]
    for editor, encoding, length in ((client, "utf-16", len(before) + 1), (bare, "utf-8", len(before) + 3)):
        assert editor.capabilities["positionEncoding"] == encoding
        editor.open("letters.yaml", f"confnet: 1\n{line}\n")
        (found,) = editor.diagnostics("letters.yaml")
        assert found["range"]["start"]["character"] == length


# --- quick fixes ----------------------------------------------------------------------------------------------------

FIXES = {
    "a layer": ("Sequential: [{Linaer: [4, 4]}]", "Linear"),
    "an argument": ("Sequential: [{Conv2d: {in_channels: 1, out_channels: 1, kernal_size: 3}}]", "kernel_size"),
    "a quoted argument": ('Sequential: [{Linear: {in_features: 1, "out_featurs": 1}}]', "out_features"),
    "a choice": ("Sequential: [{Conv2d: {in_channels: 1, out_channels: 1, kernel_size: 1, padding: sam}}]", "same"),
    "a flag": ("Sequential: [{Linear: {in_features: 1, out_features: 1, bias: yes}}]", "true"),
    "a name": ("args: {width: 4}\nSequential: [{Linear: [4, $widht]}]", "width"),
    "a name without its `$`": ("args: {width: 4}\nSequential: [{Linear: [4, width]}]", "$width"),
    "a key": ("childern: {a: ReLU}\nforward: return a(x)", "children"),
    "a type": ("args: {width: integer}\nSequential: [{Linear: [4, $width]}]", "int"),
    "a function": ("forward: return F.rleu(x)", "relu"),
    "a bare function": ("forward: return relu(x)", "F.relu"),
    "a method": ("forward: return x.flaten(1)", "flatten"),
    "a keyword": ("forward: return torch.cat([x, x], dimm=1)", "dim"),
    "a child": ("children: {conv: {Linear: [4, 4]}}\nforward: return cnov(x)", "conv"),
    "an initialiser": ("Sequential: [{Linear: [4, 4], init: {weight: zeros}}]", "zeros_"),
    "a hook's kind": ("hooks: [{kind: forwrd, call: print_shape}]\nSequential: [ReLU]", "forward"),
    "a path": (
        "children: {a: {Linear: [4, 4]}, b: {Linear: [4, 4]}}\ntie: {b.wieght: a.weight}\nforward: return b(a(x))",
        "b.weight",
    ),
}


def test_quick_fixes_do_what_the_help_says(client: Client) -> None:
    """Each is asked for at its diagnostic; what it gives has no such diagnostic any more."""
    client.open("model.yaml", "confnet: 1\nSequential: [ReLU]\n")
    client.diagnostics("model.yaml")
    for title, (body, wanted) in FIXES.items():
        text = f"confnet: 1\n# é😀\n{body}\n"
        client.change("model.yaml", text)
        found = first(client, "model.yaml")
        params = {
            "textDocument": {"uri": client.uri("model.yaml")}, "range": found["range"],
            "context": {"diagnostics": [found]},
        }  # fmt: skip
        actions = client.request("textDocument/codeAction", params)
        assert [action["title"] for action in actions] == [f"Write `{wanted}`"], title
        assert actions[0]["kind"] == "quickfix"
        (edit,) = actions[0]["edit"]["changes"][client.uri("model.yaml")]
        client.change("model.yaml", applied(text, edit))
        after = client.diagnostics("model.yaml")
        assert found["code"] not in [each["code"] for each in after], (title, applied(text, edit))


def first(client: Client, name: str) -> dict[str, Any]:
    """The first diagnostic of the next report that has any."""
    while not (found := client.diagnostics(name)):
        pass
    return found[0]


def applied(text: str, edit: dict[str, Any]) -> str:
    lines = text.split("\n")
    start, end = edit["range"]["start"], edit["range"]["end"]
    assert start["line"] == end["line"]
    line = lines[start["line"]].encode("utf-16-le")
    line = line[: 2 * start["character"]] + edit["newText"].encode("utf-16-le") + line[2 * end["character"] :]
    lines[start["line"]] = line.decode("utf-16-le")
    return "\n".join(lines)


def test_what_is_not_certain_is_not_offered(client: Client) -> None:
    client.open("model.yaml", "confnet: 1\nSequential: [{Linear: [4]}]\n")
    found = client.diagnostics("model.yaml", until=1)
    document = {"uri": client.uri("model.yaml")}
    params = {"textDocument": document, "range": found[0]["range"], "context": {"diagnostics": found}}
    assert client.request("textDocument/codeAction", params) == []


# --- hover, definitions, symbols, shapes ----------------------------------------------------------------------------

MODEL = """\
confnet: 1
include: [parts/mlp.yaml, confnet:mlp.yaml]
args: {width: {type: int, default: 32, description: channels of the stem}}
let: {inner: $(2 * width)}
inputs: {image: [B, 3, H, W]}
outputs: {logits: [B, 10]}
children:
  stem: {Conv2d: {in_channels: 3, out_channels: $width, kernel_size: 3, stride: 2, padding: 1}}
  norm: {BatchNorm2d: $width}
  blocks:
    ModuleList:
      - repeat: 2
        as: i
        module: {MyMLP: {dim: $width, hidden: $(inner * (i + 1))}}
  rnn: {LSTM: {input_size: $width, hidden_size: 8, batch_first: true}}
  head: {Linear: [8, 10]}
parameters: {scale: {shape: [width], init: ones_}}
forward: |
  x = norm(stem(image))
  x = x.flatten(2).transpose(1, 2)
  for block in blocks:
      x = x + block(x * scale)
  states, last = rnn(x)
  é = states.mean(dim=1)
  return head(é)
apply:
  - where: {type: Linear}
    init: {weight: {trunc_normal_: {std: 0.02}}}
hooks:
  - {kind: forward, where: {name: stem}, call: {capture: {key: stem}}}
"""
PARTS = """\
confnet: 1
modules:
  MyMLP:
    description: two layers
    args: {dim: int, hidden: int}
    children:
      fc1: {Linear: [$dim, $hidden]}
      fc2: {Linear: [$hidden, $dim]}
    forward: |
      h = F.gelu(fc1(x))
      return fc2(h)
"""
WORDS = """\
1 parts/mlp.yaml, 1 confnet:mlp, 2 width, 4 inputs, 5 outputs, 7 stem, 7 Conv2d, 7 kernel_size, 7 $width, 9 blocks,
12 i, 13 MyMLP, 13 hidden, 13 inner, 14 LSTM, 16 ones_, 18 x, 18 norm, 18 stem, 18 image, 19 x.flatten, 19 flatten,
19 x, 21 scale, 21 block, 22 states, 22 last, 22 rnn, 23 é, 24 head, 24 é, 26 type, 26 Linear, 27 trunc_normal_,
27 std, 29 forward, 29 where, 29 stem, 29 capture, 29 key
"""


def test_a_session_with_shapes(shaping: Client) -> None:
    """Hover and definition of every kind of word, hints and symbols, in a file that is right."""
    client = shaping
    (client.folder / "parts").mkdir()
    (client.folder / "parts/mlp.yaml").write_text(PARTS)
    client.open("model.yaml", MODEL)
    assert client.diagnostics("model.yaml") == []
    assert client.diagnostics("model.yaml") == []  # with shapes
    client.wait_for("workspace/inlayHint/refresh")
    wanted = ranged(client, 0, 40)
    hints = client.request("textDocument/inlayHint", wanted)
    lines = MODEL.split("\n")
    assert all(hint["position"]["character"] == len(lines[hint["position"]["line"]]) for hint in hints)
    out = ["## Hints\n", *(f"{lines[h['position']['line']].strip()}  {h['label']}\n" for h in hints), "\n"]
    wait_for_locals(client)
    for place in WORDS.replace("\n", " ").rstrip().split(", "):
        line, word = int(place.split()[0]), place.split()[1]
        character = lines[line].index(word) + (1 if word == "$width" else 0)
        if word == "x.flatten":
            character = lines[line].rindex(word)
        said = client.at("hover", "model.yaml", line, character)
        where = client.at("definition", "model.yaml", line, character)
        defined = f"{Path(where['uri']).name}:{where['range']['start']['line'] + 1}" if where else "-"
        out.append(f"## {line + 1}: {word}\ndefined at {defined}\n{said['contents']['value'] if said else '-'}\n\n")
    compare("hover", "".join(out))
    compare("symbols", "".join(told(client.request("textDocument/documentSymbol", wanted))))


def ranged(client: Client, first: int, last: int) -> dict[str, Any]:
    start, end = {"line": first, "character": 0}, {"line": last, "character": 0}
    return {"textDocument": {"uri": client.uri("model.yaml")}, "range": {"start": start, "end": end}}


def wait_for_locals(client: Client) -> None:
    """Shapes of names in code come after those of modules."""
    line = next(number for number, line in enumerate(MODEL.split("\n")) if "states, last" in line)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        said = client.at("hover", "model.yaml", line, 2)
        if said is not None and "[B" in said["contents"]["value"]:
            return
        time.sleep(0.05)
    raise AssertionError(f"no shape came; {client.log()}")


def told(symbols: list[dict[str, Any]], depth: int = 0) -> Iterator[str]:
    for each in symbols:
        inner, outer = each["selectionRange"], each["range"]
        assert outer["start"] == inner["start"]
        assert (inner["end"]["line"], inner["end"]["character"]) <= (outer["end"]["line"], outer["end"]["character"])
        lines = f"{outer['start']['line'] + 1}-{outer['end']['line'] + 1}"
        yield f"{'  ' * depth}{each['name']} ({each['kind']}) {each.get('detail', '')}".rstrip() + f" {lines}\n"
        yield from told(each.get("children") or [], depth + 1)


def test_shapes_are_checked_after_a_while_and_stay_beside_their_lines(shaping: Client) -> None:
    client = shaping
    head = "confnet: 1\ninputs: {x: [B, 4]}\nforward: return b(a(x))\n"
    text = f"{head}children:\n  a: {{Linear: [4, 8]}}\n  b: {{Linear: [9, 2]}}\n"
    client.open("model.yaml", text)
    assert client.diagnostics("model.yaml") == []  # its structure is right
    (found,) = client.diagnostics("model.yaml", until=1)
    assert found["code"] == "shape-mismatch"
    client.change("model.yaml", "# a line more\n" + text)
    (moved,) = client.diagnostics("model.yaml", until=1)  # at once, before it is checked again
    assert moved["range"]["start"]["line"] == found["range"]["start"]["line"] + 1
    client.diagnostics("model.yaml", until=1)
    client.change("model.yaml", text.replace("[9, 2]", "[8, 2]"))
    assert client.diagnostics("model.yaml", until=0) == []
    client.wait_for("workspace/inlayHint/refresh")
    client.wait_for("workspace/inlayHint/refresh")
    labels: list[str] = []
    end = time.monotonic() + 60
    while labels != ["→ [B, 8]", "→ [B, 2]"] and time.monotonic() < end:
        labels = [hint["label"] for hint in client.request("textDocument/inlayHint", ranged(client, 0, 20))]
        time.sleep(0.05)
    assert labels == ["→ [B, 8]", "→ [B, 2]"]
    client.change("model.yaml", text.replace("[9, 2]", "[8, 3]"))  # the changed line has no hint until it is known
    labels = [hint["label"] for hint in client.request("textDocument/inlayHint", ranged(client, 0, 20))]
    assert labels == ["→ [B, 8]"]


# --- the processes that check ---------------------------------------------------------------------------------------


def test_an_answer_is_that_of_its_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks may be cancelled at any time; and nothing in the folder of the editor is imported."""
    (tmp_path / "yaml.py").write_text("raise SystemExit('run')\n")
    monkeypatch.chdir(tmp_path)

    async def session() -> None:
        worker = Worker((), 60)
        wrong = Job("structure", None, "confnet: 1\nSequential: [Relu]\n")
        right = Job("structure", None, "confnet: 1\nSequential: [ReLU]\n")
        asking = [asyncio.create_task(worker.ask(job)) for job in (wrong, wrong, right)]
        await asyncio.sleep(0)
        for task in asking[:2]:  # the first is being done, the second waits
            task.cancel()
        found = await asking[2]
        assert found is not None
        assert found.diagnostics == ()
        again = await worker.ask(wrong)
        assert again is not None
        assert [each.code for each in again.diagnostics] == ["unknown-layer"]
        worker.end()

    asyncio.run(session())


# --- faults ---------------------------------------------------------------------------------------------------------


def test_a_fault_is_logged_and_ends_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that the server imports first makes hover and the checking process fail."""
    (tmp_path / "faulty.py").write_text(
        "import confnet.lsp.hover as hover, confnet.api as api\n"
        "def fail(*args, **kwargs):\n    raise ZeroDivisionError('made to fail')\n"
        "hover.Hoverer.text = fail\n"
        "validate = api.validate\n"
        "def half(spec, **more):\n    return fail() if 'fail' in spec.root.source.text else validate(spec, **more)\n"
        "api.validate = half\n"
    )
    session = Client(tmp_path, "--no-shapes", "--plugin", "faulty")
    session.open("model.yaml", "confnet: 1\nSequential: [ReLU]\n")
    assert session.diagnostics("model.yaml") == []
    assert session.at("hover", "model.yaml", 1, 14) is None
    session.change("model.yaml", "confnet: 1\n# fail\nSequential: [ReLU]\n")
    assert session.diagnostics("model.yaml") == []
    session.change("model.yaml", "confnet: 1\nSequential: [Relu]\n")
    assert [d["code"] for d in session.diagnostics("model.yaml")] == ["unknown-layer"]
    session.close()
    assert session.log().count("ZeroDivisionError: made to fail") == 2


def test_the_set_up_page_is_well_formed() -> None:
    """Its texts are to be copied: JSON is JSON, TOML is TOML, and all of them start `confnet lsp`."""
    page = (Path(__file__).parents[2] / "docs/editor.md").read_text(encoding="utf-8")
    own = page.partition("## With confnet's own server")[2]
    texts = [block.partition("```")[0] for block in own.split("```text\n")[1:]]
    described = [json.loads(text) for text in texts if text.startswith("{")]
    package, settings = (next(each for each in described if key in each) for key in ("main", "confnet.command"))
    assert package["contributes"]["configuration"]["properties"]["confnet.command"]["default"] == ["confnet", "lsp"]
    assert settings["confnet.command"][1:2] == ["lsp"]
    helix = [tomllib.loads(text) for text in texts if text.startswith("[")]
    assert helix[0]["language-server"]["confnet"] == {"command": "confnet", "args": ["lsp"]}
    assert any('cmd = { "confnet", "lsp" }' in text for text in texts)
    assert any("new LanguageClient(" in text for text in texts)


def test_the_process_that_answers_does_not_load_torch() -> None:
    code = "import sys, confnet.lsp.features; print(sorted({'torch', 'numpy', 'rich'} & set(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert result.stdout == "[]\n"


def test_without_pygls_the_command_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['pygls'] = None; from confnet.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run(
        [sys.executable, "-c", code, "lsp"], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 1
    assert result.stderr == "Error: the language server needs pygls: pip install 'torch-confnet[lsp]'\n"


def test_a_log_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    result = CliRunner().invoke(commands, ["lsp", "--log", str(tmp_path / "none" / "log")])
    assert result.exit_code == 2
    assert "cannot be written: No such file or directory" in result.output

"""What a notebook shows of specs and models: whole by itself, harmless, and never an error or a change."""

from __future__ import annotations

import copy
import io
import pickle
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import torch

import confnet
from confnet import api
from confnet.display import shown

ROOT = Path(__file__).resolve().parent.parent

TEXT = """\
confnet: 1
name: Net
args: {width: 4}
variants: {wide: {width: 8}}
inputs: {x: [B, width]}
Sequential: [{repeat: 2, module: {Linear: [$width, $width]}}, ReLU]
"""


class _Page(HTMLParser):
    """Collects the tags of a page, and what leads out of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.outside: list[str] = []
        self.frames: list[str] = []
        self.events: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "action") and value and not value.startswith("#"):
                self.outside.append(value)
            if name == "srcdoc":
                self.frames.append(value or "")
            if name.startswith("on"):
                self.events.append(name)

    def handle_data(self, data: str) -> None:
        self.text += data


def html_of(subject: object) -> str:
    text = subject._repr_html_()  # type: ignore[attr-defined]
    assert isinstance(text, str)
    return text


def test_a_model() -> None:
    page = _Page(html_of(confnet.build(io.StringIO(TEXT))))
    assert (page.outside, page.events, "script" in page.tags) == ([], [], False)
    assert page.tags.count("iframe") == 1
    assert "0-1 (x 2) Linear(4, 4)" in page.text
    assert "40 parameters: 40 trainable, 0 frozen" in page.text
    assert "Linear" in page.frames[0]


def test_a_spec() -> None:
    page = _Page(html_of(confnet.loads(TEXT)))
    assert page.outside == []
    assert all(word in page.text for word in ("Net", "width", "wide", "x: [B, 4] -> output: [B, 4]"))


def test_the_frame_may_not_reach_the_notebook() -> None:
    (frame,) = re.findall(r"<iframe ([^>]*?) title", html_of(confnet.build(io.StringIO(TEXT))))
    assert frame == 'sandbox="allow-scripts"'


def test_what_is_written_in_the_file_stays_text() -> None:
    evil = "</td><script>alert(1)</script><img src=x onerror=alert(1)>"
    text = f"""
confnet: 1
name: Net
description: "{evil}"
args: {{a: {{type: str, default: "{evil}"}}}}
inputs: {{x: [B, 2]}}
children: {{fc: {{Linear: [2, 2], extra_repr: "{evil}"}}}}
forward: return fc(x)
"""
    for subject in (confnet.loads(text), confnet.build(io.StringIO(text))):
        page = _Page(html_of(subject))
        assert (page.events, page.outside) == ([], [])
        assert not {"script", "img"} & {*page.tags}


def test_looking_changes_nothing() -> None:
    model = confnet.build(io.StringIO(TEXT), seed=1)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    attributes, random = set(model.__dict__), torch.get_rng_state()
    assert html_of(model) == html_of(model)
    assert set(model.__dict__) == attributes
    assert torch.equal(torch.get_rng_state(), random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert html_of(other) == html_of(model)


def test_a_part_of_a_model_is_shown_as_text() -> None:
    model = confnet.build(ROOT / "examples/gpt2.yaml", device="meta", n_layer=1)
    assert model.transformer._repr_html_() is None  # type: ignore[union-attr,operator]


@pytest.mark.parametrize("text", ["confnet: 1\nLinaer: [2, 2]\n", "confnet: 1\nmodules: {A: {children: {}}}\n"])
def test_what_cannot_be_built_is_shown_all_the_same(text: str) -> None:
    page = _Page(html_of(confnet.loads(text)))
    assert ("unknown-layer" in page.text) == ("Linaer" in text)


def test_nothing_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    model, spec = confnet.build(io.StringIO(TEXT)), confnet.loads(TEXT)

    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(api, "overview", fail)
    assert model._repr_html_() is None  # type: ignore[operator]
    assert spec._repr_html_() is None
    assert shown("nothing", model) is None


def test_a_model_without_inputs_has_its_tree() -> None:
    page = _Page(html_of(confnet.build(io.StringIO("confnet: 1\nname: Net\nSequential: [{Linear: [2, 2]}]\n"))))
    assert "no `inputs` are declared" in page.text

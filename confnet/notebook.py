"""Specs and models as HTML for a notebook: the picture, then the tree with its figures. No network is needed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from confnet import api
from confnet.diagnostics import ConfnetError
from confnet.figures import flops_text, footer, parameters_text, what_text
from confnet.graph import graph_html
from confnet.loading import Spec
from confnet.overview import Overview, rows
from confnet.source import Node, Scalar, plain

if TYPE_CHECKING:
    import torch

__all__ = ["model_html", "spec_html"]

MOST_ROWS = 400
MOST_PICTURE = 4_000_000
"""So many characters of a picture are put into a notebook."""

_STYLE = """
.confnet{font:13px/1.45 system-ui,sans-serif;color:inherit}
.confnet table{border-collapse:collapse;margin:.4em 0;background:none}
.confnet th,.confnet td{padding:1px 10px 1px 0;text-align:left;vertical-align:top;background:none;border:0}
.confnet th{font-weight:600;border-bottom:1px solid #8888}
.confnet .number{text-align:right;font-variant-numeric:tabular-nums}
.confnet code{font:12px/1.4 ui-monospace,monospace;background:none;color:inherit;padding:0}
.confnet .tree td:nth-child(2){white-space:nowrap}
.confnet .mark{color:#b35900}
.confnet iframe{width:100%;height:460px;border:1px solid #8886;border-radius:4px}
.confnet .small{opacity:.75}
@media (prefers-color-scheme:dark){.confnet .mark{color:#ffb454}}
"""


def spec_html(spec: Spec) -> str:
    """A spec: its description, what a caller may set, and its model under the defaults, or why there is none."""
    document = spec.document
    variant = None
    if any(not arg.has_default for arg in document.args):
        variant = next((each.name for each in document.variants), None)
    parts = [f"<b>{escape(document.name)}</b>", *(["<br>" + _description(document)] if _description(document) else [])]
    args = [
        [f"<code>{escape(arg.name)}</code>", escape(arg.type or ""), _default(arg.default)] for arg in document.args
    ]
    if args:
        parts.append(_details("args", _table(["arg", "type", "default"], args)))
    variants = [[f"<code>{escape(each.name)}</code>", _settings(each.args)] for each in document.variants]
    if variants:
        parts.append(_details("variants", _table(["variant", "args"], variants)))
    definitions = ", ".join(f"<code>{escape(each.name)}</code>" for each in document.modules)
    if definitions:
        parts.append(f"<div class='small'>definitions: {definitions}</div>")
    if document.root is not None:
        parts += _model(spec, {}, variant, None)
    return _framed(parts)


def model_html(model: torch.nn.Module) -> str:
    """A built model, as its file says it is."""
    record = api.spec_of(model)
    return _framed(_model(record.spec, record.args, record.variant, record.root))


def _model(spec: Spec, args: Mapping[str, Any], variant: str | None, root: str | None) -> Iterator[str]:
    try:
        overview = api.overview(spec, args=args, variant=variant, root=root)
    except ConfnetError as error:
        yield f"<pre>{escape(str(error))}</pre>"
        return
    page = graph_html(spec, args=args, variant=variant, root=root)
    if len(page) <= MOST_PICTURE:
        title = escape(f"the wiring of {overview.root.type}", quote=True)
        # Scripts of the page run, apart from the notebook: what it holds comes from a file.
        yield f'<iframe sandbox="allow-scripts" title="{title}" srcdoc="{escape(page, quote=True)}"></iframe>'
    chosen = f" (variant <code>{escape(variant)}</code>)" if variant is not None else ""
    yield _details(f"modules{chosen}", _tree(overview))
    yield "".join(f"<div class='small'>{escape(line)}</div>" for line in footer(overview))


def _tree(overview: Overview) -> str:
    cells = []
    shown = list(rows(overview.root))
    for row in shown[:MOST_ROWS]:
        node = row.node
        times = f" (x {row.times})" if row.times > 1 else ""
        marks = "".join(f" <span class='mark'>{escape(mark)}</span>" for mark in node.marks)
        module = f"<b>{escape(row.label)}</b>{times} <code>{escape(what_text(node))}</code>{marks}"
        cells.append(
            [
                f"<div style='padding-left:{1.2 * len(row.lasts):.1f}em'>{module}</div>",
                f"<code>{escape(', '.join(node.outputs) or '-')}</code>",
                escape(parameters_text(node.counts)),
                escape(flops_text(node)),
            ]
        )
    if len(shown) > MOST_ROWS:
        cells.append([f"and {len(shown) - MOST_ROWS} rows more: <code>confnet show</code> has them", "", "", ""])
    return _table(["module", "output", "parameters", "FLOPs"], cells, numbers=(2, 3))


# --- pieces ---------------------------------------------------------------------------------------------------------


def _framed(parts: Iterable[str]) -> str:
    return f"<div class='confnet'><style>{_STYLE}</style>{''.join(parts)}</div>"


def _details(title: str, content: str) -> str:
    return f"<details><summary>{title}</summary>{content}</details>"


def _table(head: list[str], cells: list[list[str]], numbers: tuple[int, ...] = ()) -> str:
    def line(items: list[str], tag: str) -> str:
        kinds = [" class='number'" if place in numbers else "" for place in range(len(items))]
        return "<tr>" + "".join(f"<{tag}{k}>{item}</{tag}>" for k, item in zip(kinds, items, strict=True)) + "</tr>"

    kind = " class='tree'" if numbers else ""
    return f"<table{kind}>{line(head, 'th')}{''.join(line(row, 'td') for row in cells)}</table>"


def _description(document: Any) -> str:
    body = document.root.body if document.root is not None else None
    node = getattr(document, "description", None) or getattr(body, "description", None)
    return escape(str(node.value)) if isinstance(node, Scalar) else ""


def _default(node: Node | None) -> str:
    return f"<code>{escape(str(plain(node)))}</code>" if node is not None else "required"


def _settings(args: Any) -> str:
    return ", ".join(f"<code>{escape(key.text)}={escape(str(plain(value)))}</code>" for key, value in args)

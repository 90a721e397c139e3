"""From a spec to its picture, in any of the forms that it can have."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from confnet import api
from confnet.checked import Checked
from confnet.given import SourceLike, spec_from
from confnet.graph.boxes import Graph, graph_of
from confnet.graph.details import details_of
from confnet.graph.dot import dot
from confnet.graph.mermaid import mermaid
from confnet.graph.page import page
from confnet.graph.program import run_dot
from confnet.graph.view import ENOUGH, ENOUGH_TO_BEGIN, opened, view_of
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.records import dataclass
from confnet.wiring import Trace

__all__ = ["FORMS", "Picture", "graph_html", "picture"]

FORMS: Final = ("svg", "png", "html", "mmd", "dot")
"""What a picture can be written as."""


@dataclass(frozen=True)
class Picture:
    """The picture of a model, and the texts of the files that it was made of."""

    graph: Graph
    sources: Mapping[str, str]

    def written(self, form: str, *, depth: int | None = None, names: Collection[str] = ()) -> str | bytes:
        """The picture as `svg`, `png` (bytes), `html`, `mmd` or `dot`.

        Modules stand open to `depth` levels below the model, or, if that is None, as far as is taken in at a glance;
        those called `names` in any case. Raises GraphvizError where svg and png need the program `dot` and it fails.
        """
        if form not in FORMS:
            raise ValueError(f"a picture is one of {', '.join(FORMS)}, not {form!r}")
        open_boxes = opened(self.graph, depth, names, ENOUGH_TO_BEGIN if form == "html" else ENOUGH)
        if form == "html":
            return page(self.graph, open_boxes, self.sources)
        view = view_of(self.graph, open_boxes)
        if form == "mmd":
            return mermaid(view)
        return dot(view) if form == "dot" else run_dot(dot(view), form)


def picture(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    step: Callable[[str], None] = lambda text: None,
) -> Picture:
    """The picture of the model that a spec describes: built and run on the meta device, nothing is allocated.

    Where its forward cannot be run (it declares no inputs, say) the picture has the modules alone. `step` is told what
    is being done. Raises ConfnetError with every mistake of the spec.
    """
    spec = spec_from(source, limits)
    chosen: dict[str, Any] = {"variant": variant, "root": root, "args": args, "limits": limits}
    step("building the model on the meta device")
    tables = api.inspect(spec, **chosen)
    step("following the forward")
    traced = api.trace(spec, **chosen)
    step("drawing")
    plan = Checked.make(spec, args or {}, variant, root, limits).settled
    title = str(tables.modules[0]["type"])
    wiring, reason = (traced, "") if isinstance(traced, Trace) else (None, traced.reason)
    return Picture(graph_of(title, details_of(plan, tables), wiring, reason), dict(plan.sources))


def graph_html(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """The picture of a model as the text of one HTML page that needs nothing else, to look at or to put into a frame.

    Raises ConfnetError with every mistake of the spec.
    """
    text = picture(source, variant=variant, root=root, args=args, limits=limits).written("html")
    assert isinstance(text, str)
    return text

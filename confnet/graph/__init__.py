"""The picture of a model: its modules as boxes that fold, the values between them as arrows.

Plain data in, text out: the wiring comes from `confnet.api.trace`, what each module is from the plan and
`confnet.api.inspect`. Nothing here needs torch but through those.
"""

from confnet.graph.picture import FORMS, Picture, graph_html, picture
from confnet.graph.program import GraphvizError

__all__ = ["FORMS", "GraphvizError", "Picture", "graph_html", "picture"]

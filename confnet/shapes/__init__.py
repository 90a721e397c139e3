"""Shapes: a model is run on meta, at several sizes, before anyone runs it with data.

Torch's own rules decide. What comes out is said in the symbolic sizes of the file, found by comparing the runs.
"""

from confnet.shapes.infer import infer
from confnet.shapes.memory import Memory
from confnet.shapes.overview import SizeError, overview
from confnet.shapes.report import Condition, ShapeReport, ValueShape
from confnet.shapes.stage import check_shapes
from confnet.shapes.tracing import trace

__all__ = [
    "Condition",
    "Memory",
    "ShapeReport",
    "SizeError",
    "ValueShape",
    "check_shapes",
    "infer",
    "overview",
    "trace",
]

"""Plans to modules: the only package, with `confnet.shapes`, that imports torch."""

from confnet.builder.bounds import construct_within
from confnet.builder.construct import Built, Streams, construct
from confnet.builder.inspection import Inspection, inspection
from confnet.builder.instances import blueprint_of
from confnet.builder.kernels import without_compiler
from confnet.builder.materialize import give_values, is_root, streams_for
from confnet.builder.weights import Weights, build_with

__all__ = [
    "Built",
    "Inspection",
    "Streams",
    "Weights",
    "blueprint_of",
    "build_with",
    "construct",
    "construct_within",
    "give_values",
    "inspection",
    "is_root",
    "streams_for",
    "without_compiler",
]

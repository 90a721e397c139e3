"""Text to located values, and back: the only package that knows YAML.

The values are those of the YAML 1.2 core schema: `1e-3` is a float, `on` and `no` are strings, `010` is ten.
"""

from confnet.source.nodes import Mapping, Node, Scalar, Sequence, Source, plain
from confnet.source.reading import decode, parse, read_file, read_value
from confnet.source.writing import to_text

__all__ = [
    "Mapping",
    "Node",
    "Scalar",
    "Sequence",
    "Source",
    "decode",
    "parse",
    "plain",
    "read_file",
    "read_value",
    "to_text",
]

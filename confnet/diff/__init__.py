"""What differs between two specs, and what that means for checkpoints."""

from confnet.diff.compare import difference
from confnet.diff.records import Change, CodeChange, Detail, Difference, KeyChanges, Model, ShapeChange
from confnet.diff.revisions import load_revision, revision_of

__all__ = [
    "Change",
    "CodeChange",
    "Detail",
    "Difference",
    "KeyChanges",
    "Model",
    "ShapeChange",
    "difference",
    "load_revision",
    "revision_of",
]

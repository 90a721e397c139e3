"""Plans to modules: the only package, with `confnet.shapes`, that imports torch."""

from confnet.builder.construct import construct
from confnet.builder.instances import blueprint_of

__all__ = ["blueprint_of", "construct"]

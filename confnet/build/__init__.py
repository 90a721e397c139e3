"""Plans to modules: the only package, with `confnet.shapes`, that imports torch."""

from confnet.build.construct import construct
from confnet.build.instances import blueprint_of

__all__ = ["blueprint_of", "construct"]

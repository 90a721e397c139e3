"""Plans to modules: the only package, with `confnet.shapes`, that imports torch."""

from confnet.builder.bounds import check_parameters
from confnet.builder.construct import Built, construct
from confnet.builder.inspection import Inspection, inspection
from confnet.builder.instances import blueprint_of

__all__ = ["Built", "Inspection", "blueprint_of", "check_parameters", "construct", "inspection"]

"""All data files of the catalog for the installed torch: `python -m confnet.builder.introspect_torch FILE` writes them.

`confnet.catalog.data` runs this where another torch is installed than the one that the package's data are of.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from confnet.builder import introspect, introspect_docs, introspect_functions
from confnet.whole_files import write_whole

__all__ = ["collect"]


def collect() -> dict[str, Any]:
    """The data files by their names, without what this torch has not."""
    layers = introspect.collect()
    functions = introspect_functions.collect(lenient=True)
    return {
        "layers": layers,
        "functions": functions,
        "documentation": introspect_docs.collect(layers, functions["functions"]),
    }


if __name__ == "__main__":
    write_whole(sys.argv[1], json.dumps(collect()))

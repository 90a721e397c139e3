"""Processes of Python that find the modules which this process finds, and no others. Standard library only.

`python -m` alone looks first into the folder where it is started: whoever puts a `yaml.py` there would have it run.
"""

from __future__ import annotations

import os
import sys

__all__ = ["environment", "python"]


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs a module, to be started in the `environment` below."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**more: str) -> dict[str, str]:
    """The variables of this process, with the places where it finds modules."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path), **more}

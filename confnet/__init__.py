"""confnet: describe PyTorch models as files.

    import confnet

    report = confnet.validate("resnet.yaml", variant="resnet18")
    model = confnet.build("resnet.yaml", variant="resnet18", classes=10)

Importing confnet imports neither torch nor Pydantic; each name is loaded when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confnet.api import BuildRecord as BuildRecord
    from confnet.api import Report as Report
    from confnet.api import build as build
    from confnet.api import dumps as dumps
    from confnet.api import load as load
    from confnet.api import loads as loads
    from confnet.api import materialize as materialize
    from confnet.api import spec_of as spec_of
    from confnet.api import validate as validate
    from confnet.auditing import Audit as Audit
    from confnet.auditing import audit as audit
    from confnet.builder.hook_handles import HookHandle as HookHandle
    from confnet.builder.hook_handles import captured as captured
    from confnet.builder.hook_handles import hooks as hooks
    from confnet.builder.hook_handles import hooks_disabled as hooks_disabled
    from confnet.builder.origins import InitOrigin as InitOrigin
    from confnet.builder.origins import WeightOrigin as WeightOrigin
    from confnet.builder.origins import init_report as init_report
    from confnet.builder.weight_files import save_weights as save_weights
    from confnet.builder.weights import LoadReport as LoadReport
    from confnet.builder.weights import load_report as load_report
    from confnet.catalog.registry import applies as applies
    from confnet.catalog.registry import hook as hook
    from confnet.catalog.registry import initializer as initializer
    from confnet.catalog.registry import register as register
    from confnet.diagnostics import ConfnetError as ConfnetError
    from confnet.diagnostics import Diagnostic as Diagnostic
    from confnet.diagnostics import Span as Span
    from confnet.limits import Limits as Limits
    from confnet.loading import Spec as Spec

__version__ = "0.1.0"

_HOMES = {
    "Audit": "confnet.auditing",
    "BuildRecord": "confnet.api",
    "ConfnetError": "confnet.diagnostics",
    "Diagnostic": "confnet.diagnostics",
    "HookHandle": "confnet.builder.hook_handles",
    "InitOrigin": "confnet.builder.origins",
    "Limits": "confnet.limits",
    "LoadReport": "confnet.builder.weights",
    "Report": "confnet.api",
    "Span": "confnet.diagnostics",
    "Spec": "confnet.loading",
    "WeightOrigin": "confnet.builder.origins",
    "applies": "confnet.catalog.registry",
    "audit": "confnet.auditing",
    "build": "confnet.api",
    "captured": "confnet.builder.hook_handles",
    "dumps": "confnet.api",
    "hook": "confnet.catalog.registry",
    "hooks": "confnet.builder.hook_handles",
    "hooks_disabled": "confnet.builder.hook_handles",
    "init_report": "confnet.builder.origins",
    "initializer": "confnet.catalog.registry",
    "load": "confnet.api",
    "load_report": "confnet.builder.weights",
    "loads": "confnet.api",
    "materialize": "confnet.api",
    "register": "confnet.catalog.registry",
    "save_weights": "confnet.builder.weight_files",
    "spec_of": "confnet.api",
    "validate": "confnet.api",
}

__all__ = [*sorted(_HOMES), "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'confnet' has no attribute '{name}'")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

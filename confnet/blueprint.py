"""What a built module remembers of where it came from: enough to make its classes again in another process."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from confnet.loading import Spec, load_texts
from confnet.pipeline import make_plan
from confnet.plan import Definition, ModulePlan, Plan

__all__ = ["Blueprint"]


@dataclass(frozen=True)
class Blueprint:
    """The texts of a spec and how it was built. Equal blueprints give equal plans.

    `args` is YAML text of the args that the caller set, `plugins` the Python modules that registered what the
    spec uses. Pickling a module pickles this, never code: the texts are checked again where they are loaded.
    """

    texts: tuple[tuple[str, str], ...]
    args: str = ""
    variant: str | None = None
    root: str | None = None
    plugins: tuple[str, ...] = ()

    @cached_property
    def digest(self) -> str:
        """A digest of the texts: classes made from the same texts are the same."""
        return hashlib.sha256(repr(self.texts).encode("utf-8", "surrogatepass")).hexdigest()

    def spec(self) -> Spec:
        """The spec, read again from the texts."""
        return load_texts(dict(self.texts))

    def definition(self, identity: str) -> Definition:
        """The definition of a class, from a plan that is resolved and checked anew, once in a process."""
        return _definitions(self)[identity]

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Blueprint:
        return self


@lru_cache(maxsize=64)
def _definitions(blueprint: Blueprint) -> dict[str, Definition]:
    for plugin in blueprint.plugins:
        importlib.import_module(plugin)
    plan, _ = make_plan(blueprint.spec(), args=blueprint.args, variant=blueprint.variant, root=blueprint.root)
    return definitions(plan)


def definitions(plan: Plan) -> dict[str, Definition]:
    """Every definition that a plan uses, by identity."""
    found: dict[str, Definition] = {}
    seen: set[int] = set()
    waiting: list[object] = [plan.root]
    while waiting:
        module = waiting.pop()
        if not isinstance(module, ModulePlan) or id(module) in seen:
            continue
        seen.add(id(module))
        if module.definition is not None:
            found[module.definition.identity] = module.definition
        waiting += [*module.children.values(), *module.positional, *module.keywords.values()]
    return found

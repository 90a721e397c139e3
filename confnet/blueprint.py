"""What a built module remembers of where it came from: enough to make its classes again in another process."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache
from typing import Any

from confnet.diagnostics import Diagnostic
from confnet.language.code import Code
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, load_texts
from confnet.pipeline import make_plan
from confnet.plan import Definition, HookPlan, ModulePlan, Plan, RulePlan
from confnet.records import dataclass

__all__ = ["Blueprint", "modules_of"]


@dataclass(frozen=True)
class Blueprint:
    """The texts of a spec and how it was built. Equal blueprints give equal plans.

    `args` is YAML text of the args that the caller set, `plugins` the Python modules that registered what the
    spec uses. Pickling a module pickles this, never code: the texts are checked again where they are loaded. The
    code of `guarded` models is bounded, for a trial of a file that nobody has read. `limits` are those of the build:
    what they let through can be made again.
    """

    texts: tuple[tuple[str, str], ...]
    args: str = ""
    variant: str | None = None
    root: str | None = None
    plugins: tuple[str, ...] = ()
    guarded: bool = False
    limits: Limits = DEFAULT_LIMITS

    @cached_property
    def digest(self) -> str:
        """A digest of the texts: classes made from the same texts are the same."""
        return hashlib.sha256(repr((self.texts, self.guarded)).encode("utf-8", "surrogatepass")).hexdigest()

    def traced(self, code: Code) -> Code:
        """The code under the file name that tracebacks show: texts that are no files get one of their own each."""
        if not code.file.startswith("<"):
            return code
        return replace(code, file=self.trace_name(code.file))

    def trace_name(self, file: str) -> str:
        """The name of a file in tracebacks: `<text>` says which text it is."""
        return f"{file[:-1]} {self.digest[:8]}>" if file.startswith("<") else file

    def spec(self) -> Spec:
        """The spec, read again from the texts."""
        return load_texts(dict(self.texts), self.limits)

    def plan(self) -> tuple[Plan, tuple[Diagnostic, ...]]:
        """The plan, resolved and checked anew, and its warnings. Raises ConfnetError."""
        for plugin in self.plugins:
            importlib.import_module(plugin)
        return make_plan(self.spec(), args=self.args, variant=self.variant, root=self.root, limits=self.limits)

    def definition(self, identity: str) -> Definition:
        """The definition of a class, from a plan that is resolved and checked anew, once in a process."""
        return _index(self).definitions[identity]

    def rule(self, place: str) -> RulePlan:
        """The rule that stands at a place of the texts."""
        return _index(self).rules[place]

    def hook(self, place: str) -> HookPlan:
        """The hook that stands at a place of the texts."""
        return _index(self).hooks[place]

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Blueprint:
        return self


@dataclass(frozen=True, slots=True)
class _Index:
    """What a plan holds that modules refer to, by its place in the texts."""

    definitions: dict[str, Definition]
    rules: dict[str, RulePlan]
    hooks: dict[str, HookPlan]


@lru_cache(maxsize=64)
def _index(blueprint: Blueprint) -> _Index:
    plan, _ = blueprint.plan()
    index = _Index({}, {}, {})
    for module in modules_of(plan):
        if module.definition is not None:
            index.definitions[module.definition.identity] = module.definition
        index.rules.update({str(rule.span): rule for rule in module.rules})
        index.hooks.update({str(hook.span): hook for hook in module.hooks})
    return index


def modules_of(plan: Plan) -> Iterator[ModulePlan]:
    """Every module plan once."""
    seen: set[int] = set()
    waiting: list[object] = [plan.root]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list | tuple):
            waiting += value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, ModulePlan) and id(value) not in seen:
            seen.add(id(value))
            yield value
            waiting += [*value.children.values(), *value.positional, *value.keywords.values()]

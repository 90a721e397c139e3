"""What a caller does with confnet: load, validate, build. The pipeline written out in order."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from confnet.blueprint import Blueprint, modules_of
from confnet.catalog.registry import DEFAULT_REGISTRY
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, load_file, load_text, located
from confnet.pipeline import ARGS_FILE, check_library, make_plan
from confnet.plan import Plan
from confnet.render import render_text
from confnet.source import Source, parse, to_text

if TYPE_CHECKING:
    import torch

    from confnet.builder import Built, Inspection
    from confnet.shapes import Memory, ShapeReport

T = TypeVar("T")

__all__ = ["BuildRecord", "Report", "SourceLike", "build", "dumps", "inspect", "load", "loads", "spec_of", "validate"]

TOO_MUCH = ("too-many-errors", "too-many-modules", "too-much-work", "too-much-code")
"""Codes of what is too large to go on with."""

SourceLike = str | os.PathLike[str] | IO[str] | Mapping[str, Any] | Spec
"""A path (a `str` is always one), an open text file, a mapping of plain values, or what `load` returned."""


@dataclass(frozen=True)
class Report:
    """The outcome of `validate`.

    `sources` holds the text of every file that a diagnostic may point into. `shapes` tells for each model that was
    built (the spec as it is, and under each variant) the shapes of its values, or why they are unchecked; a spec that
    cannot be built has none.
    """

    ok: bool
    diagnostics: tuple[Diagnostic, ...]
    sources: Mapping[str, str] = field(default_factory=dict, repr=False)
    shapes: tuple[ShapeReport, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return render_text(self.diagnostics, self.sources) if self.diagnostics else "ok"

    def __bool__(self) -> bool:
        return self.ok


@dataclass(frozen=True)
class BuildRecord:
    """How a model was built: the spec, and the args, variant and root that the caller chose."""

    spec: Spec
    args: Mapping[str, Any]
    variant: str | None
    root: str | None


def load(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> Spec:
    """Read a file and what it includes, and check their form.

    Raises ConfnetError with every mistake of form; names, values and wiring are checked by `validate` and `build`.
    """
    name = os.fspath(path)
    return _rendering(lambda: load_file(Path(name), name, limits))


def loads(text: str, *, name: str = "<text>", limits: Limits = DEFAULT_LIMITS) -> Spec:
    """The same for a text; `name` stands for a file name in diagnostics and tracebacks. Raises ConfnetError."""
    if not isinstance(text, str):
        raise TypeError(f"the text of a spec is a str, not {type(text).__name__}")
    return _rendering(lambda: load_text(text, name, limits))


def validate(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    shapes: bool = True,
    **more: Any,
) -> Report:
    """Check a spec under `args` (or keyword arguments, the same) without changing anything.

    Without `variant` and `root`, a spec is checked as it is and under each of its variants, and one that only
    defines modules is checked definition by definition, as far as their defaults suffice. Whatever is wrong is in
    the report; nothing is raised for a user's mistake. A spec without mistakes is also constructed on the meta
    device, so that what only torch can refuse is found; torch is not imported before that. Where the file says what
    a model takes, its forward is then run there, at several sizes, without any values (unless `shapes` is false).
    """
    shape_reports: list[ShapeReport] = []
    memory: list[Memory] = []
    found: dict[Diagnostic, None] = {}
    sources: dict[str, str] = {}
    try:
        spec = _spec(source, limits)
        sources.update(spec.texts)
        given = {**(args or {}), **more}
        choices = _choices(spec, variant, root, given)
        if not choices:
            found.update(dict.fromkeys(check_library(spec)))
    except ConfnetError as error:
        return _report(located(error.diagnostics, {}), error.sources)
    known: set[tuple[str, str, Span | None]] = set()
    for chosen_variant, chosen_root in choices:
        try:
            checked = _Checked.make(spec, given, chosen_variant, chosen_root, limits)
            sources.update(checked.plan.sources)
            with warnings.catch_warnings():  # torch's remarks on sizes are for whoever builds the model
                warnings.simplefilter("ignore")
                diagnostics = (*checked.warnings, *checked.on_meta(memory if shapes else None, shape_reports))
        except ConfnetError as error:
            sources.update(error.sources)
            diagnostics = error.diagnostics
        for diagnostic in diagnostics:
            fact = (diagnostic.code, diagnostic.message, diagnostic.span)
            if fact not in known:
                known.add(fact)
                found[_under(diagnostic, chosen_variant if variant is None else None)] = None
        if any(diagnostic.code in TOO_MUCH for diagnostic in diagnostics):
            break  # the other variants would only be as large
    return _report(_located(found, sources, spec.sources()), sources, shape_reports)


def _report(found: Iterable[Diagnostic], sources: Mapping[str, str], shapes: Iterable[ShapeReport] = ()) -> Report:
    diagnostics = tuple(found)
    return Report(all(d.severity != "error" for d in diagnostics), diagnostics, sources, tuple(shapes))


def build(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **more: Any,
) -> torch.nn.Module:
    """The module that a spec describes, in train mode.

    `args` (or keyword arguments, the same) set the document's args over those of `variant`; `root` builds one of
    its definitions instead of the document. `device` is where parameters are made (torch's default device when
    None; `"meta"` allocates nothing), `dtype` what floating-point parameters and buffers are converted to.
    Parameters are drawn from torch's global generator, in the order in which hand-written code would draw them.
    Raises ConfnetError with every mistake of the spec.
    """
    return _rendering(
        lambda: (
            _Checked.make(_spec(source, limits), {**(args or {}), **more}, variant, root, limits)
            .construct(device, dtype)
            .module
        )
    )


def inspect(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Inspection:
    """What `nn.Module`'s own inspection finds in a model, each item with the place of the file that it came from.

    The model is built on the meta device. Raises ConfnetError with every mistake of the spec.
    """

    def run() -> Inspection:
        built = _Checked.make(_spec(source, limits), args or {}, variant, root, limits).construct("meta", None)
        from confnet.builder import inspection  # torch, which a wrong spec never needs

        return inspection(built)

    return _rendering(run)


def dumps(spec: SourceLike) -> str:
    """The YAML text of a spec: of its own file, as written, or of a mapping, in canonical form."""
    if isinstance(spec, Mapping):
        return _rendering(lambda: to_text(spec))
    return _spec(spec, DEFAULT_LIMITS).root.source.text


def spec_of(model: torch.nn.Module) -> BuildRecord:
    """The spec, args, variant and root that a module was built with.

    Raises TypeError for a module that confnet did not build (an ordinary layer inside a built model is one).
    """
    from confnet.builder import blueprint_of
    from confnet.source import plain

    blueprint = blueprint_of(model)
    if blueprint is None:
        raise TypeError(f"`{type(model).__name__}` was not built by confnet")
    args = plain(parse(blueprint.args, ARGS_FILE).root) if blueprint.args else {}
    return BuildRecord(blueprint.spec(), args, blueprint.variant, blueprint.root)


@dataclass(frozen=True)
class _Checked:
    """A plan that passed every check, and how to come to it again."""

    plan: Plan
    warnings: tuple[Diagnostic, ...]
    blueprint: Blueprint
    limits: Limits

    @classmethod
    def make(
        cls, spec: Spec, args: Mapping[str, Any], variant: str | None, root: str | None, limits: Limits
    ) -> _Checked:
        for name, value in (("variant", variant), ("root", root)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"`{name}` is a text or None, not {type(value).__name__}")
        text = to_text({name: _plain_arg(value) for name, value in args.items()}) if args else ""
        plan, warnings = make_plan(spec, args=text, variant=variant, root=root, limits=limits)
        blueprint = Blueprint(tuple(spec.texts.items()), text, variant, root, _plugins(plan))
        return cls(plan, warnings, blueprint, limits)

    def on_meta(self, memory: list[Memory] | None, reports: list[ShapeReport]) -> tuple[Diagnostic, ...]:
        """What is wrong with the model as torch sees it: built on meta and, with a `memory`, run there."""
        trial = replace(self, blueprint=replace(self.blueprint, guarded=True))
        built = trial.construct("meta", None)
        if memory is None:
            return built.warnings
        from confnet.builder.guard import budget
        from confnet.shapes import Memory, check_shapes

        memory[:] = memory or [Memory()]
        waiting = [built]
        with budget(steps=1_000_000, seconds=30):
            report, found = check_shapes(
                trial.plan,
                trial.blueprint,
                lambda: waiting.pop() if waiting else trial.construct("meta", None),
                memory[0],
            )
        reports.append(report)
        return (*built.warnings, *found)

    def construct(self, device: torch.device | str | None, dtype: torch.dtype | None) -> Built:
        from confnet.builder import check_parameters, construct

        try:
            if self.limits.parameters is not None:  # before anything is allocated
                check_parameters(construct(self.plan, self.blueprint, device="meta"), self.limits.parameters)
            return construct(self.plan, self.blueprint, device=device, dtype=dtype)
        except ConfnetError as error:
            raise ConfnetError(error.diagnostics, {**self.plan.sources, **error.sources}) from error.__cause__


def _choices(
    spec: Spec, variant: str | None, root: str | None, args: Mapping[str, Any]
) -> list[tuple[str | None, str | None]]:
    """The variants and roots to check a spec under: those that are named, or all that can stand by themselves."""
    document = spec.document
    if variant is not None or root is not None:
        return [(variant, root)]
    if document.root is None:
        definitions = [
            d for d in document.modules if all(a.has_default for a in (d.module.body.args if d.module.body else ()))
        ]
        return [(None, definition.name) for definition in definitions]
    required = [arg.name for arg in document.args if not arg.has_default and arg.name not in args]
    bare: list[tuple[str | None, str | None]] = [] if required and document.variants else [(None, None)]
    return [*bare, *((item.name, None) for item in document.variants)]


def _under(diagnostic: Diagnostic, variant: str | None) -> Diagnostic:
    """The diagnostic with a note of the variant that it was found under."""
    if variant is None:
        return diagnostic
    return replace(diagnostic, notes=(*diagnostic.notes, Note(f"under the variant `{variant}`")))


def _spec(source: SourceLike, limits: Limits) -> Spec:
    if not isinstance(limits, Limits):
        raise TypeError(f"`limits` is a confnet.Limits, not {type(limits).__name__}")
    if isinstance(source, Spec):
        return source
    if isinstance(source, Mapping):
        return load_text(to_text(source), "<mapping>", limits)
    if isinstance(source, str | os.PathLike):
        name = os.fspath(source)
        if not isinstance(name, str):
            raise TypeError("a path is text, not bytes")
        return load_file(Path(name), name, limits)
    if hasattr(source, "read"):
        name = getattr(source, "name", "<text>")
        text = source.read()
        if not isinstance(text, str):
            raise TypeError("the file must be open for text, not bytes")
        return load_text(text, name if isinstance(name, str) else "<text>", limits)
    raise TypeError(f"a spec is a path, an open text file, a mapping or a Spec, not {type(source).__name__}")


def _plain_arg(value: Any) -> Any:
    """A caller's argument as a value of a file: dtypes by their names."""
    if re.fullmatch(r"torch\.[a-z]\w*", repr(value)) and type(value).__name__ == "dtype":
        return repr(value)
    return value


def _plugins(plan: Plan) -> tuple[str, ...]:
    """The Python modules that registered what a plan uses."""
    registry = DEFAULT_REGISTRY
    used: dict[str, None] = {}
    for module in modules_of(plan):
        layer = registry.layers.get(module.base)
        if layer is not None and layer.cls is not None:
            used[layer.cls.__module__] = None
        inits = [parameter.init for parameter in module.parameters.values() if parameter is not None and parameter.init]
        inits += [init for rule in module.rules for init in rule.init.values()]
        functions = [registry.initializers.get(init.name) for init in inits]
        functions += [registry.applies.get(call.name) for rule in module.rules for call in rule.calls]
        functions += [registry.hooks.get(hook.call.name) for hook in module.hooks if hook.call is not None]
        used.update({function.call.__module__: None for function in functions if function is not None})
    used.update({function.call.__module__: None for function in registry.functions.values()})  # code may call any
    used.pop("__main__", None)
    return tuple(used)


def _located(
    diagnostics: Iterable[Diagnostic], sources: Mapping[str, str], known: Mapping[str, Source]
) -> tuple[Diagnostic, ...]:
    """The same diagnostics, sorted, each with the path of the value it stands in; `known` are sources as read."""
    diagnostics = tuple(diagnostics)
    read = dict(known)
    for file in {d.span.file for d in diagnostics if d.span is not None and not d.path} - read.keys():
        # What cannot be read is what the diagnostic is about.
        with suppress(ConfnetError, KeyError):
            read[file] = parse(sources[file], file)
    return located(diagnostics, read)


def _rendering(run: Callable[[], T]) -> T:
    """Run a stage; a ConfnetError that leaves it reads as the command would print it."""
    try:
        return run()
    except ConfnetError as error:
        error.diagnostics = _located(error.diagnostics, error.sources, {})
        error.rendered = render_text(error.diagnostics, error.sources)
        raise

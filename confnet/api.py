"""What a caller does with confnet: load, validate, build. The pipeline written out in order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from confnet.checked import Checked, Seeds, choices
from confnet.collector import uncollected
from confnet.diagnostics import ConfnetError, Diagnostic, Note, Span
from confnet.given import SourceLike, located_in, rendering, spec_from
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, load_file, load_text, located
from confnet.pipeline import ARGS_FILE, check_library, make_plan
from confnet.provenance import Explanation
from confnet.provenance import explain as explained
from confnet.records import dataclass
from confnet.render import render_text
from confnet.source import parse, to_text

if TYPE_CHECKING:
    import torch

    from confnet.builder import Inspection
    from confnet.builder.weights import RenameLike, WeightsLike
    from confnet.overview import Overview
    from confnet.shapes import Memory, ShapeReport
    from confnet.wiring import Trace, Untraced

__all__ = [
    "BuildRecord",
    "Report",
    "SourceLike",
    "build",
    "dumps",
    "explain",
    "inspect",
    "load",
    "loads",
    "materialize",
    "overview",
    "spec_of",
    "trace",
    "validate",
]

TOO_MUCH = ("too-many-errors", "too-many-modules", "too-much-work", "too-much-code")
"""Codes of what is too large to go on with."""


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
    return rendering(lambda: load_file(Path(name), name, limits))


def loads(text: str, *, name: str = "<text>", limits: Limits = DEFAULT_LIMITS) -> Spec:
    """The same for a text; `name` stands for a file name in diagnostics and tracebacks. Raises ConfnetError."""
    if not isinstance(text, str):
        raise TypeError(f"the text of a spec is a str, not {type(text).__name__}")
    return rendering(lambda: load_text(text, name, limits))


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
    a model takes, its forward is then run there, at several sizes, without any values.

    Unless `shapes`, only that is checked which needs no torch: nothing is constructed and nothing run, and torch is
    not imported (but to count, where `limits.parameters` asks for it).
    """
    with uncollected():
        return _validate(source, variant, root, {**(args or {}), **more}, limits, shapes)


def _validate(
    source: SourceLike,
    variant: str | None,
    root: str | None,
    given: Mapping[str, Any],
    limits: Limits,
    shapes: bool,
) -> Report:
    constructs = shapes or limits.parameters is not None
    shape_reports: list[ShapeReport] = []
    memory: list[Memory] = []
    found: dict[Diagnostic, None] = {}
    sources: dict[str, str] = {}
    try:
        spec = spec_from(source, limits)
        sources.update(spec.texts)
        chosen = choices(spec, variant, root, given)
        if not chosen:
            found.update(dict.fromkeys(check_library(spec)))
    except ConfnetError as error:
        return _report(located(error.diagnostics, {}), error.sources)
    known: set[tuple[str, str, Span | None]] = set()
    tried: list[Checked] = []
    for chosen_variant, chosen_root in chosen:
        try:
            checked = Checked.make(spec, given, chosen_variant, chosen_root, limits)
            sources.update(checked.plan.sources)
            with warnings.catch_warnings():  # torch's remarks on sizes are for whoever builds the model
                warnings.simplefilter("ignore")
                same = next((index for index, other in enumerate(tried) if checked.is_like(other)), None)
                if not constructs:
                    diagnostics = checked.warnings
                elif same is None:
                    diagnostics = (*checked.warnings, *checked.on_meta(memory if shapes else None, shape_reports))
                else:  # the variant says what is the case anyhow, and what was found holds for it as well
                    diagnostics = checked.warnings
                    shape_reports += [replace(report, variant=chosen_variant) for report in shape_reports[same:][:1]]
                tried.append(checked)
        except ConfnetError as error:
            sources.update(error.sources)
            diagnostics = error.diagnostics
            if chosen_root != root and {d.code for d in diagnostics} == {"auto-without-inputs"}:
                diagnostics = checked.warnings  # of a library: the sizes come from whoever uses the definition
        for diagnostic in diagnostics:
            fact = (diagnostic.code, diagnostic.message, diagnostic.span)
            if fact not in known:
                known.add(fact)
                found[_under(diagnostic, chosen_variant if variant is None else None)] = None
        if any(diagnostic.code in TOO_MUCH for diagnostic in diagnostics):
            break  # the other variants would only be as large
    return _report(located_in(found, sources, spec.sources()), sources, shape_reports)


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
    seed: int | None = None,
    seeding: str = "parameter",
    weights: WeightsLike | None = None,
    rename: RenameLike | None = None,
    strict: bool = True,
    weights_format: str = "safetensors",
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    **more: Any,
) -> torch.nn.Module:
    """The module that a spec describes, in train mode.

    `args` (or keyword arguments, the same) set the document's args over those of `variant`; `root` builds one of
    its definitions instead of the document. `device` is where parameters are made (torch's default device when
    None; `"meta"` allocates nothing: `materialize` gives such a model its values later), `dtype` what floating-point
    parameters and buffers are converted to.

    Every parameter is drawn once, from a stream that derives from `seed` and the parameter's name. Without a `seed`
    one is drawn from torch's global generator. `seeding="cpu"` draws on the CPU, the same bits for every device;
    `seeding="torch"` constructs in order and draws from the global generator, as hand-written code does.

    `weights` (a safetensors file, an index of shards, a folder that has one, or tensors by name) are loaded instead,
    their keys renamed by the patterns of `rename`. Every name must have its partner of the same shape; unless
    `strict`, what is missing is initialised. `weights_format="torch"` reads files of `torch.save`, without code.
    Raises ConfnetError with every mistake of the spec, or of the weights.
    """
    seeds = Seeds(seed, seeding)

    def run() -> torch.nn.Module:
        checked = Checked.make(spec_from(source, limits), {**(args or {}), **more}, variant, root, limits)
        if weights is None:
            return checked.construct(device, dtype, seeds).module
        from confnet.builder import Weights  # torch, which a wrong spec never needs

        return checked.load(Weights(weights, rename, strict, weights_format), device, dtype, seeds).module

    return rendering(run)


def materialize(
    model: torch.nn.Module,
    device: torch.device | str | None = None,
    *,
    seed: int | None = None,
    seeding: str = "parameter",
    weights: WeightsLike | None = None,
    rename: RenameLike | None = None,
    strict: bool = True,
    weights_format: str = "safetensors",
) -> torch.nn.Module:
    """Give a model that was built on the meta device its values on `device` (None: torch's default), and return it.

    The values are those that `build` with the same arguments gives. What is not on meta any more stays as it is, as
    do dtypes, `requires_grad`, ties and hooks as they are now. Raises TypeError for a module that is not the root of a
    build, ValueError where one of its tensors is none of its file's, ConfnetError for weights that do not fit.
    """
    seeds = Seeds(seed, seeding)

    def run() -> torch.nn.Module:
        from confnet.builder import Weights, blueprint_of, give_values, is_root

        blueprint = blueprint_of(model)
        if blueprint is None or not is_root(model):
            raise TypeError(f"`{type(model).__name__}` is not the root of a model that confnet built")
        checked = Checked.again(blueprint)
        if weights is None:
            twin = checked.construct(device, None, seeds)
        else:
            twin = checked.load(Weights(weights, rename, strict, weights_format), device, None, seeds)
        give_values(model, twin)
        return model

    return rendering(run)


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
        built = Checked.make(spec_from(source, limits), args or {}, variant, root, limits).construct("meta", None)
        from confnet.builder import inspection  # torch, which a wrong spec never needs

        return inspection(built)

    return rendering(run)


def overview(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    sizes: Mapping[str, int] | None = None,
    dtype: torch.dtype | str | None = None,
    step: Callable[[str], None] = lambda _: None,
) -> Overview:
    """What a model consists of and what it costs: the tree of its modules with shapes, parameters, FLOPs and memory.

    FLOPs and saved activations are those of one forward at `sizes` of the inputs; those that are left out get common
    ones. Of what cannot be run, `reasons` say why. Parameters, buffers and inputs are converted to `dtype`. `step` is
    told what is done next. Raises ConfnetError with every mistake of the spec, ValueError for sizes that the model
    does not have or take, TypeError for a dtype that parameters cannot have.
    """

    def run() -> Overview:
        checked = Checked.make(spec_from(source, limits), args or {}, variant, root, limits)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return checked.overview(dtype, sizes or {}, step)

    return rendering(run)


def explain(
    source: SourceLike,
    name: str,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
    step: Callable[[str], None] = lambda _: None,
) -> Explanation:
    """Where a module, parameter, buffer, input or output of a model comes from, and who decided what it is.

    `name` is dotted, as in `named_modules()`; empty for the model itself. Raises ConfnetError with every mistake of
    the spec, LookupError (with what is near) for a name that the model does not have.
    """

    def run() -> Explanation:
        spec = spec_from(source, limits)
        given = Checked.make(spec, args or {}, variant, root, limits).blueprint.args
        plan, _ = make_plan(spec, args=given, variant=variant, root=root, limits=limits, record=True)
        chosen: dict[str, Any] = {"variant": variant, "root": root, "args": args, "limits": limits}
        step("building and running on meta")
        return explained(plan, inspect(spec, **chosen), trace(spec, **chosen), name, variant)

    return rendering(run)


def trace(
    source: SourceLike,
    *,
    variant: str | None = None,
    root: str | None = None,
    args: Mapping[str, Any] | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> Trace | Untraced:
    """The wiring of a model: every step of its forward in order, the values between them with their symbolic sizes.

    The forward is run on the meta device, in the plainest way that its `inputs` allow; `Untraced` says why it cannot
    be. Raises ConfnetError with every mistake of the spec.
    """

    def run() -> Trace | Untraced:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on sizes are for whoever builds the model
            return Checked.make(spec_from(source, limits), args or {}, variant, root, limits).traced

    return rendering(run)


def dumps(spec: SourceLike) -> str:
    """The YAML text of a spec: of its own file, as written, or of a mapping, in canonical form."""
    if isinstance(spec, Mapping):
        return rendering(lambda: to_text(spec))
    return spec_from(spec, DEFAULT_LIMITS).root.source.text


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


def _under(diagnostic: Diagnostic, variant: str | None) -> Diagnostic:
    """The diagnostic with a note of the variant that it was found under."""
    if variant is None:
        return diagnostic
    return replace(diagnostic, notes=(*diagnostic.notes, Note(f"under the variant `{variant}`")))

"""What composites and containers hold: names, repeats and modules, in the order of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Mapping as AnyMapping
from dataclasses import replace

from confnet.catalog.types import UNKNOWN_VALUE
from confnet.diagnostics import Span
from confnet.language.names import MODULE_ATTRIBUTES
from confnet.plan import ModulePlan, Share, total_size
from confnet.resolve.arguments import Modules
from confnet.resolve.places import Place, Reports, TooLarge
from confnet.source import Scalar
from confnet.spec.models import BodySpec, ItemSpec, LayerSpec, RepeatSpec
from confnet.spec.words import is_identifier, name_help
from confnet.values import Values

__all__ = ["Content"]

_METHODS = {
    "ModuleDict": ("keys", "values", "items", "pop", "clear", "update"),
    "ModuleList": ("append", "extend", "insert", "pop"),
    "Sequential": ("append", "extend", "insert", "pop"),
}
"""The methods of each container that torch lets no item be named after."""

Held = tuple[str | None, ModulePlan | Share | None, Span]
"""A module, the name that it has (None in a list), and where it stands."""


class Content(Reports):
    """Expands `children` and the items of containers; `counted` bounds what a repeat may ask for."""

    def __init__(
        self,
        values: Values,
        modules: Modules,
        limit: int,
        counted: Callable[[Span, Place, int], None],
        record: bool = False,
    ) -> None:
        self.values, self.modules, self.limit, self.counted, self.record = values, modules, limit, counted, record
        self.steps_taken = 0  # a repeat within a repeat multiplies, also where its steps make no module

    def children(self, body: BodySpec, place: Place) -> tuple[dict[str, ModulePlan | Share | None], dict[str, Span]]:
        """The children of a composite, and where each stands."""
        found: dict[str, ModulePlan | Share | None] = {}
        places: dict[str, Span] = {}
        for name, plan, span in self.expand(body.children or (), place):
            assert name is not None
            if name in found:
                self.error(
                    "duplicate-name", f"the child `{name}` stands twice", span, place, help="rename one of the two"
                )
            elif self.attribute(name, span, place, "a child") or name in MODULE_ATTRIBUTES:
                found[name] = plan  # under a reserved name as well: code that uses it is not wrong once more
                places[name] = span
        return found, places

    def container(self, layer: LayerSpec, place: Place) -> ModulePlan:
        children: dict[str, ModulePlan | Share | None] = {}
        places: dict[str, Span] = {}
        base = layer.name.text
        for name, plan, span in self.expand(layer.items or (), place):
            if plan is None:  # a container has no attribute to be None: the item is left out
                continue
            key = str(len(children)) if name is None else name
            if key in children:
                self.error(
                    "duplicate-name", f"the item `{key}` stands twice", span, place, help="rename one of the two"
                )
            elif name is None or self.item_name(key, base, span, place):
                children[key] = plan
                places[key] = span
        plan = ModulePlan(base, layer.span, children=children, places=places, chain=place.names.chain)
        return replace(plan, size=1 + total_size(children.values()))

    # --- repeats ----------------------------------------------------------------------------------------------------

    def expand(self, items: Sequence[ItemSpec], place: Place) -> Iterable[Held]:
        """The modules of a list or mapping, repeats expanded in place."""
        for item in items:
            if item.repeat is not None:
                yield from self.repeated(item.repeat, item.name, place)
            elif item.module is not None:
                name = self.values.text(item.name, place.names) if item.name else None
                yield name, self.modules.optional(item.module, place), item.span if item.name else item.module.span

    def repeated(self, repeat: RepeatSpec, pattern: Scalar | None, place: Place) -> Iterable[Held]:
        if not self.values.condition(repeat.when, place.names):
            return
        steps = self.steps(repeat, place)
        if repeat.module is not None and pattern is not None and "$" not in pattern.text and len(steps) > 1:
            variable = repeat.variable.text if repeat.variable is not None else "i"
            self.error(
                "invalid-repeat",
                f"the {len(steps)} modules of this repeat have one name, `{pattern.text}`",
                pattern.span,
                place,
                help=f"make the key a pattern, such as `{pattern.text}_${variable}`",
            )
            steps = steps[:1]
        made: list[Held] = []
        for index, step in enumerate(steps):
            self.steps_taken += 1
            if self.steps_taken > self.limit:
                message = f"the repeats of the file take more than {self.limit:,} steps"
                self.error("too-many-modules", message, repeat.count.span, place)
                raise TooLarge
            if made and repeat.variable is None:  # every step is as the first
                self.counted(repeat.count.span, place, total_size(plan for _, plan, _ in made))
            else:
                names = {repeat.variable.text: step} if repeat.variable is not None else {}
                origins = None
                if self.record:
                    origins = dict.fromkeys(names, place.names.origin("repeat", repeat.count, step))
                made = list(self.step(repeat, pattern, place.with_names(names, origins)))
            yield from made if not self.record else (_numbered(held, index, repeat, step, place) for held in made)

    def step(self, repeat: RepeatSpec, pattern: Scalar | None, inner: Place) -> Iterable[Held]:
        """The modules of one step of a repeat."""
        if repeat.module is None:
            yield from self.expand(repeat.children or (), inner)
            return
        name = self.values.text(pattern, inner.names) if pattern else None
        yield name, self.modules.optional(repeat.module, inner), pattern.span if pattern else repeat.module.span

    def steps(self, repeat: RepeatSpec, place: Place) -> Sequence[object]:
        value = self.values.value(repeat.count, place.names)
        if value is UNKNOWN_VALUE:
            return ()
        if isinstance(value, int) and not isinstance(value, bool):
            if value < 0:
                self.error("invalid-repeat", f"a repeat cannot have {value} steps", repeat.count.span, place)
                return ()
            if value > self.limit:
                self.counted(repeat.count.span, place, value)
            return range(value)
        if isinstance(value, list | tuple | range):
            return list(value)
        self.error(
            "invalid-repeat", f"`repeat` takes a number or a list of values, not `{value}`", repeat.count.span, place
        )
        return ()

    # --- names ------------------------------------------------------------------------------------------------------

    def attribute(self, name: str, span: Span, place: Place, what: str) -> bool:
        """Whether a name may be an attribute of a composite.

        A child may be called `self`, as BERT's is: code says `self.self`, and a bare `self` is always the module.
        """
        if not is_identifier(name) and (name, what) != ("self", "a child"):
            self.error("invalid-name", f"`{name}` cannot name {what}", span, place, help=name_help(name))
        elif name in MODULE_ATTRIBUTES:
            self.error(
                "reserved-name",
                f"`{name}` is an attribute of every `nn.Module`",
                span,
                place,
                help="choose another name",
            )
        else:
            return True
        return False

    def item_name(self, name: str, base: str, span: Span, place: Place) -> bool:
        """Whether a name may be a key of a container."""
        if not name or "." in name:
            help = (
                f"a dot separates the names of a path; write `{name.replace('.', '_')}`" if name else "give it a name"
            )
            self.error("invalid-name", f"`{name}` cannot name an item", span, place, help=help)
        elif name in MODULE_ATTRIBUTES or name in _METHODS[base] or name.startswith(("__", "_confnet_")):
            self.error(
                "reserved-name", f"`{name}` is an attribute of every `{base}`", span, place, help="choose another name"
            )
        else:
            return True
        return False

    def clashes(self, body: BodySpec, children: AnyMapping[str, object], place: Place) -> set[str]:
        """The names used twice: children, parameters, buffers and methods of one module share one set of names."""
        found = set()
        taken = dict.fromkeys(children, "child")
        groups: list[tuple[str, Iterable[Scalar]]] = [
            ("parameter", [p if isinstance(p, Scalar) else p.name for p in body.parameters or ()]),
            ("buffer", [b if isinstance(b, Scalar) else b.name for b in body.buffers or ()]),
            ("method", [m.name for m in body.methods]),
        ]
        for what, names in groups:
            for name in names:
                if name.text in taken:
                    self.error(
                        "duplicate-name",
                        f"`{name.text}` is a {taken[name.text]} and a {what}",
                        name.span,
                        place,
                        help="rename one of the two",
                    )
                    found.add(name.text)
                elif what == "method" or self.attribute(name.text, name.span, place, f"a {what}"):
                    taken[name.text] = what
        return found


def _numbered(held: Held, index: int, repeat: RepeatSpec, step: object, place: Place) -> Held:
    """A module that knows which step of a repeat it is."""
    name, plan, span = held
    if not isinstance(plan, ModulePlan):
        return held
    variable = f", `{repeat.variable.text}` is {step}" if repeat.variable is not None else ""
    found = place.names.origin("repeat", repeat.count, index)
    text = f"step {index} of `repeat: {found.text}`{variable}"
    return name, replace(plan, steps=(*plan.steps, replace(found, text=text))), span

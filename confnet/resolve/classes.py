"""Classes: what all instances of a definition share."""

from __future__ import annotations

from collections.abc import Iterable

from confnet.plan import Definition, Input, Method
from confnet.resolve.content import Content
from confnet.resolve.places import NO_BODY, Place
from confnet.source import Mapping, Scalar, plain
from confnet.spec.models import BodySpec, BufferSpec, InputSpec, MethodSpec, ModuleSpec, ParameterSpec
from confnet.spec.words import camel_case, is_layer_key
from confnet.values import code_of, mentioned

__all__ = ["Classes"]


class Classes:
    """Makes each class once, and tells what its code may read of an instance's surroundings."""

    def __init__(self, content: Content) -> None:
        self.content = content
        self.made: dict[tuple[int, str], Definition] = {}
        self.kept: list[ModuleSpec] = []  # objects whose id() is part of a key of `made`

    def definition(self, spec: ModuleSpec, base: str, place: Place) -> Definition:
        """The class of a composite or named subclass, made once."""
        key = (id(spec), base)
        if key in self.made:
            return self.made[key]
        self.kept.append(spec)  # a module among arguments is read for one use, and nobody else keeps it
        body = spec.body or NO_BODY
        inputs = self.inputs(body.inputs, place)
        methods: dict[str, Method] = {}
        if body.forward is not None:
            methods["forward"] = Method("forward", inputs, code_of(body.forward, "body"))
        methods.update(self.methods(body.methods, place))
        description = str(body.description.value) if isinstance(body.description, Scalar) else ""
        name = spec.label if is_layer_key(spec.label) else camel_case(spec.label)
        identity = f"{spec.span.file}:{spec.span.line}:{spec.span.column}:{base}"
        names = frozenset(place.names.table)
        members = frozenset({*methods, *_written_names(body)})
        made = self.made[key] = Definition(name, identity, base, methods, names, members, description, spec.span)
        return made

    def methods(self, specs: Iterable[MethodSpec], place: Place) -> dict[str, Method]:
        """The methods by name; one that may not be called so is reported, and kept for the code that calls it."""
        found: dict[str, Method] = {}
        for spec in specs:
            name = spec.name.text
            if name == "forward":
                self.content.error(
                    "reserved-name",
                    "`forward` is no further method",
                    spec.span,
                    place,
                    help="write `forward:` beside `methods:`",
                )
                continue
            self.content.attribute(name, spec.span, place, "a method")
            found[name] = Method(name, self.inputs(spec.inputs, place), code_of(spec.forward, "body"))
        return found

    def inputs(self, specs: tuple[InputSpec, ...] | None, place: Place) -> tuple[Input, ...]:
        if specs is None:
            return (Input("x", True),)
        return tuple(self.input(spec, place) for spec in specs)

    def input(self, spec: InputSpec, place: Place) -> Input:
        default = None
        if spec.has_default and spec.default is not None:
            default = plain(spec.default)
            if _mentions_dollar(default):
                self.content.error(
                    "invalid-default",
                    "the default of an input is the same for every instance",
                    spec.default.span,
                    place,
                    help="write the value itself, or read the arg in the code",
                )
        return Input(spec.name, not spec.has_default, default, spec, spec.span)

    def read_constants(self, spec: ModuleSpec, place: Place) -> dict[str, object]:
        """The args and constants that the code of a body may read: every name in force that the code mentions."""
        body = spec.body or NO_BODY
        texts = [str(body.forward.value)] if body.forward is not None else []
        texts += [str(method.forward.value) for method in body.methods]
        texts += [
            str(b.value.value) for b in body.buffers or () if isinstance(b, BufferSpec) and isinstance(b.value, Scalar)
        ]
        inits = (p.init for p in body.parameters or () if isinstance(p, ParameterSpec))
        texts += [str(plain(init)) for init in inits if isinstance(init, Mapping)]
        hooks = (spec.modifiers.hooks if spec.modifiers is not None else None) or ()
        rules = (spec.modifiers.apply if spec.modifiers is not None else None) or ()
        texts += [str(hook.do.value) for hook in hooks if hook.do is not None]
        texts += [str(plain(rule.init)) for rule in rules if isinstance(rule.init, Mapping)]
        return mentioned(texts, place.names)


def _written_names(body: BodySpec) -> Iterable[str]:
    """The names of children, parameters and buffers that hold no `$`."""
    keys: list[Scalar | None] = [item.name for item in body.children or ()]
    keys += [
        item if isinstance(item, Scalar) else item.name for item in (*(body.parameters or ()), *(body.buffers or ()))
    ]
    return [key.text for key in keys if key is not None and "$" not in key.text]


def _mentions_dollar(value: object) -> bool:
    if isinstance(value, list):
        return any(_mentions_dollar(item) for item in value)
    if isinstance(value, dict):
        return any(_mentions_dollar(item) for item in value.values())
    return isinstance(value, str) and "$" in value.replace("$$", "")

"""The plan of a model: what a document means once every argument, include, repeat and `when` is settled.

Frozen data without torch objects: printable, comparable by eye, made and checked without torch. `confnet.resolve`
makes it, `confnet.check` checks its wiring, `confnet.builder` turns it into modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import field
from typing import Protocol

from confnet.diagnostics import Note, Span
from confnet.language.code import Code
from confnet.records import dataclass

__all__ = [
    "AUTO",
    "BROKEN",
    "CONTAINERS",
    "Auto",
    "BufferPlan",
    "CallPlan",
    "DTypeName",
    "Definition",
    "HookPlan",
    "InitPlan",
    "Input",
    "LayerName",
    "Method",
    "ModulePlan",
    "Origin",
    "ParameterPlan",
    "Plan",
    "RulePlan",
    "Selector",
    "Share",
    "Tie",
    "total_size",
]


@dataclass(frozen=True, slots=True)
class DTypeName:
    """A dtype as a value: `float32` stands for `torch.float32`."""

    name: str


@dataclass(frozen=True, slots=True)
class LayerName:
    """A layer as a value of an argument of type `layer`: the name, and the document it was written in."""

    name: str
    scope: object = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Auto:
    """The value of an argument whose number torch is to infer (`confnet.auto`)."""

    def __str__(self) -> str:
        return "auto"


AUTO = Auto()


@dataclass(frozen=True, slots=True)
class Input:
    """One input of a forward or method. `contract` is what the file says of it, unevaluated (shape, dtype, range)."""

    name: str
    required: bool
    default: object = None
    contract: object = None
    span: Span | None = None


class SizeExpression(Protocol):
    """An expression of the `$` language, as far as a plan needs it."""

    def evaluate(self, names: Mapping[str, object]) -> object:
        """The value over these names; raises LanguageError."""


@dataclass(frozen=True, slots=True, eq=False)
class Size:
    """One size of a contract: a number, unchecked (None), or an expression over symbolic sizes.

    `symbols` are the capitalised names that it leaves open, `names` the values of the args that it reads.
    """

    text: str
    span: Span
    value: int | SizeExpression | None
    symbols: tuple[str, ...] = ()
    names: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ValueContract:
    """What a file says of one value that goes in or comes out, under the args of one instance.

    `shape` None leaves the shape open; `item` is the shape of every item of a list. `low` and `high` (exclusive)
    bound the values of an integer tensor.
    """

    name: str
    span: Span
    shape: tuple[Size, ...] | None = None
    item: tuple[Size, ...] | None = None
    dtype: str | None = None
    low: float | None = None
    high: float | None = None
    type: str | None = None
    required: bool = True
    default: object = None


@dataclass(frozen=True, slots=True, eq=False)
class Contract:
    """What a file says of a forward or method: None where it says nothing of the inputs, or of what is returned."""

    inputs: tuple[ValueContract, ...] | None
    outputs: tuple[ValueContract, ...] | None


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A forward or a further method: its inputs and its code."""

    name: str
    inputs: tuple[Input, ...]
    code: Code


@dataclass(frozen=True, slots=True, eq=False)
class Definition:
    """A class to be made once: instances differ by their attributes only.

    `identity` is the same in every process for the same text: the place of the definition inside its document.
    `base` is "Module" for a composite, else the layer or container that it names. `constants` are the names of the
    args, `let` and `repeat` variables that its code may read, `members` those that the file writes of children,
    parameters, buffers and methods (computed names are not among them).
    """

    name: str
    identity: str
    base: str
    methods: Mapping[str, Method]
    constants: frozenset[str]
    members: frozenset[str]
    description: str
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class InitPlan:
    """An initialiser with its arguments, or (with `code`) the code of a value and the args that it reads."""

    name: str
    positional: tuple[object, ...]
    keywords: Mapping[str, object]
    code: Code | None
    constants: Mapping[str, object]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class ParameterPlan:
    """A parameter of a composite: its shape, its dtype and the initialiser that the file gives it."""

    shape: tuple[int, ...]
    dtype: str | None
    requires_grad: bool
    init: InitPlan | None
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class BufferPlan:
    """A buffer of a composite: a value, code that computes one, or a shape and a fill."""

    value: object
    code: Code | None
    shape: tuple[int, ...] | None
    dtype: str | None
    persistent: bool
    span: Span


@dataclass(frozen=True, slots=True)
class Share:
    """A second name for the module at `path` of the enclosing composite."""

    path: str
    span: Span


@dataclass(frozen=True, slots=True)
class Tie:
    """`name` takes the Parameter at `to`; both are dotted paths inside the composite that says so."""

    name: str
    to: str
    span: Span
    to_span: Span


@dataclass(frozen=True, slots=True)
class Selector:
    """Which modules a rule or hook means: those of one of the `types` (globs over class names, matched as isinstance
    does) under one of the `names` (globs over dotted names, `*` one segment, `**` any number), and not `exclude`."""

    types: tuple[str, ...] | None = None
    names: tuple[str, ...] | None = None
    exclude: Selector | None = None


@dataclass(frozen=True, slots=True, eq=False)
class CallPlan:
    """A call of something by name: a registered function, a hook, a parametrization."""

    name: str
    positional: tuple[object, ...]
    keywords: Mapping[str, object]
    span: Span


@dataclass(frozen=True, slots=True, eq=False)
class RulePlan:
    """One rule of `apply`, or what stands beside one module (`where` means that module alone then).

    `init` gives initialisers by the name of the parameter, `parametrize` parametrizations by it, in order.
    `settings` are attributes to set. `chain` tells through which places the rule came to be.
    """

    where: Selector | None
    span: Span
    init: Mapping[str, InitPlan] = field(default_factory=dict)
    parametrize: Mapping[str, CallPlan] = field(default_factory=dict)
    requires_grad: bool | None = None
    extra_repr: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    setting_spans: Mapping[str, Span] = field(default_factory=dict)
    methods: Mapping[str, Method] = field(default_factory=dict)
    dtype: str | None = None
    calls: tuple[CallPlan, ...] = ()
    chain: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HookPlan:
    """One hook: its kind, the modules it is registered on, and what it runs (`call` or `code`).

    `tensor` is a parameter's name, `output` or `input` for the kinds that belong to tensors. `constants` are the
    args that the code reads. A hook written `in_body` of a definition may read the definition's own state as well.
    """

    kind: str
    where: Selector | None
    name: str
    call: CallPlan | None
    code: Code | None
    tensor: str | None
    options: Mapping[str, bool]
    constants: Mapping[str, object]
    in_body: bool
    span: Span
    chain: tuple[Note, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """Where the value of an argument or name comes from; plans have it where `make_plan` is asked to record it.

    `kind` is what decided: a `call` in the file, the `default` of a definition or document, a `variant`, the caller
    (`set`), a constant (`let`) or a `repeat`. `text` is what stands at `span`; `uses` are the names that it reads.
    """

    kind: str
    text: str
    span: Span
    value: object
    uses: Mapping[str, Origin] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ModulePlan:
    """One module of the model.

    `base` is the layer whose constructor runs ("Module" for a composite), called with `positional` and `keywords`.
    Containers and composites hold `children`; None stands where `when` was false in `children`. `constants` are
    the args and `let` that the code of its definition may read, `own_args` those that belong to the definition
    itself, `given` the names of the args that its first call gives. `chain` tells through which places it came to be,
    `size` how many modules it makes, itself included.
    `places` are where the children stand in it (the span of an instance of a definition is the definition's).
    `contracts` are those of its forward and methods, by name. `origins` are those of its arguments by name, and
    `steps` those of the repeats that it is a step of, where they are recorded.
    """

    base: str
    span: Span
    definition: Definition | None = None
    positional: tuple[object, ...] = ()
    keywords: Mapping[str, object] = field(default_factory=dict)
    children: Mapping[str, ModulePlan | Share | None] = field(default_factory=dict)
    parameters: Mapping[str, ParameterPlan | None] = field(default_factory=dict)
    buffers: Mapping[str, BufferPlan | None] = field(default_factory=dict)
    constants: Mapping[str, object] = field(default_factory=dict)
    own_args: tuple[str, ...] = ()
    given: tuple[str, ...] = ()
    ties: tuple[Tie, ...] = ()
    rules: tuple[RulePlan, ...] = ()
    hooks: tuple[HookPlan, ...] = ()
    chain: tuple[Note, ...] = ()
    size: int = 1
    places: Mapping[str, Span] = field(default_factory=dict)
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    origins: Mapping[str, Origin] = field(default_factory=dict)
    steps: tuple[Origin, ...] = ()


def total_size(plans: Iterable[object]) -> int:
    """How many modules some values of a plan make; what is no module makes none."""
    return sum(plan.size for plan in plans if isinstance(plan, ModulePlan))


CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
"""The layers whose content is modules."""

BROKEN = ModulePlan("", Span("", 1, 1, 1, 1))
"""Stands for a module that could not be resolved: the reason is reported, later stages stay silent about it."""


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """A whole model: its root module, the args it was resolved with, and the texts that it came from.

    `unused` are definitions of the file that the root does not reach, as far as their defaults suffice to resolve
    them: they are checked, not built. Only with `has_auto` may an argument be `AUTO`.
    """

    root: ModulePlan
    args: Mapping[str, object]
    sources: Mapping[str, str]
    unused: tuple[ModulePlan, ...] = ()
    has_auto: bool = False

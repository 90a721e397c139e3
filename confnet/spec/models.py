"""What a file may say, as strict and frozen Pydantic models.

The models say which keys stand where and what form each value has. Values stay nodes of the source, so that every
later stage knows their place; whatever depends on `$` values is evaluated by `confnet.resolve`. The recursion over
modules is `confnet.spec.reader`'s: one model per kind of node, never a union for Pydantic to guess at.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from pydantic_core import PydanticCustomError

from confnet.diagnostics import Span
from confnet.source import Mapping, Node, Scalar, Sequence

__all__ = [
    "ArgSpec",
    "BodySpec",
    "BufferSpec",
    "ContractSpec",
    "DefinitionSpec",
    "Document",
    "HookSpec",
    "IncludeSpec",
    "InputSpec",
    "ItemSpec",
    "LayerSpec",
    "LetSpec",
    "MethodSpec",
    "ModuleSpec",
    "ParameterSpec",
    "ParametrizeSpec",
    "Part",
    "RepeatSpec",
    "RequireSpec",
    "RuleSpec",
    "SelectorSpec",
    "TieSpec",
    "VariantSpec",
]


class Part(BaseModel):
    """A frozen piece of a specification; `span` is the place of its key, or of itself where it has none."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        arbitrary_types_allowed=True,
        validate_by_name=True,
        validate_by_alias=True,
    )

    span: Span


# --- the forms of values ------------------------------------------------------------------------------------------


def _error(code: str, message: str, help: str = "") -> PydanticCustomError:
    return PydanticCustomError(code, "{message}", {"message": message, "help": help})


def describe(node: Node) -> str:
    """What the user wrote, in words: "the text `abc`", "the list `[1, 2]`"."""
    if isinstance(node, Mapping):
        return "a mapping"
    if isinstance(node, Sequence):
        return "a list"
    if node.value is None:
        return "null"
    if isinstance(node.value, bool):
        return f"`{node.text}`"
    kind = {int: "the number", float: "the number", str: "the text"}[type(node.value)]
    return f"{kind} `{node.text if len(node.text) <= 40 else node.text[:37] + '...'}`"


def _deferred(node: Node) -> bool:
    return isinstance(node, Scalar) and isinstance(node.value, str) and "$" in node.value


def _text(node: Node) -> Scalar:
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        raise _error("invalid-type", f"a text is expected here, not {describe(node)}")
    return node


def _code(node: Node) -> Scalar:
    if not isinstance(node, Scalar) or node.value is None:
        raise _error(
            "invalid-type", f"code is expected here, not {describe(node)}", "write the code as text, in a `|` block"
        )
    if node.style == ">":
        raise _error("folded-code", "code cannot stand in a folded block", "write `|` instead of `>`")
    if node.style != "|" and not node.one_line:
        raise _error("folded-code", "code on several lines needs a block", "write it below `|`")
    return node


def _flag(node: Node) -> Scalar:
    if not isinstance(node, Scalar) or not (isinstance(node.value, bool) or _deferred(node)):
        words = {"yes": "true", "on": "true", "no": "false", "off": "false"}
        meant = words.get(node.text.lower()) if isinstance(node, Scalar) else None
        raise _error(
            "invalid-type",
            f"true or false is expected here, not {describe(node)}",
            f"write `{meant}`" if meant else "",
        )
    return node


def _number(node: Node) -> Scalar:
    if (
        not isinstance(node, Scalar)
        or isinstance(node.value, bool)
        or not (isinstance(node.value, int | float) or _deferred(node))
    ):
        raise _error("invalid-type", f"a number is expected here, not {describe(node)}")
    return node


def _list(node: Node) -> Sequence:
    if not isinstance(node, Sequence):
        raise _error("invalid-type", f"a list is expected here, not {describe(node)}")
    return node


def _scalar(node: Node) -> Scalar:
    if not isinstance(node, Scalar):
        raise _error("invalid-type", f"a single value is expected here, not {describe(node)}")
    return node


def _shape(node: Node) -> Node:
    if isinstance(node, Sequence) or _deferred(node):
        return node
    raise _error("invalid-type", f"a shape is a list of sizes, not {describe(node)}", "write `[channels, 1, 1]`")


def _count(node: Node) -> Node:
    if isinstance(node, Sequence) or _deferred(node):
        return node
    if isinstance(node, Scalar) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node
    is_name = isinstance(node, Scalar) and isinstance(node.value, str) and node.value.isidentifier()
    raise _error(
        "invalid-type",
        f"`repeat` takes a number or a list of values, not {describe(node)}",
        f"write `${node.value}` for the arg of that name" if is_name else "",  # type: ignore[union-attr]
    )


def _fill(node: Node) -> Scalar:
    return _flag(node) if isinstance(node, Scalar) and isinstance(node.value, bool) else _number(node)


Text = Annotated[Any, AfterValidator(_text)]
CodeText = Annotated[Any, AfterValidator(_code)]
Flag = Annotated[Any, AfterValidator(_flag)]
Number = Annotated[Any, AfterValidator(_number)]
List = Annotated[Any, AfterValidator(_list)]
Count = Annotated[Any, AfterValidator(_count)]
Fill = Annotated[Any, AfterValidator(_fill)]
Single = Annotated[Any, AfterValidator(_scalar)]
Shape = Annotated[Any, AfterValidator(_shape)]
Anything = Annotated[Any, Field()]


# --- args, constants, contracts -----------------------------------------------------------------------------------


class ArgSpec(Part):
    """One argument of a document or definition. `type` None means that it follows from the default."""

    name: str
    type: str | None = None
    default: Anything = None
    ge: Number = None
    gt: Number = None
    le: Number = None
    lt: Number = None
    choices: List = None
    nullable: Flag = None
    description: Text = None
    has_default: bool = False


class LetSpec(Part):
    """A constant: evaluated once, in order."""

    name: str
    value: Anything


class RequireSpec(Part):
    """A condition that the args must meet, and what its user reads if they do not."""

    condition: Scalar
    message: Scalar


class InputSpec(Part):
    """One input of a forward or method, with its contract."""

    name: str
    shape: Shape = None
    dtype: Single = None
    low: Number = None
    high: Number = None
    default: Anything = None
    type: Literal["tensor", "list", "int", "float", "bool", "str", "dict", "any"] | None = None
    item: Shape = None
    has_default: bool = False


class ContractSpec(Part):
    """The shape (or None for unchecked) of one value that a forward returns."""

    name: str
    shape: Shape = None


# --- modules ------------------------------------------------------------------------------------------------------


class LayerSpec(Part):
    """A layer key with what stands under it. `items` are set for the containers, whose content is modules."""

    name: Scalar
    arguments: Anything
    items: tuple[ItemSpec, ...] | None = None


class ItemSpec(Part):
    """One entry of a container or of `children`: a module under a name (None in a list), or a repeat."""

    name: Scalar | None
    module: ModuleSpec | None = None
    repeat: RepeatSpec | None = None


class RepeatSpec(Part):
    """Modules made once per step. `pattern` is the key above a `module:` repeat in a mapping."""

    count: Count = Field(alias="repeat")
    variable: Text = Field(alias="as", default=None)
    module: ModuleSpec | None = None
    children: tuple[ItemSpec, ...] | None = None
    when: Single = None


class ParameterSpec(Part):
    """A parameter of a composite; `body` is None for one that is registered as None."""

    name: Scalar
    shape: Shape
    dtype: Single = None
    init: Anything = None
    requires_grad: Flag = None
    when: Single = None
    otherwise: ParameterSpec | None = Field(alias="else", default=None)


class BufferSpec(Part):
    """A buffer of a composite: by `value` (a number, a list, code) or by `shape` and `fill`."""

    name: Scalar
    value: Anything = None
    shape: Shape = None
    fill: Fill = None
    dtype: Single = None
    persistent: Flag = None
    when: Single = None
    otherwise: BufferSpec | None = Field(alias="else", default=None)


class TieSpec(Part):
    """`name` takes the Parameter at `to`."""

    name: Scalar
    to: Text
    when: Single = None


class MethodSpec(Part):
    """A further method of a definition."""

    name: Scalar
    forward: CodeText
    inputs: tuple[InputSpec, ...] | None = None
    outputs: tuple[ContractSpec, ...] | None = None


class SelectorSpec(Part):
    """Which modules a rule or hook means."""

    type: Anything = None
    name: Anything = None
    exclude: SelectorSpec | None = Field(alias="not", default=None)


class ParametrizeSpec(Part):
    """A parametrization of one parameter by one of `torch.nn.utils.parametrizations`."""

    parameter: Scalar
    call: Anything


class RuleSpec(Part):
    """One item of `apply`."""

    where: SelectorSpec | None = None
    init: Anything = None
    parametrize: tuple[ParametrizeSpec, ...] | None = None
    requires_grad: Flag = None
    extra_repr: Text = None
    set: Mapping | None = None
    methods: tuple[MethodSpec, ...] | None = None
    dtype: Single = None
    call: Anything = None
    when: Single = None


class HookSpec(Part):
    """One item of `hooks`."""

    kind: Text
    where: SelectorSpec | None = None
    call: Anything = None
    do: CodeText = None
    tensor: Text = None
    name: Text = None
    prepend: Flag = None
    with_kwargs: Flag = None
    always_call: Flag = None
    when: Single = None


class ModifiersSpec(Part):
    """What may stand beside a layer key or in a composite body: a rule about that module alone, `when` and `else`."""

    when: Single = None
    otherwise: ModuleSpec | None = Field(alias="else", default=None)
    init: Anything = None
    parametrize: tuple[ParametrizeSpec, ...] | None = None
    requires_grad: Flag = None
    extra_repr: Text = None
    apply: tuple[RuleSpec, ...] | None = None
    hooks: tuple[HookSpec, ...] | None = None


class BodySpec(Part):
    """What a composite, definition or document says of itself, beside its layer key or instead of one."""

    description: Text = None
    args: tuple[ArgSpec, ...] = ()
    let: tuple[LetSpec, ...] = ()
    require: tuple[RequireSpec, ...] = ()
    inputs: tuple[InputSpec, ...] | None = None
    outputs: tuple[ContractSpec, ...] | None = None
    children: tuple[ItemSpec, ...] | None = None
    parameters: tuple[ParameterSpec | Scalar, ...] | None = None
    buffers: tuple[BufferSpec | Scalar, ...] | None = None
    forward: CodeText = None
    methods: tuple[MethodSpec, ...] = ()
    tie: tuple[TieSpec, ...] = ()


class ModuleSpec(Part):
    """A module: a layer, a composite body, both (a named subclass), a share, or a `$` reference.

    `label` is the name it stands under, from which an in-place composite takes its class name.
    """

    label: str
    layer: LayerSpec | None = None
    body: BodySpec | None = None
    share: Scalar | None = None
    reference: Scalar | None = None
    modifiers: ModifiersSpec | None = None


class DefinitionSpec(Part):
    """A named module with arguments."""

    name: str
    module: ModuleSpec


# --- documents ----------------------------------------------------------------------------------------------------


class IncludeSpec(Part):
    """A file whose definitions this document may use, as written."""

    path: Scalar


class VariantSpec(Part):
    """A named set of args."""

    name: str
    args: Mapping


class Document(Part):
    """A whole file. `root` is None for a file that only defines modules; its args and constants are the file's."""

    file: str
    name: str
    description: Text = None
    include: tuple[IncludeSpec, ...] = ()
    variants: tuple[VariantSpec, ...] = ()
    modules: tuple[DefinitionSpec, ...] = ()
    args: tuple[ArgSpec, ...] = ()
    let: tuple[LetSpec, ...] = ()
    require: tuple[RequireSpec, ...] = ()
    root: ModuleSpec | None = None


for _model in (LayerSpec, ItemSpec, RepeatSpec, ModifiersSpec, ModuleSpec, BodySpec, SelectorSpec):
    _model.model_rebuild()

"""What a file may say, as strict and frozen Pydantic models.

The models say which keys stand where and what form each value has. Values stay nodes of the source, so that every
later stage knows their place; whatever depends on `$` values is evaluated by `confnet.resolve`. The recursion over
modules is `confnet.spec.reader`'s: one model per kind of node, never a union for Pydantic to guess at.

Annotations are evaluated as they stand, which is faster than when Pydantic does it; only a name that is defined
further down is quoted.
"""

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, GetCoreSchemaHandler
from pydantic_core import PydanticCustomError, core_schema

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


class _IsInstance:
    """What the reader has made already is not looked into again, and costs no schema of its own."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.is_instance_schema(source)


_T = TypeVar("_T")
Made = Annotated[_T, _IsInstance()]


class Part(BaseModel):
    """A frozen piece of a specification; `span` is the place of its key, or of itself where it has none."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        arbitrary_types_allowed=True,
        validate_by_name=True,
        validate_by_alias=True,
        defer_build=True,  # a model costs its schema when the first of its kind is read
    )

    span: Made[Span]


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
    type: str | None = Field(
        default=None, description="what the argument takes: a number, a text, a list, a module, the name of a layer"
    )
    default: Anything = Field(
        default=None, description="its value where the caller gives none; without one the argument is required"
    )
    ge: Number = Field(default=None, description="the least value allowed")
    gt: Number = Field(default=None, description="every value is greater than this")
    le: Number = Field(default=None, description="the greatest value allowed")
    lt: Number = Field(default=None, description="every value is less than this")
    choices: List = Field(default=None, description="the only values allowed")
    nullable: Flag = Field(default=None, description="whether null is allowed")
    description: Text = Field(default=None, description="text for readers")
    has_default: bool = False


class LetSpec(Part):
    """A constant: evaluated once, in order."""

    name: str
    value: Anything


class RequireSpec(Part):
    """A condition that the args must meet, and what its user reads if they do not."""

    condition: Made[Scalar]
    message: Made[Scalar]


class InputSpec(Part):
    """One input of a forward or method, with its contract."""

    name: str
    shape: Shape = Field(
        default=None,
        description="its sizes: numbers, expressions over args, and names such as `B` for sizes that are open",
    )
    dtype: Single = Field(default=None, description="its dtype: `float32`, `int64`")
    low: Number = Field(default=None, description="for integers: the least value")
    high: Number = Field(default=None, description="for integers: every value is less than this")
    default: Anything = Field(default=None, description="its value where the caller of `forward` gives none")
    type: Literal["tensor", "list", "int", "float", "bool", "str", "dict", "any"] | None = Field(
        default=None, description="what it is, where it is no tensor"
    )
    item: Shape = Field(default=None, description="the shape of each tensor of a list")
    has_default: bool = False


class ContractSpec(Part):
    """The shape (or None for unchecked) of one value that a forward returns."""

    name: str
    shape: Shape = None


# --- modules ------------------------------------------------------------------------------------------------------


class LayerSpec(Part):
    """A layer key with what stands under it. `items` are set for the containers, whose content is modules."""

    name: Made[Scalar]
    arguments: Anything
    items: tuple[Made["ItemSpec"], ...] | None = None


class ItemSpec(Part):
    """One entry of a container or of `children`: a module under a name (None in a list), or a repeat."""

    name: Made[Scalar] | None
    module: Made["ModuleSpec"] | None = None
    repeat: Made["RepeatSpec"] | None = None


class RepeatSpec(Part):
    """Modules made once per step. `pattern` is the key above a `module:` repeat in a mapping."""

    count: Count = Field(alias="repeat", description="how many times: a number, or a list of values")
    variable: Text = Field(alias="as", default=None, description="the name of the step's index, or of its value")
    module: Made["ModuleSpec"] | None = Field(default=None, description="the module of each step")
    children: tuple[Made[ItemSpec], ...] | None = Field(
        default=None, description="the modules of each step, where there are several"
    )
    when: Single = Field(default=None, description="leaves the whole repeat out where it is false")


class ParameterSpec(Part):
    """A parameter of a composite; `body` is None for one that is registered as None."""

    name: Made[Scalar]
    shape: Shape = Field(description="its sizes: numbers, or expressions over args")
    dtype: Single = Field(default=None, description="its dtype: `float32`, `bfloat16`")
    init: Anything = Field(
        default=None, description="how it is filled: a function of `torch.nn.init`, or `{value: code}`"
    )
    requires_grad: Flag = Field(default=None, description="`false` freezes it")
    when: Single = Field(default=None, description="leaves it out where it is false")
    otherwise: Made["ParameterSpec"] | None = Field(
        alias="else", default=None, description="the parameter to have instead where `when` is false"
    )


class BufferSpec(Part):
    """A buffer of a composite: by `value` (a number, a list, code) or by `shape` and `fill`."""

    name: Made[Scalar]
    value: Anything = Field(default=None, description="what it holds: a number, a list of numbers, or code")
    shape: Shape = Field(default=None, description="its sizes, for a buffer that is one number everywhere")
    fill: Fill = Field(default=None, description="the number that it holds everywhere; 0 by default")
    dtype: Single = Field(default=None, description="its dtype: `float32`, `int64`")
    persistent: Flag = Field(default=None, description="`false` keeps it out of the state dict")
    when: Single = Field(default=None, description="leaves it out where it is false")
    otherwise: Made["BufferSpec"] | None = Field(
        alias="else", default=None, description="the buffer to have instead where `when` is false"
    )


class TieSpec(Part):
    """`name` takes the Parameter at `to`."""

    name: Made[Scalar]
    to: Text = Field(description="the dotted name of the parameter that this one is")
    when: Single = Field(default=None, description="leaves them apart where it is false")


class MethodSpec(Part):
    """A further method of a definition."""

    name: Made[Scalar]
    forward: CodeText = Field(description="the code of the method")
    inputs: tuple[Made[InputSpec], ...] | None = Field(default=None, description="what it takes; `x` by default")
    outputs: tuple[Made[ContractSpec], ...] | None = Field(default=None, description="what it returns")


class SelectorSpec(Part):
    """Which modules a rule or hook means."""

    type: Anything = Field(
        default=None, description="class names: a name, a glob or a list; matched as `isinstance` does"
    )
    name: Anything = Field(
        default=None,
        description="dotted names from the module that holds the rule: a name, a glob (`*`, `**`) or a list",
    )
    exclude: Made["SelectorSpec"] | None = Field(alias="not", default=None, description="modules to leave out")


class ParametrizeSpec(Part):
    """A parametrization of one parameter by one of `torch.nn.utils.parametrizations`."""

    parameter: Made[Scalar]
    call: Anything


class RuleSpec(Part):
    """One item of `apply`."""

    where: Made[SelectorSpec] | None = Field(
        default=None, description="which modules; without it, every submodule and the module itself"
    )
    init: Anything = Field(default=None, description="initialisers by the name of the parameter")
    parametrize: tuple[Made[ParametrizeSpec], ...] | None = Field(
        default=None, description="parametrizations by the name of the parameter"
    )
    requires_grad: Flag = Field(default=None, description="`false` freezes the parameters of each module")
    extra_repr: Text = Field(default=None, description="what the `repr` of each module shows in brackets")
    set: Made[Mapping] | None = Field(
        default=None, description="attributes to set after construction, such as `p` of `Dropout`"
    )
    methods: tuple[Made[MethodSpec], ...] | None = Field(default=None, description="further methods of each module")
    dtype: Single = Field(default=None, description="converts each module to this dtype")
    call: Anything = Field(default=None, description="a function that the caller registered with `confnet.applies`")
    when: Single = Field(default=None, description="leaves the rule out where it is false")


class HookSpec(Part):
    """One item of `hooks`."""

    kind: Text = Field(description="which of torch's hooks it is")
    where: Made[SelectorSpec] | None = Field(
        default=None, description="which modules; without it, the module that holds the hook"
    )
    call: Anything = Field(
        default=None, description="a built-in hook, or one that the caller registered with `confnet.hook`"
    )
    do: CodeText = Field(default=None, description="code over torch's arguments for that hook")
    tensor: Text = Field(
        default=None, description="for hooks on tensors: the name of a parameter, or `output` or `input`"
    )
    name: Text = Field(default=None, description="`confnet.hooks(model)` finds it by this name; by default the kind")
    prepend: Flag = Field(default=None, description="whether it runs before hooks that are there already")
    with_kwargs: Flag = Field(
        default=None, description="whether it is given the keyword arguments of `forward` as well"
    )
    always_call: Flag = Field(default=None, description="whether it runs even where `forward` raises")
    when: Single = Field(default=None, description="leaves the hook out where it is false")


class ModifiersSpec(Part):
    """What may stand beside a layer key or in a composite body: a rule about that module alone, `when` and `else`."""

    when: Single = Field(default=None, description="leaves the module out where it is false")
    otherwise: Made["ModuleSpec"] | None = Field(
        alias="else", default=None, description="the module to have instead where `when` is false"
    )
    init: Anything = Field(default=None, description="initialisers by the name of the parameter")
    parametrize: tuple[Made[ParametrizeSpec], ...] | None = Field(
        default=None, description="functions of `torch.nn.utils.parametrizations` by the name of the parameter"
    )
    requires_grad: Flag = Field(default=None, description="`false` freezes its parameters")
    extra_repr: Text = Field(default=None, description="what its `repr` shows in brackets")
    apply: tuple[Made[RuleSpec], ...] | None = Field(default=None, description="rules over its submodules")
    hooks: tuple[Made[HookSpec], ...] | None = Field(
        default=None, description="torch's hooks on it and on its submodules"
    )


class BodySpec(Part):
    """What a composite, definition or document says of itself, beside its layer key or instead of one."""

    description: Text = Field(default=None, description="text for readers")
    args: tuple[Made[ArgSpec], ...] = Field(default=(), description="what a caller may set")
    let: tuple[Made[LetSpec], ...] = Field(default=(), description="constants, computed in order")
    require: tuple[Made[RequireSpec], ...] = Field(
        default=(), description="conditions that the args must meet, each with the message for whoever breaks it"
    )
    inputs: tuple[Made[InputSpec], ...] | None = Field(
        default=None, description="what `forward` takes: names, or shapes by name"
    )
    outputs: tuple[Made[ContractSpec], ...] | None = Field(
        default=None, description="what `forward` returns: names, or shapes by name"
    )
    children: tuple[Made[ItemSpec], ...] | None = Field(
        default=None, description="submodules by name, in the order in which they are registered"
    )
    parameters: tuple[Made[ParameterSpec] | Made[Scalar], ...] | None = Field(
        default=None, description="parameters of the module's own, by name"
    )
    buffers: tuple[Made[BufferSpec] | Made[Scalar], ...] | None = Field(
        default=None, description="buffers of the module's own, by name"
    )
    forward: CodeText = Field(
        default=None, description="the code of `forward`: a subset of Python over children, parameters and args"
    )
    methods: tuple[Made[MethodSpec], ...] = Field(default=(), description="further methods of the class")
    tie: tuple[Made[TieSpec], ...] = Field(
        default=(), description="parameters that are one: the first takes the second's place"
    )


class ModuleSpec(Part):
    """A module: a layer, a composite body, both (a named subclass), a share, or a `$` reference.

    `label` is the name it stands under, from which an in-place composite takes its class name.
    """

    label: str
    layer: Made[LayerSpec] | None = None
    body: Made[BodySpec] | None = None
    share: Made[Scalar] | None = Field(
        default=None, description="the dotted path of a module that stands here under a second name"
    )
    reference: Made[Scalar] | None = None
    modifiers: Made[ModifiersSpec] | None = None


class DefinitionSpec(Part):
    """A named module with arguments."""

    name: str
    module: Made[ModuleSpec]


# --- documents ----------------------------------------------------------------------------------------------------


class IncludeSpec(Part):
    """A file whose definitions this document may use, as written."""

    path: Made[Scalar]


class VariantSpec(Part):
    """A named set of args."""

    name: str
    args: Made[Mapping]


class Document(Part):
    """A whole file. `root` is None for a file that only defines modules; its args and constants are the file's."""

    file: str
    name: str = Field(description="the class name of the module; by default the file's name in CamelCase")
    description: Text = Field(default=None, description="text for readers")
    include: tuple[Made[IncludeSpec], ...] = Field(
        default=(), description="other files whose definitions this one uses"
    )
    variants: tuple[Made[VariantSpec], ...] = Field(default=(), description="named sets of args")
    modules: tuple[Made[DefinitionSpec], ...] = Field(
        default=(), description="definitions: modules with args, used by name like layers"
    )
    args: tuple[Made[ArgSpec], ...] = ()
    let: tuple[Made[LetSpec], ...] = ()
    require: tuple[Made[RequireSpec], ...] = ()
    root: Made[ModuleSpec] | None = None

"""Checked code to an ordinary Python function whose lines and columns are those of the file."""

from __future__ import annotations

import ast
import builtins
import copy
import dis
import keyword
import warnings
from collections.abc import Callable, Collection, Sequence
from types import CodeType, FunctionType

from confnet.language.code import Code
from confnet.language.names import BUILTINS, NAMESPACES, attribute_name, local_names, target_names
from confnet.language.scope import ParsedCode
from confnet.records import dataclass

__all__ = ["CompiledFunction", "Names", "compile_function", "make_function"]

InputSpec = tuple[str, bool, object]

# Reading is for names of the allowlist; writing, importing and class building never come out of an allowed tree.
GLOBAL_INSTRUCTIONS = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "STORE_NAME", "IMPORT_NAME", "LOAD_BUILD_CLASS"}
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a definition that become attributes of `self`.

    `members` are children, parameters, buffers and own methods, `constants` args and `let`. What a bare name means
    must not depend on the instance, because all instances share one function: give the names of every instance.
    `functions` are the registered functions, which stay globals; without them any global passes that Python itself
    does not define.
    """

    members: Collection[str] = frozenset()
    constants: Collection[str] = frozenset()
    functions: Collection[str] | None = None
    has_self: bool = True

    def attribute(self, name: str) -> str | None:
        """The attribute of `self` that a bare name stands for, or None."""
        if not self.has_self:
            return None
        if name in self.members:
            return name
        if name in self.constants:
            return attribute_name(name)
        return name if name == "training" else None


@dataclass(frozen=True, slots=True)
class CompiledFunction:
    """A compiled body, without the globals that it will run in."""

    code: CodeType
    defaults: tuple[object, ...]

    def bind(self, module_globals: dict[str, object]) -> FunctionType:
        """The function over these globals: `torch`, `F`, `nn`, `math` and the registered functions.

        Python's own builtins are put beside them: torch imports from inside its operators and dynamo guards on
        builtins, both through the frame that runs. `compile_function` has seen to it that the code names none but
        the call table.
        """
        module_globals["__builtins__"] = vars(builtins)
        function = FunctionType(self.code, module_globals, self.code.co_name, self.defaults or None)
        function.__qualname__ = self.code.co_qualname
        return function


class _Rewriter(ast.NodeTransformer):
    """Bare names of the module to attributes of `self`, columns to those that CPython counts."""

    def __init__(self, names: Names, bound: frozenset[str]) -> None:
        self.names = names
        self.bound = bound

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.bound or node.id in NAMESPACES or node.id == "self":
            return node
        attribute = self.names.attribute(node.id)
        if attribute is None:
            return node
        owner = ast.copy_location(ast.Name("self", ast.Load()), node)
        return ast.copy_location(ast.Attribute(owner, attribute, node.ctx), node)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        is_own = isinstance(node.value, ast.Name) and node.value.id == "self" and self.names.has_self
        if is_own and node.attr in self.names.constants and node.attr not in self.names.members:
            # `self.training` is the mode of the module, also where an arg is called so.
            node.attr = "training" if node.attr == "training" else attribute_name(node.attr)
            return node
        return self.generic_visit(node)  # type: ignore[return-value]

    def visit_ListComp(self, node: ast.ListComp) -> ast.expr:
        return self._comprehension(node, [node.elt])

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> ast.expr:
        return self._comprehension(node, [node.elt])

    def visit_DictComp(self, node: ast.DictComp) -> ast.expr:
        return self._comprehension(node, [node.key, node.value])

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.DictComp, parts: list[ast.expr]) -> ast.expr:
        outer = self.bound
        for generator in node.generators:
            generator.iter = self.visit(generator.iter)
            self.bound = self.bound | {name.id for name in target_names(generator.target)}
            generator.ifs = [self.visit(test) for test in generator.ifs]
        made = [self.visit(part) for part in parts]
        if isinstance(node, ast.DictComp):
            node.key, node.value = made
        else:
            (node.elt,) = made
        self.bound = outer
        return node


def make_function(parsed: ParsedCode, name: str, inputs: Sequence[InputSpec], names: Names) -> ast.FunctionDef:
    """The function definition of a checked body; its defaults are set by `compile_function`.

    `inputs` are names, whether each is required, and the default of one that is not. Raises ValueError for names
    that are no identifiers, and for a required input after an optional one: both are to be refused before.
    """
    optional = [not required for _, required, _ in inputs]
    if optional != sorted(optional):
        raise ValueError("a required input comes after an optional one")
    for word in [name, *(word for word, _, _ in inputs)]:
        if not word.isidentifier() or keyword.iskeyword(word) or word.startswith("__"):
            raise ValueError(f"{word!r} cannot be the name of a function or input")
    body = [copy.deepcopy(statement) for statement in parsed.body]
    bound = local_names(body) | {word for word, _, _ in inputs}
    rewriter = _Rewriter(names, frozenset(bound))
    parameters = (["self"] if names.has_self else []) + [word for word, _, _ in inputs]
    first = body[0]
    function = ast.FunctionDef(
        name=name,
        args=ast.arguments(
            posonlyargs=[],
            args=[ast.copy_location(ast.arg(word), first) for word in parameters],
            kwonlyargs=[],
            kw_defaults=[],
            defaults=[],
        ),
        body=[rewriter.visit(statement) for statement in body],
        decorator_list=[],
    )
    return ast.copy_location(function, first)


def compile_function(
    parsed: ParsedCode,
    name: str,
    inputs: Sequence[InputSpec],
    names: Names,
    *,
    class_name: str = "",
    source_lines: Sequence[str] = (),
    transform: Callable[[ast.FunctionDef], ast.FunctionDef] | None = None,
) -> CompiledFunction:
    """Compile a checked body as `class_name.name`, changed by `transform` first if there is one.

    `source_lines` are the lines of the file, which tell how many bytes stand before the code in a line; without them
    the text before the code is taken to be ASCII. Raises ValueError as `make_function` does, and for a global name
    outside of the language, which a checked body does not have.
    """
    function = make_function(parsed, name, inputs, names)
    if transform is not None:
        function = transform(function)
    _place_in_file(function, parsed.code, source_lines)
    tree = ast.Module(body=[function], type_ignores=[])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = compile(tree, parsed.code.file, "exec", dont_inherit=True)
    code = next(constant for constant in module.co_consts if isinstance(constant, CodeType))
    _refuse_globals(code, names.functions)
    code = code.replace(co_qualname=f"{class_name}.{name}" if class_name else name)
    return CompiledFunction(code, tuple(_frozen(default) for _, required, default in inputs if not required))


def _refuse_globals(code: CodeType, functions: Collection[str] | None) -> None:
    """The second lock: whatever the checker thought, the compiled code reaches for no other global."""
    for instruction in dis.get_instructions(code):
        name = instruction.argval
        if instruction.opname in GLOBAL_INSTRUCTIONS and not _is_allowed_global(name, functions):
            raise ValueError(f"{name!r} is not a name that code may use")
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            _refuse_globals(constant, functions)


def _is_allowed_global(name: str, functions: Collection[str] | None) -> bool:
    if name in NAMESPACES or name in BUILTINS:
        return True
    return name in functions if functions is not None else not hasattr(builtins, name)


def _frozen(default: object) -> object:
    """A default that no call can change: lists become tuples."""
    return tuple(_frozen(item) for item in default) if isinstance(default, list) else default


def _place_in_file(function: ast.FunctionDef, code: Code, source_lines: Sequence[str]) -> None:
    lines = code.text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for node in ast.walk(function):
        if not isinstance(node, ast.expr | ast.stmt | ast.arg | ast.keyword):
            continue
        line, end_line = node.lineno, node.end_lineno or node.lineno
        node.col_offset = _byte_column(code, lines, source_lines, line, node.col_offset)
        node.end_col_offset = _byte_column(code, lines, source_lines, end_line, node.end_col_offset or 0)
        node.lineno, node.end_lineno = code.first_line + line - 1, code.first_line + end_line - 1


def _byte_column(code: Code, lines: Sequence[str], source_lines: Sequence[str], line: int, column: int) -> int:
    place = code.first_line + line - 2
    if 0 <= place < len(source_lines):
        return len(source_lines[place][: code.indent + column].encode())
    return code.indent + len(lines[line - 1][:column].encode())

"""Names that mean something in every body: namespaces, the call table, and the attributes of `nn.Module`."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

__all__ = [
    "BUILTINS",
    "MODULE_ATTRIBUTES",
    "NAMESPACES",
    "assigned_attributes",
    "attribute_name",
    "dotted",
    "find_cycle",
    "local_names",
    "target_names",
]

NAMESPACES: frozenset[str] = frozenset({"torch", "F", "nn", "math"})

# The Python functions that code may call.
BUILTINS: tuple[str, ...] = (
    "len", "range", "zip", "enumerate", "reversed", "min", "max", "sum", "abs", "int", "float", "bool", "list", "tuple",
)  # fmt: skip

# dir(torch.nn.Module()) of the torch named in constraints.txt; a test compares the two.
MODULE_ATTRIBUTES: frozenset[str] = frozenset(
    [
        "T_destination",
        "__annotations__",
        "__call__",
        "__class__",
        "__delattr__",
        "__dict__",
        "__dir__",
        "__doc__",
        "__eq__",
        "__format__",
        "__ge__",
        "__getattr__",
        "__getattribute__",
        "__getstate__",
        "__gt__",
        "__hash__",
        "__init__",
        "__init_subclass__",
        "__le__",
        "__lt__",
        "__module__",
        "__ne__",
        "__new__",
        "__reduce__",
        "__reduce_ex__",
        "__repr__",
        "__setattr__",
        "__setstate__",
        "__sizeof__",
        "__str__",
        "__subclasshook__",
        "__weakref__",
        "_apply",
        "_backward_hooks",
        "_backward_pre_hooks",
        "_buffers",
        "_call_impl",
        "_compiled_call_impl",
        "_forward_hooks",
        "_forward_hooks_always_called",
        "_forward_hooks_with_kwargs",
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_get_backward_hooks",
        "_get_backward_pre_hooks",
        "_get_name",
        "_is_full_backward_hook",
        "_load_from_state_dict",
        "_load_state_dict_post_hooks",
        "_load_state_dict_pre_hooks",
        "_maybe_warn_non_full_backward_hook",
        "_modules",
        "_named_members",
        "_non_persistent_buffers_set",
        "_parameters",
        "_register_load_state_dict_pre_hook",
        "_register_state_dict_hook",
        "_replicate_for_data_parallel",
        "_save_to_state_dict",
        "_slow_forward",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_version",
        "_wrapped_call_impl",
        "add_module",
        "apply",
        "bfloat16",
        "buffers",
        "call_super_init",
        "children",
        "compile",
        "cpu",
        "cuda",
        "double",
        "dump_patches",
        "eval",
        "extra_repr",
        "float",
        "forward",
        "get_buffer",
        "get_extra_state",
        "get_parameter",
        "get_submodule",
        "half",
        "ipu",
        "load_state_dict",
        "modules",
        "mtia",
        "named_buffers",
        "named_children",
        "named_modules",
        "named_parameters",
        "parameters",
        "register_backward_hook",
        "register_buffer",
        "register_forward_hook",
        "register_forward_pre_hook",
        "register_full_backward_hook",
        "register_full_backward_pre_hook",
        "register_load_state_dict_post_hook",
        "register_load_state_dict_pre_hook",
        "register_module",
        "register_parameter",
        "register_state_dict_post_hook",
        "register_state_dict_pre_hook",
        "requires_grad_",
        "set_extra_state",
        "set_submodule",
        "share_memory",
        "state_dict",
        "to",
        "to_empty",
        "train",
        "training",
        "type",
        "xpu",
        "zero_grad",
    ]
)


def attribute_name(name: str) -> str:
    """The attribute under which the builder stores the arg or `let` called `name`.

    It is the name itself, unless `nn.Module` has such an attribute already (`type`, `half`, `training`).
    """
    return f"_arg_{name}" if name in MODULE_ATTRIBUTES or name.startswith("_arg_") else name


def dotted(node: ast.expr) -> str | None:
    """`a.b.c` as text where a node is a chain of attributes of a name, else None."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])


def target_names(target: ast.expr) -> Iterator[ast.Name]:
    """The names that an assignment target binds."""
    if isinstance(target, ast.Name):
        yield target
    elif isinstance(target, ast.Tuple | ast.List):
        for part in target.elts:
            yield from target_names(part)


def local_names(body: Iterable[ast.stmt]) -> frozenset[str]:
    """Every name that a body assigns anywhere, as Python counts locals; comprehensions keep theirs to themselves."""
    found: set[str] = set()
    stack: list[ast.stmt] = list(body)
    while stack:
        statement = stack.pop()
        match statement:
            case ast.Assign(targets=targets):
                found.update(name.id for target in targets for name in target_names(target))
            case ast.AugAssign(target=target):
                found.update(name.id for name in target_names(target))
            case ast.For(target=target, body=inner, orelse=orelse):
                found.update(name.id for name in target_names(target))
                stack.extend([*inner, *orelse])
            case ast.If(body=inner, orelse=orelse):
                stack.extend([*inner, *orelse])
            case ast.With(body=inner):
                stack.extend(inner)
    return frozenset(found)


def assigned_attributes(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """The attributes of `self` that code of these nodes would assign, which it may not."""
    return frozenset(
        node.attr
        for node in nodes
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)
        if isinstance(node.value, ast.Name) and node.value.id == "self"
    )


def find_cycle(graph: Mapping[str, Iterable[str]]) -> list[str] | None:
    """A cycle of a graph of calls as a path that ends where it begins (`["a", "b", "a"]`), or None."""
    finished: set[str] = set()
    for root in graph:
        path: list[str] = []
        stack: list[Iterator[str]] = [iter([root])]
        while stack:
            name = next(stack[-1], None)
            if name is None:
                stack.pop()
                if path:
                    finished.add(path.pop())
            elif name in path:
                return [*path[path.index(name) :], name]
            elif name in graph and name not in finished:
                path.append(name)
                stack.append(iter(graph[name]))
    return None

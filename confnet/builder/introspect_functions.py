"""Write functions.json: what torch says about each function of the curated list.

Run as `python -m confnet.builder.introspect_functions` after a change to `confnet.catalog.function_groups` or with a
new torch. Arguments come from the Python signature where a function has one, else from the schemas of torch's
operators, which name every overload; the few that have neither are in `CORRECTED_FORMS`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional

from confnet.catalog.function_groups import CORRECTED_FORMS, CORRECTED_RESULTS, GROUPS, MAY_SHARE, MUTATES
from confnet.catalog.functions import DATA_FILE
from confnet.whole_files import write_whole

__all__ = ["describe", "main", "regenerate", "resolve", "schemas_of"]

# Arguments that code of a file may not give: where to write, which generator to use, named dimensions and memory
# layout, for all functions, and those that would renormalise a weight in place. So are arguments that torch keeps to
# itself (`_stacklevel`).
LEFT_OUT = frozenset({"out", "generator", "names", "layout", "pin_memory", "memory_format", "implicit"})
LEFT_OUT_OF = {
    "functional.embedding": frozenset({"max_norm", "norm_type"}),
    "functional.embedding_bag": frozenset({"max_norm", "norm_type"}),
}
_OWNERS = {"torch": torch, "functional": torch.nn.functional, "tensor": torch.Tensor}
# Where the operator has another name than the function.
_OPERATORS = {"logsigmoid": "log_sigmoid"}
_PROBLEMATIC_TYPES = ("Dimname", "str[]", "Generator[]", "Storage", "Stream")


def resolve(namespace: str, name: str) -> Callable[..., Any]:
    """The function of torch that a listed name means. Raises AttributeError when torch has no such name."""
    owner: Any = _OWNERS[namespace]
    for part in name.split("."):
        owner = getattr(owner, part)
    function: Callable[..., Any] = owner
    return function


class _Form:
    """One way to call a function: parameters as (name, required, positional), and whether positions are open."""

    def __init__(self, left_out: frozenset[str] = frozenset()) -> None:
        self.left_out = LEFT_OUT | left_out
        self.parameters: list[tuple[str, bool, bool]] = []
        self.variadic = ""
        self.closed = False

    def add(self, name: str, *, required: bool, positional: bool) -> None:
        """Add a parameter, or close the positions where one is left out: what follows can only be named then."""
        if name in self.left_out or name.startswith("_"):
            self.closed = self.closed or positional
        else:
            self.parameters.append((name, required, positional and not self.closed))

    def text(self) -> str:
        """The form as functions.json holds it."""
        positional = [
            f"{name}*" if name == self.variadic else name if required else f"{name}="
            for name, required, by_position in self.parameters
            if by_position
        ]
        named = [name if required else f"{name}=" for name, required, by_position in self.parameters if not by_position]
        return ", ".join([*positional, *(["*", *named] if named else [])])


def _python_form(namespace: str, name: str) -> str | None:
    function, method = resolve(namespace, name), namespace == "tensor"
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except ValueError:
        return None
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return None
    form = _Form(LEFT_OUT_OF.get(f"{namespace}.{name}", frozenset()))
    for parameter in parameters[1:] if method else parameters:
        form.add(
            parameter.name,
            required=parameter.default is parameter.empty,
            positional=parameter.kind is not parameter.KEYWORD_ONLY,
        )
    return form.text()


def schemas_of(namespace: str, name: str) -> list[Any]:
    """The schemas of the overloads of an operator that Python can reach."""
    operator = _OPERATORS.get(name, name.replace(".", "_"))
    found = torch._C._jit_get_schemas_for_operator(f"aten::{operator}")
    return [schema for schema in found if _reachable(schema, namespace)]


def _reachable(schema: Any, namespace: str) -> bool:
    types = {argument.name: str(argument.type) for argument in schema.arguments}
    if any(bad in text for text in types.values() for bad in _PROBLEMATIC_TYPES):
        return False
    if any(argument.is_out for argument in schema.arguments) or "out" in schema.overload_name.split("_"):
        return False
    # The operators of TorchScript on plain numbers, texts and lists have the same names.
    returns = {str(value.type) for value in schema.returns}
    if types.keys() == {"a", "b"} or "List[t]" in types.values() or returns <= {"float"}:
        return False
    if namespace == "tensor":
        return types.get("self") == "Tensor"
    return types.get("self", "Tensor") in ("Tensor", "Scalar")


def _schema_form(schema: Any, namespace: str) -> str:
    form = _Form()
    arguments = [a for a in schema.arguments if not (namespace == "tensor" and a.name == "self")]
    tensor_self = any(a.name == "self" and str(a.type) == "Tensor" for a in schema.arguments)
    for argument in arguments:
        name = "input" if argument.name == "self" and tensor_self else argument.name
        form.add(name, required=not argument.has_default_value(), positional=not argument.kwarg_only)
    if any(a.name == "pin_memory" for a in schema.arguments):
        form.parameters = [p for p in form.parameters if p[0] not in ("dtype", "device")]
        form.parameters += [(name, False, False) for name in ("dtype", "device", "requires_grad")]
    positional = [a for a in arguments if not a.kwarg_only and a.name not in LEFT_OUT]
    if len(positional) == 1 and str(positional[0].type) in ("List[int]", "List[SymInt]"):
        # torch's own rule: a list of integers that is the only positional argument may be spread.
        form.variadic = positional[0].name
    return form.text()


def _forms(namespace: str, name: str, schemas: Iterable[Any]) -> list[str] | None:
    corrected = CORRECTED_FORMS.get(f"{namespace}.{name}")
    if corrected is not None:
        return [form.strip() for form in corrected.split("|")]
    form = _python_form(namespace, name)
    if form is not None:
        return [form]
    forms = list(dict.fromkeys(_schema_form(schema, namespace) for schema in schemas))
    return _without_loose(forms) or None


def _without_loose(forms: list[str]) -> list[str]:
    """Drop the overload on numbers that gives by position what Python takes by name only (`add(x, 1, alpha)`)."""
    named = {form.replace("*, ", "") for form in forms if "*, " in form}
    return [form for form in forms if form not in named]


_RESULTS = {
    "Tensor": "tensor",
    "List[Tensor]": "tensors",
    "bool": "flag",
    "int": "number",
    "float": "number",
}


def _result(namespace: str, name: str, schemas: list[Any]) -> str:
    corrected = CORRECTED_RESULTS.get(f"{namespace}.{name}")
    if corrected is not None:
        return corrected
    if namespace == "functional":
        return _functional_result(name)
    found = {_schema_result(schema) for schema in schemas}
    return found.pop() if len(found) == 1 else "unknown"


def _functional_result(name: str) -> str:
    """Everything there returns a tensor but the poolings that return where they found the maximum."""
    if name.endswith("_with_indices"):
        return "tensor*2"
    return "unknown" if "max_pool" in name else "tensor"


def _schema_result(schema: Any) -> str:
    returns = schema.returns
    if len(returns) == 1:
        return _RESULTS.get(str(returns[0].type), "unknown")
    if any(value.name for value in returns) or {str(value.type) for value in returns} != {"Tensor"}:
        return "unknown"
    return f"tensor*{len(returns)}"


def _fields(schemas: Iterable[Any]) -> set[str]:
    return {value.name for schema in schemas if len(schema.returns) > 1 for value in schema.returns if value.name}


def _shares(name: str, schemas: Iterable[Any]) -> bool:
    if name in MAY_SHARE or name.endswith("_"):
        return True
    return any(value.alias_info is not None for schema in schemas for value in schema.returns)


def describe(namespace: str, name: str, group: str) -> dict[str, Any]:
    """What functions.json says of one function."""
    schemas = schemas_of(namespace, name)
    forms = _forms(namespace, name, schemas)
    entry: dict[str, Any] = {"forms": forms, "group": group, "result": _result(namespace, name, schemas)}
    if _shares(name, schemas):
        entry["view"] = True
    mutates = MUTATES.get(f"{namespace}.{name}", ())
    if namespace == "functional" and name.endswith("_"):
        mutates = ("input",)
    if mutates:
        entry["mutates"] = list(mutates)
    if schemas and not inspect.isfunction(resolve(namespace, name)):
        entry["native"] = True
    return entry


def collect(*, lenient: bool = False) -> dict[str, Any]:
    """The data of functions.json for the torch that is installed. Raises AttributeError for a name that it has not;
    a `lenient` collection leaves that out."""
    entries: dict[str, dict[str, Any]] = {}
    fields: set[str] = set()
    for group in GROUPS:
        for namespace, name in group.names():
            if lenient and not _is_there(namespace, name):
                continue
            entries[f"{namespace}.{name}"] = describe(namespace, name, group.title)
            fields |= _fields(schemas_of(namespace, name))
    release = torch.__version__.split("+")[0]
    return {"torch": release, "fields": sorted(fields), "functions": {key: entries[key] for key in sorted(entries)}}


def _is_there(namespace: str, name: str) -> bool:
    try:
        resolve(namespace, name)
    except AttributeError:
        return False
    return True


def regenerate() -> str:
    """The text of functions.json for the torch that is installed: one function per line, sorted."""
    data = collect()
    body = ",\n".join(f"{json.dumps(key)}: {json.dumps(entry)}" for key, entry in data["functions"].items())
    release, fields = json.dumps(data["torch"]), json.dumps(data["fields"])
    return f'{{"torch": {release},\n"fields": {fields},\n"functions": {{\n{body}\n}}}}\n'


def main(path: Path = DATA_FILE) -> None:
    """Write the data file, all of it or nothing."""
    write_whole(path, regenerate())


if __name__ == "__main__":
    main()

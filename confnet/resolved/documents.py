"""A plan as a document: one definition for each form that a definition takes, everything else in place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from confnet.blueprint import modules_of
from confnet.catalog.registry import lookup
from confnet.checked import Checked
from confnet.diagnostics import ConfnetError
from confnet.limits import DEFAULT_LIMITS, Limits
from confnet.loading import Spec, load_text
from confnet.pipeline import make_plan
from confnet.plan import CONTAINERS, Definition, DTypeName, ModulePlan, Plan, Share
from confnet.resolved.code import codes_of, mentions, reads_of_others
from confnet.resolved.parts import (
    buffer_data,
    hook_data,
    inputs_data,
    is_own,
    method_data,
    outputs_data,
    own_data,
    parameter_data,
    rule_data,
)
from confnet.resolved.values import call_data, dtypes_in, escaped, plain_data
from confnet.source.layout import Code, Prose, lay_out
from confnet.spec.words import camel_case, is_layer_key

if TYPE_CHECKING:
    from confnet.builder.reach import Reach

__all__ = ["resolved"]

_BLOCKS = frozenset({"modules", "children", "methods", "apply", "hooks", "parameters", "buffers", *CONTAINERS})
_ABSENT: dict[str, object] = {"when": False, "Identity": {}}
_TOO_LARGE = frozenset(
    {"file-too-large", "too-many-nodes", "nested-too-deeply", "too-many-modules", "too-much-work", "too-much-code"}
)


def resolved(
    spec: Spec,
    *,
    args: Mapping[str, Any] | None = None,
    variant: str | None = None,
    root: str | None = None,
    limits: Limits = DEFAULT_LIMITS,
) -> str:
    """The text of a file that says in full what a spec means under `args`, a variant and a root.

    It has no args to set, no includes, variants, `repeat`, `when` or `auto`, and builds the same model: the same
    classes, keys, code, hooks and ties, and under one seed the same values. Raises ConfnetError with every mistake of
    the spec, and for one that is too large written out.
    """
    checked = Checked.make(spec, args or {}, variant, root, limits)
    plan = checked.settled
    definitions = {str(definition.span) for unit in spec.units() for definition in unit.document.modules}
    reach: Mapping[int, Reach] = {}
    if any(module.rules or module.hooks for module in modules_of(plan)):
        from confnet.builder.reach import reach_of  # torch, which knows what the rules mean

        reach = reach_of(checked.construct("meta", None))
    text = lay_out(_Document(plan, definitions, reach).data(), blocks=_BLOCKS, apart="modules")
    _check(text, limits)
    return text


def _check(text: str, limits: Limits) -> None:
    """That a text is a file again. Raises ConfnetError for one that is larger than a file may be."""
    try:
        make_plan(load_text(text, "<resolved>", limits), limits=limits)
    except ConfnetError as error:
        if not {diagnostic.code for diagnostic in error.diagnostics} <= _TOO_LARGE:
            raise AssertionError(f"what is written out is not the model:\n{error}\n{text}") from error
        raise


class _Document:
    """Writes a plan. `definitions` are the places of what was a definition; everything else stays where it is."""

    def __init__(self, plan: Plan, definitions: set[str], reach: Mapping[int, Reach]) -> None:
        self.plan, self.definitions, self.reach = plan, definitions, reach
        self.modules: dict[str, object] = {}
        self.known: dict[int, str] = {}
        self.forms: dict[tuple[str, str], str] = {}
        plans = list(modules_of(plan))
        self.class_names = {module.definition.name for module in plans if module.definition is not None}
        self.outside = reads_of_others(text for module in plans for text in self.texts(module))
        self.shared = self.kept(plan.root)
        """The constants of the root, which every definition of the file sees."""

    def data(self) -> dict[str, object]:
        """The document."""
        root = self.plan.root
        assert root.definition is not None, "a document's root is a definition"
        body = self.body(root, {}, in_place=False)
        modules = {"modules": self.modules} if self.modules else {}
        head: dict[str, object] = {"confnet": 1, "name": root.definition.name}
        head |= {key: body.pop(key) for key in ("description", "args", "let") if key in body}
        return {**head, **modules, **body}

    # --- modules ------------------------------------------------------------------------------------------------------

    def item(self, plan: ModulePlan | Share | None, label: str, visible: Mapping[str, object]) -> object:
        """What stands under a label."""
        if plan is None:
            return dict(_ABSENT)
        if isinstance(plan, Share):
            return {"share": escaped(plan.path)}
        return self.module(plan, label, visible)

    def module(self, plan: ModulePlan, label: str, visible: Mapping[str, object]) -> object:
        definition = plan.definition
        if definition is None:
            data = self.layer(plan, visible) | self.modifiers(plan)
            (key, value), *rest = data.items()
            return key if value is None and not rest else {k: {} if v is None else v for k, v in data.items()}
        if self.stands_in_place(plan, definition, label):
            return self.body(plan, visible, in_place=True)
        return self.defined(plan, definition)

    def stands_in_place(self, plan: ModulePlan, definition: Definition, label: str) -> bool:
        """Whether a module that has a class of its own can be written where it stands."""
        if str(definition.span) in self.definitions:
            return False
        if definition.name != (label if is_layer_key(label) else camel_case(label)):
            return False
        return not any(_needs_arg(value) for value in self.kept(plan).values()) and not self.args(plan)

    def defined(self, plan: ModulePlan, definition: Definition) -> str:
        """The name of the definition that is exactly this instance, made where there is none yet."""
        if id(plan) not in self.known:
            body = self.body(plan, {}, in_place=False)
            form = (definition.identity, repr(body))
            if form not in self.forms:
                name = self.forms[form] = self.free_name(definition.name)
                own = {"name": definition.name} if name != definition.name else {}
                self.modules[name] = {**own, **body}
            self.known[id(plan)] = self.forms[form]
        return self.known[id(plan)]

    def free_name(self, name: str) -> str:
        """A name for a definition: that of the class, or a number behind it where that means something already."""
        if name not in self.modules and lookup(name) is None and name not in CONTAINERS:
            return name
        others = self.class_names | self.modules.keys()
        return next(
            each
            for each in (f"{name}_{number}" for number in range(2, 10**9))
            if each not in others and not lookup(each)
        )

    def layer(self, plan: ModulePlan, visible: Mapping[str, object]) -> dict[str, object]:
        """The layer key and what stands under it."""
        if plan.base not in CONTAINERS:
            arguments = call_data(
                lookup(plan.base),
                plan.positional,
                plan.keywords,
                lambda inner, label: self.module(inner, label, visible),
            )
            return {plan.base: arguments}
        items = {escaped(name): self.item(child, name, visible) for name, child in plan.children.items()}
        numbered = list(plan.children) == [str(index) for index in range(len(items))]
        if not numbered or plan.base == "ModuleDict":
            return {plan.base: items}
        return {plan.base: [self.item(child, "item", visible) for child in plan.children.values()]}

    # --- bodies -------------------------------------------------------------------------------------------------------

    def body(self, plan: ModulePlan, visible: Mapping[str, object], *, in_place: bool) -> dict[str, object]:
        """A composite, or a named subclass of a layer; `visible` are constants of what stands around it."""
        definition = plan.definition
        assert definition is not None
        kept = self.kept(plan)
        seen = {**(self.shared if plan is not self.plan.root else {}), **visible}
        args = self.args(plan)
        let = {n: plain_data(v) for n, v in kept.items() if n not in args and not (n in seen and _same(seen[n], v))}
        inner = {**visible, **{name: value for name, value in kept.items() if name in let}}
        taken = {name: f"{name}_" for name in {**seen, **inner}}
        contract = plan.contracts.get("forward")
        data: dict[str, object] = {
            "description": Prose(definition.description) if definition.description else None,
            "args": args,
            "let": let,
            "inputs": inputs_data(contract, taken),
            "outputs": outputs_data(contract, taken),
        }
        if definition.base == "Module":
            data["children"] = {escaped(n): self.item(child, n, inner) for n, child in plan.children.items()}
            data["parameters"] = {name: parameter_data(each) for name, each in plan.parameters.items()}
            data["buffers"] = {name: buffer_data(each) for name, each in plan.buffers.items()}
            data["tie"] = {escaped(tie.name): escaped(tie.to) for tie in plan.ties}
        else:
            data.update({key: {} if value is None else value for key, value in self.layer(plan, inner).items()})
        methods = dict(definition.methods)
        forward = methods.pop("forward", None)
        if forward is not None:
            data["forward"] = Code(forward.code.text)
        data["methods"] = {n: method_data(each, plan.contracts.get(n), taken) for n, each in methods.items()}
        filled = {
            k: v for k, v in data.items() if (k in ("inputs", definition.base) and v is not None) or v not in (None, {})
        }
        if definition.base == "Module" and not filled.keys() & {"children", "parameters", "buffers", "forward", "tie"}:
            filled["children"] = {}
        if in_place and definition.base != "Module" and not filled.keys() - {definition.base}:
            filled["let"] = {}  # what tells a class of its own from the layer
        return filled | self.modifiers(plan)

    def modifiers(self, plan: ModulePlan) -> dict[str, object]:
        """What stands beside a layer key or in a body: a rule about it alone, `apply` and hooks."""
        reach = self.reach.get(id(plan))
        rules = [(rule, reach.rules.get(index) if reach else None) for index, rule in enumerate(plan.rules)]
        data: dict[str, object] = {}
        own = None
        if rules and is_own(rules[-1][0]):
            own = rules.pop()
        if own is not None and own[1] is not None:
            data.update(own_data(own[0], _idle(own[0].init, own[0].parametrize, own[1])))
        reached = [
            rule_data(rule, _idle(rule.init, rule.parametrize, names)) for rule, names in rules if names is not None
        ]
        if any(reached):
            data["apply"] = [rule for rule in reached if rule]
        hooks = [hook_data(hook) for index, hook in enumerate(plan.hooks) if reach and index in reach.hooks]
        return data | ({"hooks": hooks} if hooks else {})

    def kept(self, plan: ModulePlan) -> dict[str, object]:
        """The constants that some code reads: of this module, or of a module around it."""
        own = mentions(self.texts(plan))
        held = {*plan.children, *plan.parameters, *plan.buffers}
        return {
            name: value
            for name, value in plan.constants.items()
            if name not in held and (name in own or (name in plan.own_args and name in self.outside))
        }

    def args(self, plan: ModulePlan) -> Mapping[str, object]:
        """The constants that must be args: those that the code of others reads, and dtypes, which no `let` gives."""
        kept = self.kept(plan)
        dtypes = {name: DTypeName(name) for value in kept.values() for name in dtypes_in(value)}
        return {name: _fixed(value) for name, value in dtypes.items()} | {
            name: _fixed(value)
            for name, value in kept.items()
            if _needs_arg(value) or (name in plan.own_args and name in self.outside)
        }

    def texts(self, plan: ModulePlan) -> Iterator[str]:
        """All code of a module that may read its constants."""
        reach = self.reach.get(id(plan))
        return codes_of(plan, rules=reach.rules if reach else (), hooks=reach.hooks if reach else ())


def _idle(*rest: Any) -> frozenset[str]:
    *tables, names = rest
    return frozenset(name for table in tables for name in table if name not in names)


def _needs_arg(value: object) -> bool:
    return isinstance(value, DTypeName)


def _fixed(value: object) -> dict[str, object]:
    """An arg that has one value."""
    if isinstance(value, DTypeName):
        return {"type": "dtype", "default": value.name}
    types = {bool: "bool", int: "int", float: "float", str: "str", list: "list", dict: "dict"}
    data: dict[str, object] = {"type": types.get(type(value), "any"), "default": plain_data(value)}
    is_equal = isinstance(value, bool | int | float | str) and value == value  # NaN is not
    return {**data, "choices": [value]} if is_equal else data


def _same(one: object, other: object) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)

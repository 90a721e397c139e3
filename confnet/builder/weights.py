"""Pretrained weights into a model: every name must have its partner, and nothing is initialised in vain.

A model is first made on the meta device and matched with the weights there, by torch's own `load_state_dict`, so that
the hooks of its files act. If every value comes from the weights, only those are allocated. Otherwise, or where a
model can do things that the meta device does not show, it is made as usual and loaded into.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from confnet.blueprint import modules_of
from confnet.builder.builtin_hooks import IMPLEMENTATIONS
from confnet.builder.construct import Built
from confnet.builder.filling import refused
from confnet.builder.hooks import retie
from confnet.builder.meta import buffers_without_values, compute_again
from confnet.builder.origins import ORIGINS, WeightOrigin
from confnet.builder.streams import copy_all
from confnet.builder.weight_files import Checkpoint, Stored, WeightsLike, read_weights
from confnet.builder.weight_problems import Comparison, Place, problems
from confnet.builder.weight_slots import computed_of, loads_plainly, own_state, slots_of
from confnet.catalog.arguments import bind
from confnet.catalog.hooks import BUILTIN_HOOKS
from confnet.diagnostics import ConfnetError, Diagnostic
from confnet.plan import ModulePlan, Plan

__all__ = ["REPORT", "LoadReport", "RenameLike", "Weights", "WeightsLike", "build_with", "load_report"]

REPORT = "_confnet_load_report"

RenameLike = Mapping[str, str | None] | Sequence[tuple[str, str | None]]
"""Regular expressions and what replaces them in keys, as `re.sub` does; None leaves out the keys that match."""


@dataclass(frozen=True)
class LoadReport:
    """What became of the weights that a model was built with.

    `loaded` are the names of the model's state dict that have their values from the weights; `missing` those that
    were initialised as without weights, `unexpected` keys that the model has no place for (both empty unless the
    caller gave `strict=False`), `dropped` keys that the caller left out. A wrong shape is always an error.
    """

    files: tuple[str, ...]
    loaded: Mapping[str, WeightOrigin] = field(repr=False)
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def __str__(self) -> str:
        files = self.files[0] if len(self.files) == 1 else f"{len(self.files)} files"
        lines = [f"{len(self.loaded)} tensors loaded from {files}"]
        told = {"missing": self.missing, "unexpected": self.unexpected, "dropped": self.dropped}
        lines += [f"{what}: {name}" for what, names in told.items() for name in names]
        return "\n".join(lines)


@dataclass(frozen=True)
class Weights:
    """What a caller says of weights: where they are, the keys to rename, whether all names must have a partner."""

    source: WeightsLike
    rename: RenameLike | None = None
    strict: bool = True
    form: str = "safetensors"

    def rules(self) -> tuple[tuple[str, str | None], ...]:
        """The rename rules, checked as those of the hook `rename_keys` are. Raises ConfnetError, or TypeError."""
        given: Any = self.rename or ()
        if not isinstance(given, Mapping | Sequence) or isinstance(given, str):
            raise TypeError(f"`rename` maps patterns to texts or None, not {type(given).__name__}")
        rules = []
        wrong: list[Diagnostic] = []
        for pattern, to in given.items() if isinstance(given, Mapping) else given:
            if not isinstance(pattern, str) or not isinstance(to, str | None):
                raise TypeError("`rename` maps patterns to texts or None")
            name, arguments = ("drop_keys", (pattern,)) if to is None else ("rename_keys", (pattern, to))
            bound = bind(BUILTIN_HOOKS[name], arguments, {})
            wrong += [Diagnostic(problem.code, problem.message, help=problem.help) for problem in bound.problems]
            rules.append((pattern, to))
        if wrong:
            raise ConfnetError(wrong)
        return tuple(rules)


@dataclass(frozen=True)
class _Renamed:
    """A checkpoint under the names that the caller gives its keys."""

    entries: Mapping[str, Stored]
    dropped: tuple[str, ...]
    files: tuple[str, ...]
    metadata: Any

    @classmethod
    def of(cls, checkpoint: Checkpoint, rules: Iterable[tuple[str, str | None]]) -> _Renamed:
        rules = tuple(rules)
        entries: dict[str, Stored] = {}
        dropped = []
        for key, stored in checkpoint.entries.items():
            name = _renamed(key, rules)
            if name is None:
                dropped.append(key)
            elif name in entries:
                message = f"`{entries[name].key}` and `{key}` of the weights would both be called `{name}`"
                help = "make the patterns of `rename` match one of them, or leave one out"
                raise ConfnetError([Diagnostic("duplicate-weights", message, help=help)])
            else:
                entries[name] = stored
        return cls(entries, tuple(dropped), checkpoint.files, checkpoint.metadata)


def _renamed(key: str, rules: Iterable[tuple[str, str | None]]) -> str | None:
    """A key after all rules, by the built-in hooks themselves; None if one drops it."""
    for pattern, to in rules:
        state: dict[str, None] = {key: None}
        arguments = (pattern,) if to is None else (pattern, to)
        IMPLEMENTATIONS["drop_keys" if to is None else "rename_keys"](
            None, {"state_dict": state, "prefix": ""}, *arguments
        )
        if not state:
            return None
        (key,) = state
    return key


def build_with(
    weights: Weights,
    plan: Plan,
    make: Callable[[torch.device | str | None, frozenset[str]], Built],
    device: torch.device | str | None,
) -> Built:
    """The model of a plan with these weights; `make` constructs it on a device, without first values for names that
    are loaded.

    On the meta device names and shapes are compared and nothing is read; at most one model is made elsewhere. Raises
    ConfnetError where the weights cannot be read or do not fit the model.
    """
    checkpoint = _Renamed.of(read_weights(weights.source, weights.form), weights.rules())
    target = torch.get_default_device() if device is None else torch.device(device)
    loaded: frozenset[str] = frozenset()
    if _shown_by_meta(plan):
        built = make("meta", loaded)
        if all(_is_torch_or_ours(type(module)) for module in built.module.modules()):
            match = _Match(built, checkpoint, weights.strict)
            match.run()
            if target.type == "meta" or (not match.missing and _materialise(built.module, match, target)):
                return match.noted()
            loaded = frozenset(match.found)
    built = make(device, loaded)
    match = _Match(built, checkpoint, weights.strict)
    match.run()
    return match.noted()


def load_report(model: nn.Module) -> LoadReport:
    """What became of the weights that a model was built with.

    Raises TypeError for a module that is not the root of a build with `weights`.
    """
    found = getattr(model, "__dict__", {}).get(REPORT)
    if not isinstance(found, LoadReport):
        raise TypeError(f"`{type(model).__name__}` is not the root of a model that was built with weights")
    return found


# --- matching -------------------------------------------------------------------------------------------------------


class _Match:
    """One run of `load_state_dict` on a model, watched: which name took which tensor."""

    def __init__(self, built: Built, checkpoint: _Renamed, strict: bool) -> None:
        self.built, self.checkpoint, self.strict = built, checkpoint, strict
        self.slots = list(slots_of(built.module))
        self.named: dict[int, list[str]] = {}  # the names of each tensor of the model
        for slot in self.slots:
            self.named.setdefault(id(slot.tensor), []).append(slot.name)
        self.found: dict[str, torch.Tensor] = {}
        self.misshapen: dict[str, tuple[int, ...]] = {}
        self.missing: tuple[str, ...] = ()
        self.unexpected: tuple[str, ...] = ()

    def run(self) -> None:
        """Match, and load unless the model is on meta. Raises ConfnetError where the weights do not fit."""
        if not self.plainly():
            self.by_torch()
        found = problems(self.comparison(), self.strict)
        if found:
            raise ConfnetError(found)

    def plainly(self) -> bool:
        """Match a model on meta by its names alone, where torch would do no more: every tensor has a value of its
        shape, every key a place, and nobody has a hand in it. Otherwise nothing is matched yet."""
        if not all(map(loads_plainly, self.built.module.modules())):
            return False
        entries = self.checkpoint.entries
        found: dict[str, torch.Tensor] = {}
        held: set[int] = set()
        for slot in self.slots:
            stored = entries.get(slot.name)
            if not slot.tensor.is_meta or is_lazy(slot.tensor):
                return False
            if stored is not None:
                if stored.tensor.shape != slot.tensor.shape:
                    return False
                found[slot.name] = stored.tensor
                held.add(id(slot.tensor))
        if len(found) != len(entries) or len(held) != len(self.named):
            return False
        self.found = found
        return True

    def by_torch(self) -> None:
        """Match by one run of torch's `load_state_dict`."""
        module = self.built.module
        state: OrderedDict[str, Any] = OrderedDict((k, each.tensor) for k, each in self.checkpoint.entries.items())
        if self.checkpoint.metadata is not None:
            state._metadata = self.checkpoint.metadata  # type: ignore[attr-defined]
        handles = [inner.register_load_state_dict_pre_hook(self.watch) for inner in module.modules()]
        try:
            missing, unexpected = module.load_state_dict(state, strict=False)
        except Exception as error:  # of a hook, a registered layer, or torch
            root = self.built.places[module]
            raise refused("the weights cannot be loaded", error, root.span, root.chain) from error
        finally:
            for handle in handles:
                handle.remove()
        held = {id(slot.tensor) for slot in self.slots if slot.name in self.found or slot.name in self.misshapen}
        of = {slot.name: id(slot.tensor) for slot in self.slots}
        self.missing = tuple(dict.fromkeys(name for name in missing if of.get(name) not in held))
        self.unexpected = tuple(dict.fromkeys(unexpected))

    def watch(self, module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
        """What torch calls as the last hook before a module takes its own tensors from a state dict."""
        for name, tensor in own_state(module):
            value = state.get(prefix + name)
            if not isinstance(value, torch.Tensor):
                continue
            if is_lazy(tensor) or _fits(value, tensor):
                self.found[prefix + name] = value
                if not tensor.is_meta:
                    continue  # torch copies it
            else:
                self.misshapen[prefix + name] = tuple(value.shape)
            state[prefix + name] = tensor.detach()

    def comparison(self) -> Comparison:
        lazy = {slot.name for slot in self.slots if is_lazy(slot.tensor)}
        return Comparison(
            expected={s.name: () if s.name in lazy else tuple(s.tensor.shape) for s in self.slots},
            given={key: tuple(stored.tensor.shape) for key, stored in self.checkpoint.entries.items()},
            loaded=len(self.found),
            missing=self.missing,
            unexpected=self.unexpected,
            misshapen=self.misshapen,
            tied={name: tuple(names) for names in self.named.values() for name in names},
            differing=tuple(self.differing()),
            computed=frozenset(computed_of(self.built.module)),
            place=self.place,
        )

    def differing(self) -> Iterator[tuple[str, str, Place]]:
        """Names of one tensor that the weights give different values."""
        for names in self.named.values():
            first, *others = [name for name in names if name in self.found] or [""]
            for other in others:
                if not _equal(self.found[first], self.found[other]):
                    yield first, other, self.tie({first, other})

    def place(self, name: str) -> Place:
        """Where a parameter, buffer or module stands in the file, or else what holds it."""
        module: nn.Module = self.built.module
        plan: ModulePlan | None = self.built.places[module]
        found = Place(self.built.places[module].span, self.built.places[module].chain)
        for step in name.split(".") if name else ():
            if plan is not None and step in plan.places:
                found = Place(plan.places[step], plan.chain)
            child = module._modules.get(step)
            if child is None:
                own = {**plan.parameters, **plan.buffers}.get(step) if plan is not None else None
                return found if own is None or plan is None else Place(own.span, plan.chain)
            module, plan = child, self.built.places.get(child)
            if plan is not None and found.span is None:
                found = Place(plan.span, plan.chain)
        return found

    def tie(self, names: set[str]) -> Place:
        """Where the file says that one of these names is another."""
        for path, module in self.built.module.named_modules():
            plan = self.built.places.get(module)
            for tie in plan.ties if plan is not None else ():
                if names & {f"{path}.{tie.name}" if path else tie.name}:
                    return Place(tie.span, plan.chain if plan is not None else ())
        return self.place(min(names))

    def noted(self) -> Built:
        """The model, with a report of the loading, and what set each parameter."""
        module, entries = self.built.module, self.checkpoint.entries
        stored = {id(each.tensor): WeightOrigin(each.file, each.key) for each in entries.values()}
        made = WeightOrigin(self.checkpoint.files[0], None)
        loaded = {}
        for slot in self.slots:
            source = next((self.found[n] for n in self.named[id(slot.tensor)] if n in self.found), None)
            if source is not None:
                loaded[slot.name] = stored.get(id(source), made)
        report = LoadReport(self.checkpoint.files, loaded, self.missing, self.unexpected, self.checkpoint.dropped)
        module.__dict__[REPORT] = report
        parameters = (name for name, _ in module.named_parameters())
        module.__dict__[ORIGINS].update({name: loaded[name] for name in parameters if name in loaded})
        return self.built


def _fits(value: torch.Tensor, tensor: torch.Tensor) -> bool:
    """Whether torch loads one into the other: it takes one element for a scalar, as checkpoints of torch 0.3 have."""
    return value.shape == tensor.shape or (tensor.dim() == 0 and tuple(value.shape) == (1,))


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors have the same values, NaN for NaN."""
    if one is other:
        return True
    if one.shape != other.shape:
        return False
    same = (one == other) | ((one != one) & (other != other))
    return bool(same.all())


# --- the model ------------------------------------------------------------------------------------------------------


def _shown_by_meta(plan: Plan) -> bool:
    """Whether a model that is made on meta lacks nothing but values: no rule calls a function of the caller, and no
    hook does more to a state dict than to rename its keys."""
    for module in modules_of(plan):
        if any(rule.calls for rule in module.rules):
            return False
        for hook in module.hooks:
            if hook.kind == "load_state_dict_post":
                return False
            if hook.kind == "load_state_dict_pre" and (hook.call is None or hook.call.name not in BUILTIN_HOOKS):
                return False
    return True


def _is_torch_or_ours(cls: type) -> bool:
    """Whether nobody else had a hand in a class: a registered layer may keep tensors where only it knows."""
    return all(base is object or base.__module__.partition(".")[0] in ("torch", "confnet") for base in cls.__mro__)


def _materialise(root: nn.Module, match: _Match, device: torch.device) -> bool:
    """Give a model on meta the values of the weights, each allocated once, and those of the file for what it computes.

    False, where something is left without values; the model is of no use then.
    """
    made: dict[int, torch.Tensor] = {}
    copies: list[tuple[torch.Tensor, torch.Tensor]] = []
    for slot in match.slots:
        old = slot.tensor
        if is_lazy(old):
            return False
        if id(old) not in made:
            source = next(match.found[name] for name in match.named[id(old)] if name in match.found)
            # Not the mapped tensor itself: a file that is overwritten later would change the model, or end the process.
            new = torch.empty(old.shape, dtype=old.dtype, device=device)
            copies.append((new, source.reshape(old.shape)))
            made[id(old)] = nn.Parameter(new, old.requires_grad) if isinstance(old, nn.Parameter) else new
        slot.put(made[id(old)])
    copy_all(copies)
    for module in root.modules():
        computed = buffers_without_values(module)
        for name in computed:
            module._buffers[name] = torch.empty_like(module._buffers[name], device=device)  # type: ignore[arg-type]
        compute_again(module, computed)
        retie(module, ())  # hooks on parameters
        if isinstance(module, nn.RNNBase):
            module.flatten_parameters()
    return not any(_without_values(module) for module in root.modules())


def _without_values(module: nn.Module) -> bool:
    """Whether a module holds a tensor on meta, wherever it keeps it."""
    waiting: list[Any] = [module.__dict__]
    while waiting:
        holder = waiting.pop()
        for value in holder.values() if isinstance(holder, dict) else holder:
            if isinstance(value, torch.Tensor):
                if value.is_meta:
                    return True
            elif isinstance(value, dict | list | tuple) and value:
                waiting.append(value)
    return False

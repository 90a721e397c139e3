"""Values that wait: what each tensor of a model on meta begins with, drawn once when the model is complete.

Whatever a file says of a parameter while the model is constructed only replaces what was said before. At the end each
parameter is allocated and drawn from a stream of its own, by what was said last. What must have values sooner (a
parametrization, a registered function that a rule calls) gets them then, from the same streams.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import nn
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter, is_lazy

from confnet.builder.defaults import Slot, copies_of, defaults_of, reset_buffers
from confnet.builder.hooks import TIES
from confnet.builder.initializers import Initializer
from confnet.builder.selection import parameters_of
from confnet.builder.streams import InitializationError, Job, generator_for, run_all

__all__ = ["Later", "Pending"]

_LATER = "_confnet_later"
_APART = 2**26  # elements that may be drawn beside their tensors at a time, where these are of another dtype


@dataclass(frozen=True, slots=True, eq=False)
class Later:
    """What fills a parameter: `make` gives the initialiser of a tensor, `failed` the error to raise for torch's.

    A layer that copies a module copies what its parameters wait for as well.
    """

    make: Callable[[torch.Tensor], Initializer]
    failed: Callable[[Exception], Exception]
    dtype: torch.dtype

    def __deepcopy__(self, memo: Mapping[int, Any]) -> Later:
        return self


@dataclass(eq=False)
class Pending:
    """The values that a model on meta waits for, on `device`.

    With `draw_on_cpu` all is drawn on the CPU, so that every device gets the same bits. Parameters under the names of
    `skip` are allocated and left as they are. `replaced` is told of each parameter that another takes the place of.
    """

    device: torch.device
    seed: int
    draw_on_cpu: bool = False
    skip: Collection[str] = ()
    replaced: Callable[[nn.Parameter, nn.Parameter], None] = lambda old, new: None
    chosen: dict[int, tuple[nn.Parameter, Later]] = field(default_factory=dict)
    dtypes: dict[int, tuple[torch.Tensor, list[torch.dtype]]] = field(default_factory=dict)

    @property
    def drawn_on(self) -> torch.device:
        """Where random values come from."""
        return torch.device("cpu") if self.draw_on_cpu else self.device

    def set(self, module: nn.Module, name: str, later: Later) -> None:
        """From now on this is what a parameter of a module begins with."""
        parameter = module._parameters[name]
        assert parameter is not None
        self.chosen[id(parameter)] = (parameter, later)
        self.dtypes.pop(id(parameter), None)
        module.__dict__.setdefault(_LATER, {})[name] = later

    def forget(self, module: nn.Module, name: str) -> None:
        """A parameter of a module is set by the constructor of a layer around it, or replaced by another."""
        self.chosen.pop(id(module._parameters.get(name)), None)
        self.dropped(module, name)

    def dropped(self, module: nn.Module, name: str) -> None:
        """The same for one of the names of a parameter."""
        module.__dict__.get(_LATER, {}).pop(name, None)

    def converting(self, modules: Collection[nn.Module]) -> None:
        """Parameters of these modules are about to change their dtype: they are drawn in the one that they have now."""
        for module in modules:
            for tensor in module._parameters.values():
                if tensor is not None and tensor.is_meta:
                    self.dtypes.setdefault(id(tensor), (tensor, []))[1].append(tensor.dtype)

    @contextmanager
    def drawing(self, fqn: str) -> Iterator[None]:
        """Within it the global generators are at the beginning of the stream of a name; afterwards as before."""
        device = self.drawn_on
        devices = [] if device.type in ("cpu", "meta") else [device]
        with torch.random.fork_rng(devices, device_type=device.type if devices else "cuda"):
            generator = generator_for(self.seed, fqn)
            torch.set_rng_state(generator.get_state())
            if devices:
                number = int(torch.randint(2**63 - 1, (), generator=generator, device="cpu"))
                torch.get_device_module(device).manual_seed(number)
            yield

    def settle(self, holder: nn.Module, path: str = "", modules: Collection[nn.Module] | None = None) -> None:
        """Give the tensors of `modules` (None: all) their values; `path` is the name of `holder`, which holds them.

        Raises what `Later.failed` makes of the error of an initialiser.
        """
        waiting = _Waiting.of(self, holder, path, modules)
        made = waiting.allocate()
        self.draw(made)
        for module in holder.modules() if modules is None else modules:
            self.buffers(module)

    def finish(self, root: nn.Module) -> None:
        """Give all that is left its values."""
        self.settle(root)
        moved: dict[int, nn.Parameter] = {}
        for module in root.modules():
            module.__dict__.pop(_LATER, None)
            if self.draw_on_cpu and self.device.type != "cpu":
                self.move(module, moved)
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()

    def move(self, module: nn.Module, moved: dict[int, nn.Parameter]) -> None:
        """Bring what was drawn on the CPU where it belongs."""
        for name, parameter in module._parameters.items():
            if parameter is None or parameter.device.type != "cpu" or isinstance(parameter, UninitializedParameter):
                continue
            if id(parameter) not in moved:
                moved[id(parameter)] = nn.Parameter(parameter.detach().to(self.device), parameter.requires_grad)
                self.replaced(parameter, moved[id(parameter)])
            setattr(module, name, moved[id(parameter)])
        for name, buffer in module._buffers.items():
            if buffer is not None and not is_lazy(buffer) and buffer.device.type == "cpu":
                module._buffers[name] = buffer.to(self.device)

    # --- parameters -----------------------------------------------------------------------------------------------

    def draw(self, made: list[_Made]) -> None:
        """Run the initialisers: those that draw in the dtype of their tensor all together."""
        together = [each for each in made if not each.apart]
        self.run(together, [each.tensor for each in together])
        apart, size = [], 0
        for each in made:
            if each.apart:
                apart.append(each)
                size += each.tensor.numel()
                if size > _APART:
                    self.converted(apart)
                    apart, size = [], 0
        self.converted(apart)

    def converted(self, made: list[_Made]) -> None:
        drawn = [torch.empty(each.tensor.shape, dtype=each.dtypes[0], device=self.device) for each in made]
        self.run(made, drawn)
        for each, tensor in zip(made, drawn, strict=True):
            for dtype in each.dtypes[1:]:
                tensor = tensor.to(dtype)
            each.tensor.copy_(tensor)

    def run(self, made: list[_Made], tensors: list[torch.Tensor]) -> None:
        jobs, failed = [], {}
        for each, tensor in zip(made, tensors, strict=True):
            initializer = each.source
            if isinstance(initializer, Later):
                failed[each.fqn] = initializer.failed
                initializer = initializer.make(tensor)
            jobs.append(Job(tensor, initializer, self.seed, each.fqn))
        try:
            with torch.device("cpu"):  # where code makes tensors of its own
                run_all(jobs, draw_on_cpu=self.draw_on_cpu)
        except InitializationError as error:
            job, cause = error.failures[0]
            raise failed[job.fqn](cause) if job.fqn in failed else cause from cause

    # --- buffers --------------------------------------------------------------------------------------------------

    def buffers(self, module: nn.Module) -> None:
        """Give the buffers of a module the values that its class gives them; those of a file have theirs."""
        waiting = [name for name, buffer in module._buffers.items() if buffer is not None and buffer.is_meta]
        for name in waiting:
            old = module._buffers[name]
            if isinstance(old, UninitializedBuffer):
                module._buffers[name] = _lazy_buffer(self.device, old.dtype)
            elif old is not None:
                module._buffers[name] = torch.empty_like(old, device=self.device)
        unknown = set(reset_buffers(module)).intersection(waiting) if waiting else ()
        assert not unknown, f"nobody knows the values of {unknown}"


@dataclass(slots=True, eq=False)
class _Made:
    """A tensor that was allocated: `source` fills it, in the first of `dtypes`, from which it goes through the others
    to its own."""

    tensor: torch.Tensor
    source: Later | Initializer
    dtypes: list[torch.dtype]
    fqn: str

    @property
    def apart(self) -> bool:
        """Whether it is not drawn in its own memory."""
        return any(dtype != self.tensor.dtype for dtype in self.dtypes)


@dataclass(slots=True, eq=False)
class _Waiting:
    """The parameters on meta of some modules: each with its places, by the order of their names."""

    pending: Pending
    slots: dict[int, list[Slot]]
    paths: dict[nn.Module, str]
    names: dict[Slot, str]
    aside: set[Slot]  # places that a tie gave to another parameter
    defaults: dict[Slot, Initializer]
    copies: dict[Slot, Slot]

    @classmethod
    def of(cls, pending: Pending, holder: nn.Module, path: str, modules: Collection[nn.Module] | None) -> _Waiting:
        slots: dict[int, list[Slot]] = {}
        for module, name, parameter in parameters_of(holder):
            if parameter.is_meta:
                slots.setdefault(id(parameter), []).append((module, name))
        if modules is not None:
            slots = {key: each for key, each in slots.items() if any(module in modules for module, _ in each)}
        paths = {module: _joined(path, name) for name, module in holder.named_modules()}
        names = {(module, name): _joined(paths[module], name) for each in slots.values() for module, name in each}
        aside = set()
        for module in holder.modules() if slots else ():
            for tied, _ in module.__dict__.get(TIES, ()):
                owner, _, leaf = tied.rpartition(".")
                aside.add((module.get_submodule(owner), leaf))
        return cls(
            pending,
            slots,
            paths,
            names,
            aside,
            defaults_of(holder) if slots else {},
            copies_of(holder) if slots else {},
        )

    def allocate(self) -> list[_Made]:
        """Put a tensor with memory in the place of each, and tell what is to fill it."""
        made = []
        for places in self.slots.values():
            old = places[0][0]._parameters[places[0][1]]
            assert old is not None
            device = self.pending.device
            if isinstance(old, UninitializedParameter):
                self.put(places, old, _lazy_parameter(old, device))
                continue
            tensor = torch.empty(old.shape, dtype=old.dtype, device=device)
            source, name = self.source(places, old)
            first = source.dtype if isinstance(source, Later) else old.dtype
            dtypes = self.pending.dtypes[id(old)][1] if id(old) in self.pending.dtypes else [first]
            if not any(self.names[slot] in self.pending.skip for slot in places):
                made.append(_Made(tensor, source, dtypes, name))
            self.put(places, old, nn.Parameter(tensor, old.requires_grad))
        return made

    def name(self, slot: Slot) -> str:
        return _joined(self.paths[slot[0]], slot[1])

    def put(self, places: list[Slot], old: nn.Parameter, new: nn.Parameter) -> None:
        for module, name in places:
            if isinstance(module, nn.RNNBase):
                setattr(module, name, new)  # which keeps a list of its parameters by this
            else:
                module._parameters[name] = new
        self.pending.replaced(old, new)

    def source(self, places: list[Slot], old: nn.Parameter) -> tuple[Later | Initializer, str]:
        """What fills a parameter, and the name of its stream."""
        chosen = self.pending.chosen.get(id(old))
        if chosen is not None:
            return chosen[1], self.names[places[0]]
        name = next((self.name(self.copies[slot]) for slot in places if slot in self.copies), self.names[places[0]])
        for module, leaf in places:
            later = module.__dict__.get(_LATER, {}).get(leaf)
            if later is not None:
                return later, name
        for slot in places:
            if slot in self.defaults and slot not in self.aside:
                return self.defaults[slot], name
        raise AssertionError(f"nobody knows what `{self.names[places[0]]}` begins with")


def _lazy_parameter(like: nn.Parameter, device: torch.device) -> nn.Parameter:
    made: Any = UninitializedParameter
    return cast(nn.Parameter, made(like.requires_grad, device, like.dtype))


def _lazy_buffer(device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    made: Any = UninitializedBuffer
    return cast(torch.Tensor, made(False, device, dtype))


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path and name else path or name

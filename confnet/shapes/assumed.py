"""What is wrong beside the first mistake: a definition that fails is taken to keep its contract, and the rest goes on.

Only a contract that says all of the one value that comes out can stand for a forward; what is found then is wrong
whatever becomes of the definition.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from confnet.plan import Contract, ModulePlan
from confnet.shapes.matching import ContractError, evaluated
from confnet.shapes.operands import tensors_in
from confnet.shapes.steps import Step

__all__ = ["blamed", "promised"]


def promised(contract: Contract, binding: Mapping[str, int], given: Sequence[Any]) -> torch.Tensor:
    """The value that a contract promises, under the sizes that its inputs have bound.

    Its dtype is that of the contract, or else of the first floating-point tensor that was given.
    """
    output = (contract.outputs or ())[0]
    floating = [tensor.dtype for tensor in tensors_in(given) if tensor.is_floating_point()]
    dtype = getattr(torch, output.dtype) if output.dtype else next(iter(floating), torch.get_default_dtype())
    sizes = [evaluated(size, binding) for size in output.shape or ()]
    return torch.empty([size if size is not None else 1 for size in sizes], dtype=dtype, device="meta")


def blamed(
    error: Exception, steps: Sequence[Step], plans: Mapping[nn.Module, ModulePlan], root: nn.Module
) -> str | None:
    """The innermost definition at work when a forward failed that has a contract to stand for it; None if none has.

    What is given to a module against its contract is the mistake of whoever calls it. A contract that what comes out
    does not meet stands for nothing: who is right is not known.
    """
    modules = [step.module for step in steps if step.module is not None]
    if isinstance(error, ContractError):
        if error.output or error.method:
            return None
        if error.owner in modules:
            modules = modules[: modules.index(error.owner)]
    for module in reversed(modules):
        plan = plans.get(module)
        if module is root or plan is None or plan.definition is None:
            continue
        contract = plan.contracts.get("forward")
        return plan.definition.identity if contract is not None and _says_all(contract) else None
    return None


def _says_all(contract: Contract) -> bool:
    """Whether a contract has one output, whose sizes are settled by those of the inputs."""
    if contract.outputs is None or len(contract.outputs) != 1 or contract.outputs[0].shape is None:
        return False
    known = {symbol for item in contract.inputs or () for size in item.shape or () for symbol in size.symbols}
    return all(size.value is not None and known.issuperset(size.symbols) for size in contract.outputs[0].shape)

"""The figures of an overview as text."""

from __future__ import annotations

from confnet.overview import Counts, Node, Overview
from confnet.render import printable

__all__ = ["flops_text", "footer", "parameters_text", "size_text", "what_text"]


def what_text(node: Node) -> str:
    """The class of a module with its arguments: `Conv2d(3, 64, 7, stride=2)`."""
    plain = {"", *node.required}
    arguments = ", ".join(value if name in plain else f"{name}={value}" for name, value in node.arguments)
    return printable(f"{node.type}({arguments})" if arguments else node.type)


def parameters_text(counts: Counts) -> str:
    """The number of parameters, empty for none."""
    if not counts.parameters and not counts.lazy:
        return ""
    return f"{counts.parameters:,}" + (" + lazy" if counts.lazy else "")


def flops_text(node: Node) -> str:
    """The FLOPs of a module, empty for none."""
    return _scaled(node.flops) if node.flops else ""


def _scaled(number: int) -> str:
    """`3.63 G`."""
    for factor, unit in ((10**15, " P"), (10**12, " T"), (10**9, " G"), (10**6, " M"), (10**3, " k")):
        if number >= factor:
            return f"{number / factor:.3g}{unit}" if number < 999.5 * factor else f"{number / factor:.0f}{unit}"
    return str(number)


def size_text(size: int) -> str:
    """`44.6 MiB`."""
    for factor, unit in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")):
        if size >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size} B"


def _totals(counts: Counts) -> str:
    text = f"{counts.parameters:,} parameters: {counts.trainable:,} trainable, {counts.frozen:,} frozen"
    text += f"; buffers: {counts.buffers:,}" if counts.buffers else ""
    return f"{text}; {counts.lazy} not sized before the first forward" if counts.lazy else text


def footer(overview: Overview) -> list[str]:
    """The totals, a fact a line."""
    found = [_totals(overview.root.counts)]
    if overview.inputs:
        needs = f" where {' and '.join(overview.conditions)}" if overview.conditions else ""
        found.append(f"{', '.join(overview.inputs)} -> {', '.join(overview.outputs) or 'nothing'}{needs}")
    at = ", ".join(f"{name}={size}" for name, size in overview.sizes.items())
    if overview.root.flops is not None:
        where = f" at {at}" if at else ""
        found.append(f"{_scaled(overview.root.flops)} FLOPs{where} (torch's count: a multiply and an add are two)")
    memory = overview.memory
    parts = [("weights", memory.weights), ("buffers", memory.buffers), ("gradients", memory.gradients)]
    parts += [("Adam", memory.optimizer), *([("activations", memory.activations)] if memory.activations else [])]
    told = ", ".join(f"{name} {size_text(size)}" for name, size in parts if size)
    least = "" if memory.activations is not None else "at least "
    found.append(
        f"a training step in {overview.dtype} takes {least}{size_text(memory.total)}" + (f": {told}" if told else "")
    )
    return [printable(line) for line in (*found, *overview.reasons)]

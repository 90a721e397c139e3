"""Shares and ties: the modules and parameters that a path means."""

from __future__ import annotations

from confnet.catalog.registry import lookup
from confnet.check.tree import absent, arrows, below, module_at, placed_shares
from confnet.diagnostics import Collector, Note, Span, closest
from confnet.plan import BROKEN, ModulePlan, Share

__all__ = ["Links"]


class Links:
    """Looks up what shares and ties name. `targets` holds the module that each share means, by the share's id."""

    def __init__(self, found: Collector) -> None:
        self.found = found
        self.targets: dict[int, ModulePlan] = {}
        self.circles: set[str] = set()  # the paths of shares that are reported to go in a circle

    def shares(self, plan: ModulePlan) -> None:
        """Find the module that each share below a definition means."""
        for place, share in placed_shares(plan):
            target = self.share_target(plan, place, share, ())
            if target is not None:
                self.targets[id(share)] = target

    def share_target(self, plan: ModulePlan, place: str, share: Share, seen: tuple[str, ...]) -> ModulePlan | None:
        if share.path in seen:
            if not self.circles & {*seen}:  # once, for whichever of its shares is met first
                self.circles |= {*seen}
                self.error(
                    "recursive-share",
                    f"shares go in a circle: {arrows((*seen, share.path))}",
                    share.span,
                    plan.chain,
                    help="write one of the modules out",
                )
            return None
        if f"{place}.".startswith(f"{share.path}.") or not share.path:
            self.error(
                "recursive-share",
                f"the share of `{share.path}` stands inside the module that it shares",
                share.span,
                plan.chain,
            )
            return None
        target = module_at(plan, share.path)
        if isinstance(target, Share):
            return self.share_target(plan, share.path, target, (*seen, share.path))
        if target is None and share.path in absent(plan, ""):
            self.error(
                "unknown-module",
                f"`{share.path}` is absent here: its `when` is false",
                share.span,
                plan.chain,
                help="give the share the same `when`",
            )
        elif target is None:
            known = [path for path, _ in below(plan, "")]
            guess = closest(share.path, known)
            self.error(
                "unknown-module",
                f"there is no module `{share.path}` to share",
                share.span,
                plan.chain,
                help=f"did you mean `{guess}`?"
                if guess
                else "the path starts at the module that holds the share's definition",
            )
        return target

    def ties(self, plan: ModulePlan) -> None:
        for tie in plan.ties:
            self.tie_end(plan, tie.name, tie.span)
            self.tie_end(plan, tie.to, tie.to_span)
            if tie.name == tie.to:
                self.error("invalid-tie", f"`{tie.name}` is tied to itself", tie.span, plan.chain)

    def tie_end(self, plan: ModulePlan, path: str, span: Span) -> None:
        owner, _, name = path.rpartition(".")
        module = module_at(plan, owner) if owner else plan
        if isinstance(module, Share):
            module = self.targets.get(id(module))
        if module is BROKEN:
            return
        if not isinstance(module, ModulePlan):
            guess = closest(owner, [p for p, _ in below(plan, "")])
            self.error(
                "unknown-module",
                f"there is no module `{owner}` to tie `{path}` of",
                span,
                plan.chain,
                help=f"did you mean `{guess}`?" if guess else "",
            )
            return
        layer = lookup(module.base)
        known = [name for name, parameter in module.parameters.items() if parameter is not None]
        if name not in known and not (layer is not None and layer.registers(name)):
            known += layer.parameters if layer else ()
            guess = closest(name, known)
            label = module.definition.name if module.definition else module.base
            self.error(
                "unknown-parameter",
                f"`{label}` has no parameter `{name}`",
                span,
                plan.chain,
                help=f"did you mean `{guess}`?" if guess else "",
            )

    def error(self, code: str, message: str, span: Span, chain: tuple[Note, ...], *, help: str = "") -> None:
        self.found.add(code, message, span, notes=chain, help=help)

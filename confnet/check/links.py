"""Shares and ties: the modules and parameters that a path means."""

from __future__ import annotations

from itertools import islice

from confnet.catalog.registry import lookup
from confnet.check.tree import absent, arrows, below, module_at, placed_shares
from confnet.diagnostics import Collector, Note, Span, closest
from confnet.language.names import find_cycle
from confnet.plan import BROKEN, ModulePlan, Share

__all__ = ["Links"]

MAX_PATHS = 2_000


class Links:
    """Looks up what shares and ties name. `targets` holds the module that each share means, by the share's id."""

    def __init__(self, found: Collector) -> None:
        self.found = found
        self.targets: dict[int, ModulePlan] = {}
        self.circles: set[str] = set()  # the paths of shares that are reported to go in a circle
        self.known: dict[int, list[str]] = {}  # of a plan, by its id
        self.absent: dict[int, frozenset[str]] = {}

    def shares(self, plan: ModulePlan) -> None:
        """Find the module that each share below a definition means."""
        for place, share in placed_shares(plan):
            target = self.share_target(plan, place, share)
            if target is not None:
                self.targets[id(share)] = target

    def share_target(self, plan: ModulePlan, place: str, share: Share) -> ModulePlan | None:
        """The module that a share at a place means, through other shares; None where it is wrong, which is reported."""
        seen: dict[str, None] = {}
        while True:
            if share.path in seen:
                self.circle(plan, share, (*seen, share.path))
                return None
            if f"{place}.".startswith(f"{share.path}.") or not share.path:
                message = f"the share of `{share.path}` stands inside the module that it shares"
                self.error("recursive-share", message, share.span, plan.chain)
                return None
            target = module_at(plan, share.path)
            if not isinstance(target, Share):
                break
            if id(target) in self.targets:
                return self.targets[id(target)]
            seen[share.path] = None
            place, share = share.path, target
        if target is None:
            self.no_target(plan, share)
        return target

    def circle(self, plan: ModulePlan, share: Share, paths: tuple[str, ...]) -> None:
        """Report a circle once, for whichever of its shares is met first."""
        if not self.circles & {*paths}:
            self.circles |= {*paths}
            message = f"shares go in a circle: {arrows(paths)}"
            self.error("recursive-share", message, share.span, plan.chain, help="write one of the modules out")

    def no_target(self, plan: ModulePlan, share: Share) -> None:
        if self.is_absent(plan, share.path):
            self.error(
                "unknown-module",
                f"`{share.path}` is absent here: its `when` is false",
                share.span,
                plan.chain,
                help="give the share the same `when`",
            )
        else:
            guess = self.nearest(plan, share.path)
            self.error(
                "unknown-module",
                f"there is no module `{share.path}` to share",
                share.span,
                plan.chain,
                help=f"did you mean `{guess}`?"
                if guess
                else "the path starts at the module that holds the share's definition",
                fix=guess,
            )

    def nearest(self, plan: ModulePlan, path: str) -> str | None:
        """The path that was most likely meant, as long as there are not too many to compare."""
        if id(plan) not in self.known:
            self.known[id(plan)] = [name for name, _ in islice(below(plan, ""), MAX_PATHS)]
        return self.found.closest(path, self.known[id(plan)])

    def is_absent(self, plan: ModulePlan, path: str) -> bool:
        """Whether nothing stands at a path because a `when` is false there."""
        if id(plan) not in self.absent:
            self.absent[id(plan)] = frozenset(absent(plan, ""))
        return path in self.absent[id(plan)]

    def ties(self, plan: ModulePlan) -> None:
        for tie in plan.ties:
            self.tie_end(plan, tie.name, tie.span)
            self.tie_end(plan, tie.to, tie.to_span)
        circle = find_cycle({tie.name: [tie.to] for tie in plan.ties})
        if circle:
            span = next(tie.span for tie in plan.ties if tie.name == circle[0])
            what = f"ties go in a circle: {arrows(circle)}" if len(circle) > 2 else f"`{circle[0]}` is tied to itself"
            self.error("invalid-tie", what, span, plan.chain, help="remove one of the ties")

    def tie_end(self, plan: ModulePlan, path: str, span: Span) -> None:
        owner, _, name = path.rpartition(".")
        module = module_at(plan, owner) if owner else plan
        if isinstance(module, Share):
            module = self.targets.get(id(module))
        if module is BROKEN:
            return
        if not isinstance(module, ModulePlan):
            guess = self.nearest(plan, owner)
            self.error(
                "unknown-module",
                f"there is no module `{owner}` to tie `{path}` of",
                span,
                plan.chain,
                help=f"did you mean `{guess}`?" if guess else "",
                fix=f"{guess}.{name}" if guess else None,
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
                fix=".".join(filter(None, [owner, guess])) if guess else None,
            )

    def error(
        self,
        code: str,
        message: str,
        span: Span,
        chain: tuple[Note, ...],
        *,
        help: str = "",
        fix: str | None = None,
    ) -> None:
        self.found.add(code, message, span, notes=chain, help=help, fix=fix)

"""The kinds of hooks that torch has, and the hooks that confnet brings, as data.

Sources: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html (module hooks) and
https://docs.pytorch.org/docs/stable/generated/torch.Tensor.register_hook.html (tensor hooks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from confnet.catalog.arguments import Argument, Rule
from confnet.catalog.patterns import PATTERN, REPLACEMENT

__all__ = ["BUILTIN_HOOKS", "HOOK_KINDS", "BuiltinHook", "HookKind"]


@dataclass(frozen=True, slots=True)
class HookKind:
    """A kind of hook: the arguments that torch calls it with, in order, and the options it is registered with.

    With the option `with_kwargs`, `kwargs` follows `args`. `on_tensor` hooks belong to a parameter, or to what a
    module returns or takes. Torch refuses a value returned by a hook that `returns_nothing`.
    """

    name: str
    arguments: tuple[str, ...]
    options: tuple[str, ...] = ()
    on_tensor: bool = False
    returns_nothing: bool = False

    def names(self, with_kwargs: bool) -> tuple[str, ...]:
        """The arguments of a call of such a hook."""
        if not with_kwargs:
            return self.arguments
        place = self.arguments.index("args") + 1
        return (*self.arguments[:place], "kwargs", *self.arguments[place:])


_LOAD_PRE: Final = (
    "module",
    "state_dict",
    "prefix",
    "local_metadata",
    "strict",
    "missing_keys",
    "unexpected_keys",
    "error_msgs",
)

HOOK_KINDS: Final[Mapping[str, HookKind]] = {
    kind.name: kind
    for kind in (
        HookKind("forward_pre", ("module", "args"), ("prepend", "with_kwargs")),
        HookKind("forward", ("module", "args", "output"), ("prepend", "with_kwargs", "always_call")),
        HookKind("full_backward_pre", ("module", "grad_output"), ("prepend",)),
        HookKind("full_backward", ("module", "grad_input", "grad_output"), ("prepend",)),
        HookKind("state_dict_pre", ("module", "prefix", "keep_vars")),
        HookKind("state_dict_post", ("module", "state_dict", "prefix", "local_metadata"), returns_nothing=True),
        HookKind("load_state_dict_pre", _LOAD_PRE),
        HookKind("load_state_dict_post", ("module", "incompatible_keys"), returns_nothing=True),
        HookKind("tensor", ("grad",), on_tensor=True),
        HookKind("post_accumulate_grad", ("param",), on_tensor=True),
    )
}


@dataclass(frozen=True, slots=True)
class BuiltinHook:
    """A hook that confnet brings: the kinds it serves and its arguments in a file."""

    name: str
    kinds: tuple[str, ...]
    arguments: tuple[Argument, ...]
    summary: str
    variadic: bool = False
    keywords: bool = False
    rules: tuple[Rule, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)


def _optional(name: str, type: str, default: object, gt: float | None = None) -> Argument:
    return Argument(name, type, required=False, default=default, gt=gt)


_GRADIENTS = ("full_backward_pre", "full_backward", "tensor", "post_accumulate_grad")
_VALUES = ("forward_pre", "forward")

BUILTIN_HOOKS: Final[Mapping[str, BuiltinHook]] = {
    hook.name: hook
    for hook in (
        BuiltinHook(
            "capture",
            (*_VALUES, *_GRADIENTS),
            (
                Argument("key", "str"),
                _optional("detach", "bool", True),
                _optional("append", "bool", False),
            ),
            "keeps inputs (forward_pre), outputs (forward) or gradients under a key of `confnet.captured(model)`",
        ),
        BuiltinHook(
            "check_finite",
            (*_VALUES, *_GRADIENTS),
            (),
            "raises where a value is NaN or infinite, with its module and line",
        ),
        BuiltinHook("scale_grad", _GRADIENTS, (Argument("factor", "float"),), "multiplies gradients by a factor"),
        BuiltinHook(
            "clip_grad_value",
            _GRADIENTS,
            (Argument("limit", "float", gt=0),),
            "limits each gradient to [-limit, limit]",
        ),
        BuiltinHook(
            "clip_grad_norm",
            _GRADIENTS,
            (Argument("max_norm", "float", gt=0), _optional("norm_type", "float", 2.0, gt=0)),
            "scales each gradient down to a norm",
        ),
        BuiltinHook(
            "cast",
            _VALUES,
            (Argument("dtype", "dtype"),),
            "converts floating-point inputs (forward_pre) or outputs (forward)",
        ),
        BuiltinHook(
            "log_stats",
            (*_VALUES, *_GRADIENTS),
            (_optional("level", "'debug' | 'info' | 'warning' | 'error' | 'critical'", "info"),),
            "logs mean, deviation, minimum and maximum",
        ),
        BuiltinHook("print_shape", _VALUES, (), "prints the shapes of inputs or outputs"),
        BuiltinHook(
            "time",
            ("forward",),
            (Argument("key", "str"),),
            "measures the seconds of each forward into `confnet.captured(model)`",
        ),
        BuiltinHook(
            "rename_keys",
            ("state_dict_post", "load_state_dict_pre"),
            (Argument("pattern", "str"), Argument("to", "str")),
            "renames keys by a regular expression, as `re.sub`",
            rules=(PATTERN, REPLACEMENT),
        ),
        BuiltinHook(
            "drop_keys",
            ("state_dict_post", "load_state_dict_pre"),
            (Argument("pattern", "str"),),
            "leaves out the keys in which a regular expression is found",
            rules=(PATTERN,),
        ),
        BuiltinHook(
            "add_prefix",
            ("state_dict_post", "load_state_dict_pre"),
            (Argument("prefix", "str"),),
            "puts a prefix before every key",
        ),
        BuiltinHook(
            "strip_prefix",
            ("state_dict_post", "load_state_dict_pre"),
            (Argument("prefix", "str"),),
            "removes a prefix from the keys that have it",
        ),
    )
}

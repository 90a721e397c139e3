"""The kinds of hooks that torch has, and the hooks that confnet brings, as data.

Sources: https://docs.pytorch.org/docs/stable/generated/torch.nn.Module.html (module hooks) and
https://docs.pytorch.org/docs/stable/generated/torch.Tensor.register_hook.html (tensor hooks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from confnet.catalog.arguments import Argument, Rule
from confnet.catalog.patterns import PATTERN, REPLACEMENT
from confnet.records import dataclass

__all__ = ["BUILTIN_HOOKS", "HOOK_ARGUMENTS", "HOOK_KINDS", "BuiltinHook", "HookKind"]


@dataclass(frozen=True, slots=True)
class HookKind:
    """A kind of hook: the arguments that torch calls it with, in order, and the options it is registered with.

    With the option `with_kwargs`, `kwargs` follows `args`. `on_tensor` hooks belong to a parameter, or to what a
    module returns or takes. Torch refuses a value returned by a hook that `returns_nothing`. `summary` says when it
    runs and what it may return, `method` is torch's own for registering it.
    """

    name: str
    arguments: tuple[str, ...]
    summary: str
    method: str
    options: tuple[str, ...] = ()
    on_tensor: bool = False
    returns_nothing: bool = False

    @property
    def page(self) -> str:
        """Torch's page about it, below the root of its documentation."""
        return f"generated/{self.method}.html" if self.on_tensor else f"generated/torch.nn.Module.html#{self.method}"

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
        HookKind(
            "forward_pre",
            ("module", "args"),
            "Runs before a module's forward; what it returns takes the place of the positional arguments.",
            "torch.nn.Module.register_forward_pre_hook",
            ("prepend", "with_kwargs"),
        ),
        HookKind(
            "forward",
            ("module", "args", "output"),
            "Runs after a module's forward; what it returns takes the place of the output.",
            "torch.nn.Module.register_forward_hook",
            ("prepend", "with_kwargs", "always_call"),
        ),
        HookKind(
            "full_backward_pre",
            ("module", "grad_output"),
            "Runs before the gradients of a module are computed; what it returns takes the place of `grad_output`.",
            "torch.nn.Module.register_full_backward_pre_hook",
            ("prepend",),
        ),
        HookKind(
            "full_backward",
            ("module", "grad_input", "grad_output"),
            "Runs when the gradients of a module's inputs are known; what it returns takes the place of `grad_input`.",
            "torch.nn.Module.register_full_backward_hook",
            ("prepend",),
        ),
        HookKind(
            "state_dict_pre",
            ("module", "prefix", "keep_vars"),
            "Runs before a module's `state_dict` is made.",
            "torch.nn.Module.register_state_dict_pre_hook",
        ),
        HookKind(
            "state_dict_post",
            ("module", "state_dict", "prefix", "local_metadata"),
            "Runs after a module's `state_dict` is made, and may change it in place.",
            "torch.nn.Module.register_state_dict_post_hook",
            returns_nothing=True,
        ),
        HookKind(
            "load_state_dict_pre",
            _LOAD_PRE,
            "Runs before a module loads its state, and may change `state_dict` in place.",
            "torch.nn.Module.register_load_state_dict_pre_hook",
        ),
        HookKind(
            "load_state_dict_post",
            ("module", "incompatible_keys"),
            "Runs after a module has loaded its state, and may change the lists of keys that did not fit.",
            "torch.nn.Module.register_load_state_dict_post_hook",
            returns_nothing=True,
        ),
        HookKind(
            "tensor",
            ("grad",),
            "Runs each time the gradient of a tensor is computed; what it returns takes the place of the gradient.",
            "torch.Tensor.register_hook",
            on_tensor=True,
        ),
        HookKind(
            "post_accumulate_grad",
            ("param",),
            "Runs after a parameter's gradient has been accumulated into its `grad`.",
            "torch.Tensor.register_post_accumulate_grad_hook",
            on_tensor=True,
        ),
    )
}

HOOK_ARGUMENTS: Final[Mapping[str, str]] = {
    "module": "the module that the hook is on; code may read it like a child, not call it",
    "args": "the positional arguments of the call, as a tuple",
    "kwargs": "the keyword arguments of the call, as a dict (with the option `with_kwargs`)",
    "output": "what forward returned",
    "grad_input": "the gradients of the positional arguments, as a tuple; None where there is none",
    "grad_output": "the gradients of the outputs, as a tuple; None where there is none",
    "state_dict": "the tensors by their keys",
    "prefix": "what the keys of this module begin with",
    "local_metadata": "the module's part of the metadata of the state",
    "keep_vars": "whether the tensors are kept attached to the graph",
    "strict": "whether every key must have its partner",
    "missing_keys": "the keys that the module has and the state has not",
    "unexpected_keys": "the keys that the state has and the module has not",
    "error_msgs": "messages of what does not fit; `load_state_dict` raises if there are any",
    "incompatible_keys": "the missing and the unexpected keys",
    "grad": "the gradient of the tensor",
    "param": "the parameter, with its `grad`",
    "prepend": "whether the hook runs before those that the module has already",
    "with_kwargs": "whether the hook is given the keyword arguments too",
    "always_call": "whether the hook runs although forward raised an error",
}
"""What torch gives to hooks, and the options they are registered with."""


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


def _required(name: str, type: str, description: str, gt: float | None = None) -> Argument:
    return Argument(name, type, gt=gt, description=description)


def _optional(name: str, type: str, default: object, description: str, gt: float | None = None) -> Argument:
    return Argument(name, type, required=False, default=default, gt=gt, description=description)


_GRADIENTS = ("full_backward_pre", "full_backward", "tensor", "post_accumulate_grad")
_VALUES = ("forward_pre", "forward")
_KEY: Final = _required("key", "str", "the name under which `confnet.captured(model)` has it")
_PATTERN: Final = _required("pattern", "str", "the regular expression, searched in each key")

BUILTIN_HOOKS: Final[Mapping[str, BuiltinHook]] = {
    hook.name: hook
    for hook in (
        BuiltinHook(
            "capture",
            (*_VALUES, *_GRADIENTS),
            (
                _KEY,
                _optional("detach", "bool", True, "whether the value is detached from the graph"),
                _optional("append", "bool", False, "whether values are collected in a list, instead of the last kept"),
            ),
            "keeps inputs (forward_pre), outputs (forward) or gradients under a key of `confnet.captured(model)`",
        ),
        BuiltinHook(
            "check_finite",
            (*_VALUES, *_GRADIENTS),
            (),
            "raises where a value is NaN or infinite, with its module and line",
        ),
        BuiltinHook(
            "scale_grad",
            _GRADIENTS,
            (_required("factor", "float", "what each gradient is multiplied by"),),
            "multiplies gradients by a factor",
        ),
        BuiltinHook(
            "clip_grad_value",
            _GRADIENTS,
            (_required("limit", "float", "the largest absolute value of a gradient", gt=0),),
            "limits each gradient to [-limit, limit]",
        ),
        BuiltinHook(
            "clip_grad_norm",
            _GRADIENTS,
            (
                _required("max_norm", "float", "the largest norm of a gradient", gt=0),
                _optional("norm_type", "float", 2.0, "the exponent of the norm", gt=0),
            ),
            "scales each gradient down to a norm",
        ),
        BuiltinHook(
            "cast",
            _VALUES,
            (_required("dtype", "dtype", "the dtype to convert to"),),
            "converts floating-point inputs (forward_pre) or outputs (forward)",
        ),
        BuiltinHook(
            "log_stats",
            (*_VALUES, *_GRADIENTS),
            (
                _optional(
                    "level",
                    "'debug' | 'info' | 'warning' | 'error' | 'critical'",
                    "info",
                    "the level of the log record",
                ),
            ),
            "logs mean, deviation, minimum and maximum",
        ),
        BuiltinHook("print_shape", _VALUES, (), "prints the shapes of inputs or outputs"),
        BuiltinHook(
            "time",
            ("forward",),
            (_KEY,),
            "measures the seconds of each forward into `confnet.captured(model)`",
        ),
        BuiltinHook(
            "rename_keys",
            ("state_dict_post", "load_state_dict_pre"),
            (_PATTERN, _required("to", "str", "what takes the place of each match, with groups as `re.sub` has them")),
            "renames keys by a regular expression, as `re.sub`",
            rules=(PATTERN, REPLACEMENT),
        ),
        BuiltinHook(
            "drop_keys",
            ("state_dict_post", "load_state_dict_pre"),
            (_PATTERN,),
            "leaves out the keys in which a regular expression is found",
            rules=(PATTERN,),
        ),
        BuiltinHook(
            "add_prefix",
            ("state_dict_post", "load_state_dict_pre"),
            (_required("prefix", "str", "the text at the beginning of a key"),),
            "puts a prefix before every key",
        ),
        BuiltinHook(
            "strip_prefix",
            ("state_dict_post", "load_state_dict_pre"),
            (_required("prefix", "str", "the text at the beginning of a key"),),
            "removes a prefix from the keys that have it",
        ),
    )
}

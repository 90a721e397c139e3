"""The one checker of arguments: for torch's layers, registered Python, initialisers and definitions alike."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import field
from typing import Protocol

from confnet.catalog.types import DTYPES, MISMATCH, UNKNOWN_VALUE, TensorLiteral, Type, show
from confnet.diagnostics import closest
from confnet.plan import AUTO, DTypeName, LayerName, ModulePlan
from confnet.records import dataclass

__all__ = ["Argument", "Bound", "Callee", "Fault", "Problem", "Rule", "Takes", "bind", "bounds_text", "value_problem"]


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument: its type (in the language of `confnet.catalog.types`), default and bounds.

    The bounds `ge`, `gt`, `le`, `lt` hold for a number and for every number in a list. `choices` are the only values
    allowed, if there are any (null stands where the type allows it). `settable` tells that a rule may set the
    argument on a built module (`apply: set`), `inferable` that `auto` may stand for its number.
    """

    name: str
    type: str = "any"
    required: bool = True
    default: object = None
    positional: bool = True
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[object, ...] = ()
    settable: bool = False
    inferable: bool = False
    description: str = ""

    @property
    def parsed(self) -> Type:
        """The type, parsed."""
        return Type.parse(self.type)

    @property
    def takes_module(self) -> bool:
        """Whether a module may be given."""
        return "module" in self.type and self.parsed.takes_module

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts that may be given, where only certain ones may: literals of the type, or choices."""
        return self.parsed.literals or tuple(choice for choice in self.choices if isinstance(choice, str))


@dataclass(frozen=True, slots=True)
class Fault:
    """What a rule has to say: the message goes on after "`argument` of `Layer`"."""

    message: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition over several arguments, or one that no bound can say.

    `broken` is called with the values of the arguments in `reads` (defaults filled in) and returns what is wrong,
    or None. The first of `reads` that the user gave is blamed. `source` says where torch states it.
    """

    reads: tuple[str, ...]
    broken: Callable[..., Fault | None]
    source: str = ""


class Takes(Protocol):
    """Whatever takes arguments."""

    @property
    def name(self) -> str: ...
    @property
    def arguments(self) -> tuple[Argument, ...]: ...
    @property
    def variadic(self) -> bool: ...
    @property
    def keywords(self) -> bool: ...
    @property
    def rules(self) -> tuple[Rule, ...]: ...
    @property
    def withheld(self) -> Mapping[str, str]: ...


@dataclass(frozen=True, slots=True)
class Callee:
    """The plain form of `Takes`: a name and its arguments, as definitions and functions have them.

    `variadic` and `keywords` let further arguments through unchecked; `withheld` are names that exist in Python
    but not in a file, with what to do instead.
    """

    name: str
    arguments: tuple[Argument, ...]
    variadic: bool = False
    keywords: bool = False
    rules: tuple[Rule, ...] = ()
    withheld: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `where` is the index of a positional argument, the name of a keyword, or None for the call.

    `meant` is what is to stand there instead of the name (of an unknown argument) or of the value, if that is certain.
    """

    where: int | str | None
    code: str
    message: str
    help: str = ""
    meant: str | None = None


@dataclass(frozen=True, slots=True)
class Bound:
    """The outcome of `bind`: what is wrong, and the values converted, in the form in which they were given."""

    problems: tuple[Problem, ...]
    positional: tuple[object, ...]
    keywords: dict[str, object]


def bind(callee: Takes, positional: Sequence[object], keywords: Mapping[str, object]) -> Bound:
    """Check a call of `callee` for names, count, types, bounds and rules; never raises for a user's mistake."""
    return _Binding(callee, tuple(positional), dict(keywords)).run()


def value_problem(argument: Argument, value: object, owner: str, where: int | str | None = None) -> Problem | None:
    """What is wrong with `value` for this argument alone, or None."""
    return _converted(argument, value, owner, where)[1]


@dataclass(slots=True)
class _Binding:
    callee: Takes
    positional: tuple[object, ...]
    keywords: dict[str, object]
    problems: list[Problem] = field(default_factory=list)
    given: dict[str, int | str] = field(default_factory=dict)
    values: dict[str, object] = field(default_factory=dict)
    spread_from: int | None = None  # where values begin that were meant as one list

    def run(self) -> Bound:
        named = {argument.name: argument for argument in self.callee.arguments}
        self._place_positional()
        explained = self._place_keywords(named)
        self._find_missing(explained)
        if not self._spread_by_mistake():
            for name, where in self.given.items():
                if self.spread_from is None or not isinstance(where, int) or where < self.spread_from:
                    self._check(named[name], where)
            self._apply_rules()
        return Bound(tuple(sorted(self.problems, key=self._order)), self.positional, self.keywords)

    def _order(self, problem: Problem) -> tuple[int, int]:
        if problem.where is None:
            return (2, 0)
        if isinstance(problem.where, int):
            return (0, problem.where)
        return (1, list(self.keywords).index(problem.where) if problem.where in self.keywords else 0)

    def _place_positional(self) -> None:
        takers = [argument for argument in self.callee.arguments if argument.positional]
        for index, argument in enumerate(takers[: len(self.positional)]):
            self.given[argument.name] = index
        if len(self.positional) > len(takers) and not self.callee.variadic:
            self._too_many(len(takers))

    def _too_many(self, limit: int) -> None:
        count = len(self.positional)
        if limit:
            most = f"at most {limit} argument{'s' if limit > 1 else ''}{self._by_position()}"
        else:
            most = f"no argument{self._by_position()}"
        self.spread_from, help = self._as_list()
        help = help or self._by_name()
        self.problems.append(
            Problem(limit, "too-many-arguments", f"`{self.callee.name}` takes {most}, not {count}", help)
        )

    def _by_position(self) -> str:
        return " by position" if any(not argument.positional for argument in self.callee.arguments) else ""

    def _by_name(self) -> str:
        names = [a.name for a in self.callee.arguments if not a.positional and a.name not in self.keywords]
        return f"give {_listing(names, 'or')} by name" if names else ""

    def _as_list(self) -> tuple[int | None, str]:
        """Where values begin that were meant as one list, and the help for it: `[[7, 7]]` instead of `[7, 7]`."""
        for index, argument in enumerate(self.callee.arguments[: len(self.positional)]):
            rest = list(self.positional[index:])
            if len(rest) > 1 and argument.positional and argument.parsed.accepts(rest) and argument.type != "any":
                written = [*self.positional[:index], rest]
                help = f"a list spreads into arguments: write `{show(written)}` to give one list as `{argument.name}`"
                return index, help
        return None, ""

    def _spread_by_mistake(self) -> bool:
        """`LayerNorm: [8, 16]` would mean `eps=16`: no one writes an integer there but by mistake."""
        takers = [argument for argument in self.callee.arguments if argument.positional][:2]
        if len(takers) < 2 or len(self.positional) < 2 or takers[1].required:
            return False
        first, second = (argument.parsed for argument in takers)
        value = self.positional[1]
        if not (second.has("float") and not second.has("int") and isinstance(value, int) and type(value) is not bool):
            return False
        whole = list(self.positional)
        if not any(member.items and Type((member,)).accepts(whole) for member in first.members):
            return False
        self.problems = [problem for problem in self.problems if problem.code != "too-many-arguments"]
        self.problems.append(
            Problem(
                1,
                "invalid-value",
                f"`{takers[1].name}` of `{self.callee.name}` would be `{show(value)}`: a list spreads into arguments",
                f"write `{show([whole])}` to give one list as `{takers[0].name}`",
            )
        )
        return True

    def _place_keywords(self, named: Mapping[str, Argument]) -> set[str]:
        """Give keywords to their arguments; returns the names that misspelt ones were meant for."""
        explained: set[str] = set()
        for name in self.keywords:
            if name in named and name in self.given:
                message = f"`{name}` of `{self.callee.name}` is given by position and by name"
                self.problems.append(Problem(name, "duplicate-argument", message, "remove one of them"))
            elif name in named:
                self.given[name] = name
            elif not self.callee.keywords:
                near = self._unknown(name, list(named))
                explained.update([near] if near else [])
        return explained

    def _unknown(self, name: str, names: list[str]) -> str | None:
        if name in self.callee.withheld:
            near, meant, help = None, None, self.callee.withheld[name]
        else:
            # A name that is not given yet is the likelier one to have been meant.
            free = [known for known in names if known not in self.keywords and known not in self.given]
            near = meant = closest(name, free) or closest(name, names)
            takes = f"`{self.callee.name}` takes {_listing(names, 'and')}" if names else "it takes no arguments"
            help = f"did you mean `{near}`?" if near else takes
            module = next((a.name for a in self.callee.arguments if a.name in free and a.parsed.has("module")), None)
            if near is None and module is not None and name.lstrip("_")[:1].isupper():
                near, help = module, f"a module is given by the argument's name: `{module}: {{{name}: ...}}`"
        message = f"`{self.callee.name}` has no argument `{name}`"
        self.problems.append(Problem(name, "unknown-argument", message, help, meant))
        return near

    def _find_missing(self, explained: set[str]) -> None:
        missing = [
            argument.name
            for argument in self.callee.arguments
            if argument.required and argument.name not in self.given and argument.name not in explained
        ]
        if missing:
            what = f"its argument{'s' if len(missing) > 1 else ''} {_listing(missing, 'and')}"
            self.problems.append(Problem(None, "missing-argument", f"`{self.callee.name}` is missing {what}"))

    def _check(self, argument: Argument, where: int | str) -> None:
        value = self.positional[where] if isinstance(where, int) else self.keywords[where]
        converted, problem = _converted(argument, value, self.callee.name, where)
        if problem is not None:
            self.problems.append(self._with_help(problem, where, value))
            return
        self.values[argument.name] = converted
        if isinstance(where, int):
            self.positional = (*self.positional[:where], converted, *self.positional[where + 1 :])
        else:
            self.keywords[where] = converted

    def _with_help(self, problem: Problem, where: int | str, value: object) -> Problem:
        help = problem.help
        if value == _AUTO_WORD and not help:
            own = [argument.name for argument in self.callee.arguments if argument.inferable]
            help = f"only `{own[0]}` of `{self.callee.name}` may be `auto`" if own else _AUTO_HELP
        elif isinstance(where, int):
            help = help or self._as_list()[1]
        return Problem(problem.where, problem.code, problem.message, help, problem.meant)

    def _apply_rules(self) -> None:
        values = {argument.name: argument.default for argument in self.callee.arguments if not argument.required}
        for name in self.given:
            values.pop(name, None)
        values.update(self.values)
        for rule in self.callee.rules:
            if any(name not in values or _has_unknown(values[name]) for name in rule.reads):
                continue  # something was reported already, or is not known
            fault = rule.broken(*(values[name] for name in rule.reads))
            if fault is not None:
                blamed = next((name for name in rule.reads if name in self.given), rule.reads[0])
                message = f"`{blamed}` of `{self.callee.name}` {fault.message}"
                self.problems.append(Problem(self.given.get(blamed), "invalid-value", message, fault.help))


# --- one value ----------------------------------------------------------------------------------------------------


_AUTO_WORD = "auto"
_AUTO_HELP = (
    "only `in_features` of `Linear`, `in_channels` of convolutions and `num_features` of batch and instance "
    "normalisations may be `auto`, where the layer itself is written"
)


def _converted(argument: Argument, value: object, owner: str, where: int | str | None) -> tuple[object, Problem | None]:
    if argument.inferable and value == _AUTO_WORD:
        return AUTO, None
    converted = argument.parsed.coerce(value)
    if converted is MISMATCH:
        return converted, _wrong_type(argument, value, owner, where)
    free = not argument.choices or converted is None or _has_unknown(converted)
    if not free and not any(_same(converted, choice) for choice in argument.choices):
        return converted, _wrong_choice(argument, value, owner, where)
    words = bounds_text(argument)
    if words and any(_outside(argument, number) for number in _numbers(converted)):
        message = f"`{argument.name}` of `{owner}` must be {words}, not `{show(value)}`"
        return converted, Problem(where, "invalid-value", message)
    return converted, None


def _same(value: object, choice: object) -> bool:
    return isinstance(value, bool) == isinstance(choice, bool) and value == choice


def _wrong_type(argument: Argument, value: object, owner: str, where: int | str | None) -> Problem:
    if isinstance(value, str) and argument.parsed.literals:
        return _wrong_choice(argument, value, owner, where)
    takes = argument.parsed.describe()
    if isinstance(value, str) and argument.parsed.has("dtype"):
        near = closest(value.removeprefix("torch."), DTYPES)
        help = f"did you mean `{near}`?" if near else "write a dtype of torch by its name, as `float32`"
        message = f"`{argument.name}` of `{owner}` takes {takes}, not `{value}`"
        return Problem(where, "invalid-value", message, help, near)
    message = f"`{argument.name}` of `{owner}` takes {takes}, not {_describe(value)}"
    help = _type_help(argument.parsed, value)
    written = re.fullmatch(r"write `(\w+)`", help) if isinstance(value, str | int | float) else None
    return Problem(where, "invalid-type", message, help, written[1] if written else None)


def _wrong_choice(argument: Argument, value: object, owner: str, where: int | str | None) -> Problem:
    takes = _listing([show(choice) for choice in argument.choices], "or")
    if not argument.choices:
        takes = argument.parsed.describe()
    near = closest(value, argument.texts) if isinstance(value, str) else None
    message = f"`{argument.name}` of `{owner}` takes {takes}, not {_describe(value)}"
    return Problem(where, "invalid-value", message, f"did you mean `{near}`?" if near else "", near)


_BOOLEAN_WORDS = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def _type_help(kind: Type, value: object) -> str:
    if kind.has("bool"):
        meant = _BOOLEAN_WORDS.get(value.lower()) if isinstance(value, str) else None
        if isinstance(value, str) and value.lower() in ("true", "false"):
            meant = value.lower()
        if not isinstance(value, bool) and isinstance(value, int) and value in (0, 1):
            meant = "true" if value else "false"
        return f"write `{meant}`" if meant else ""
    if isinstance(value, float) and value.is_integer() and kind.accepts(int(value)):
        return f"write `{int(value)}`"
    if isinstance(value, str):
        number = _number_in(value)
        if number is not None and kind.accepts(number):
            return "remove the quotes"
        if value.lower() in ("none", "null") and kind.nullable:
            return "write `null`"
    if isinstance(value, list | tuple) and len(value) == 1 and kind.accepts(value[0]):
        return f"write `{show(value[0])}`"
    return ""


def _number_in(text: str) -> int | float | None:
    for read in (int, float):
        try:
            return read(text)
        except ValueError:
            continue
    return None


def _describe(value: object) -> str:
    if value is None:
        return "null"
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, ""),
        ((int, float), "the number "),
        (str, "the text "),
        ((list, tuple, TensorLiteral), "the list "),
        (dict, "the mapping "),
        (DTypeName, "the dtype "),
        (LayerName, "the layer "),
        (ModulePlan, "the module "),
    )
    word = next((word for kind, word in kinds if isinstance(value, kind)), f"a value of type `{type(value).__name__}` ")
    return f"{word}`{show(value, 40)}`"


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _outside(argument: Argument, number: float) -> bool:
    if math.isnan(number):
        return True
    return (
        (argument.ge is not None and number < argument.ge)
        or (argument.gt is not None and number <= argument.gt)
        or (argument.le is not None and number > argument.le)
        or (argument.lt is not None and number >= argument.lt)
    )


def bounds_text(argument: Argument) -> str:
    """The bounds in words: "between 0 and 1", "at least 1"; empty when there are none."""
    if argument.ge is not None and argument.le is not None and argument.gt is None and argument.lt is None:
        return f"between {_plain(argument.ge)} and {_plain(argument.le)}"
    words = (
        ("at least", argument.ge),
        ("greater than", argument.gt),
        ("at most", argument.le),
        ("less than", argument.lt),
    )
    return " and ".join(f"{word} {_plain(bound)}" for word, bound in words if bound is not None)


def _plain(number: float) -> str:
    return show(int(number)) if float(number).is_integer() else show(number)


def _has_unknown(value: object) -> bool:
    if isinstance(value, list | tuple):
        return any(_has_unknown(item) for item in value)
    return value is UNKNOWN_VALUE or (isinstance(value, TensorLiteral) and _has_unknown(value.data))


def _listing(names: Sequence[str], word: str) -> str:
    quoted = [f"`{name}`" for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} {word} {quoted[-1]}" if quoted else ""

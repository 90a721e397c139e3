"""What is wrong between the names and shapes of a model and those of its weights, and what would mend it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice

from confnet.diagnostics import Diagnostic, Note, Span, closest

__all__ = ["Comparison", "Place", "Shape", "problems"]

Shape = tuple[int, ...]

MAX_GROUPS = 40
"""Diagnostics of one kind; nobody reads more."""
MAX_NAMED = 6
MAX_RULES = 4
MAX_HEADS = 12
MAX_SUGGESTED = 100
_DEEPEST_PREFIX = 6
_ALIKE = 8


@dataclass(frozen=True, slots=True)
class Place:
    """Where the file says something, and through which places it came to be."""

    span: Span | None
    notes: tuple[Note, ...] = ()


@dataclass(frozen=True)
class Comparison:
    """The outcome of matching weights with a model.

    `expected` are the names that the model takes and their shapes, `given` the keys of the weights after renaming.
    `misshapen` are names that both have, with the shape of the weights; `tied` gives each name all names of the same
    tensor, and `differing` are pairs of such names for which the weights have different values, with the place of the
    tie. `computed` are buffers that are not persistent. `place` tells where a parameter, buffer or module of a dotted
    name stands in the file.
    """

    expected: Mapping[str, Shape]
    given: Mapping[str, Shape]
    loaded: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    misshapen: Mapping[str, Shape]
    tied: Mapping[str, tuple[str, ...]]
    differing: tuple[tuple[str, str, Place], ...]
    computed: frozenset[str]
    place: Callable[[str], Place]


def problems(found: Comparison, strict: bool) -> list[Diagnostic]:
    """Every diagnostic; without `strict`, names that have no partner are none, as long as some have one."""
    return [
        *_misshapen(found),
        *(_differing(*pair) for pair in islice(found.differing, MAX_GROUPS)),
        *(_names(found) if strict or not (found.loaded or found.misshapen) else ()),
    ]


# --- shapes and ties ------------------------------------------------------------------------------------------------


def _misshapen(found: Comparison) -> Iterator[Diagnostic]:
    for place, names in islice(_by_place(found, found.misshapen), MAX_GROUPS):
        first = names[0]
        given, expected = found.misshapen[first], found.expected[first]
        message = f"`{first}` has the shape {list(given)} in the weights and {list(expected)} in the model"
        pattern = f"^{_pattern(first) if len(names) > 1 else _escaped(first)}$"
        help = (
            "build with the args that the weights were made with; or initialise it: "
            f"`rename={{r'{pattern}': None}}, strict=False`, on the command line `--drop '{pattern}' --no-strict`"
        )
        if len(expected) == 2 and given == expected[::-1] and given != expected:
            help = "it is transposed in the weights: a `load_state_dict_pre` hook can transpose it"
        notes = (*_named(names, "misshapen"), *place.notes)
        yield Diagnostic("weight-shape", message, span=place.span, notes=notes, help=help)


def _differing(one: str, other: str, place: Place) -> Diagnostic:
    message = f"`{one}` and `{other}` are one parameter, and their values in the weights differ"
    pattern = f"^{_escaped(other)}$"
    leave_out = f"`rename={{r'{pattern}': None}}`, on the command line `--drop '{pattern}'`"
    help = f"untie them in the file; or leave one out: {leave_out}"
    return Diagnostic("tied-weights", message, span=place.span, notes=place.notes, help=help)


# --- names ----------------------------------------------------------------------------------------------------------


def _names(found: Comparison) -> Iterator[Diagnostic]:
    """What is missing and what is unexpected; a name that was only changed is told once, with its repair."""
    if found.loaded and not (found.missing or found.unexpected):
        return
    missing, unexpected = dict.fromkeys(found.missing), dict.fromkeys(found.unexpected)
    rules = list(_rules(found))
    if rules:
        yield _renamed(found, rules)
    for rule in rules:
        for key, name in rule.pairs.items():
            del unexpected[key]
            for each in found.tied.get(name, (name,)):
                missing.pop(each, None)
    if len(missing) == len(found.missing) and not (found.loaded or found.misshapen):
        yield _nothing(found)
        return
    for name, key in list(_lookalikes(found, missing, unexpected)):
        yield _misnamed(found, name, key)
        del missing[name], unexpected[key]
    yield from islice(_missing(found, missing), MAX_GROUPS)
    yield from islice(_unexpected(found, list(unexpected)), MAX_GROUPS)


def _nothing(found: Comparison) -> Diagnostic:
    place = found.place("")
    notes = [Note(f"the model has {_list(found.expected)}")]
    notes.append(Note(f"the weights have {_list(found.given)}" if found.given else "the weights are empty"))
    message = f"the weights hold none of the {len(found.expected)} names of the model"
    return Diagnostic("missing-weights", message, span=place.span, notes=(*notes, *place.notes))


def _misnamed(found: Comparison, name: str, key: str) -> Diagnostic:
    place = found.place(name)
    message = f"the weights hold no `{name}`, but a `{key}` of the same shape"
    help = _rename_help({f"^{_escaped(key)}$": name})
    return Diagnostic("missing-weights", message, span=place.span, notes=place.notes, help=help)


def _lookalikes(found: Comparison, missing: Iterable[str], unexpected: Iterable[str]) -> Iterator[tuple[str, str]]:
    left = [key for key in unexpected if key in found.given]
    for name in list(missing)[:MAX_SUGGESTED]:
        key = closest(name, [key for key in left if found.given[key] == found.expected.get(name)])
        if key is not None:
            left.remove(key)
            yield name, key


def _missing(found: Comparison, missing: Iterable[str]) -> Iterator[Diagnostic]:
    """By place in the file, and a module that is missing as a whole as one."""
    missing = list(missing)
    have, lack = Counter(_prefixes(found.expected)), Counter(_prefixes(missing))
    labels: dict[str, list[str]] = {}
    for name in missing:
        whole = next((p for p in _prefixes([name]) if have[p] == lack[p] > 1), name)
        labels.setdefault(whole, []).append(name)
    for place, group in _by_place(found, labels):
        names = [name for label in group for name in labels[label]]
        first = group[0]
        more = f", nor {'of ' if first not in names else ''}{_others(group)} of this line" if len(group) > 1 else ""
        message = f"the weights hold {'no' if first in names else 'nothing of'} `{first}`{more}"
        help = "to initialise what is missing as without weights: `strict=False`, on the command line `--no-strict`"
        yield Diagnostic(
            "missing-weights", message, span=place.span, notes=(*_named(names, "missing"), *place.notes), help=help
        )


def _unexpected(found: Comparison, unexpected: Iterable[str]) -> Iterator[Diagnostic]:
    """A module that the model does not have as one; numbered ones that are alike together."""
    kept = found.expected.keys() | (found.given.keys() - set(unexpected))  # what a pattern must not match
    taken = kept.union(_prefixes(kept))
    patterns = {_pattern(name) for name in taken}
    groups: dict[tuple[str, str], list[str]] = {}
    for key in unexpected:
        label = next((p for p in _prefixes([key]) if p not in taken), key)
        pattern = _pattern(label) if _pattern(label) not in patterns else _escaped(label)
        groups.setdefault((f"^{pattern}{'$' if label == key else '[.]'}", pattern), []).append(key)
    for (pattern, _), keys in groups.items():
        first = keys[0]
        message = f"the model has no `{first}`" + (f", nor {_others(keys)} like it" if len(keys) > 1 else "")
        notes = _named(keys, "unexpected")
        buffer = next((key for key in keys if key in found.computed), None)
        if buffer is not None:
            notes.append(
                Note(f"`{buffer}` is a buffer that is not persistent: the model computes it", found.place(buffer).span)
            )
        help = f"leave out what matches: `rename={{r'{pattern}': None}}`, on the command line `--drop '{pattern}'`"
        yield Diagnostic("unexpected-weights", message, notes=tuple(notes), help=help)


# --- rules that would mend it ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rename that gives keys of the weights the names that the model has for them."""

    pattern: str
    to: str
    pairs: Mapping[str, str]
    ends: frozenset[str]


_Change = tuple[str, str]
"""A prefix of keys and what stands for it in names; `#` is a number that stays as it is."""


def _rules(found: Comparison) -> Iterator[_Rule]:
    """Changes of a prefix, one after the other, that explain several missing names; each is tried on all keys."""
    if not set(found.unexpected) <= found.given.keys():  # a hook of the model has renamed them: a rule acts before it
        return
    origins = {key: key for key in found.given}  # by the names after the rules so far
    missing, unexpected = set(found.missing), set(found.unexpected)
    for _ in range(MAX_RULES):
        shapes = {key: found.given[origins[key]] for key in unexpected}
        tally = _changes(found.expected, shapes, missing)
        if not tally:
            return
        change, pairs = max(tally.items(), key=lambda item: (len(item[1]), -len(item[0][0] + item[0][1])))
        if len(pairs) < 2 and len(pairs) < len(found.missing):
            return
        rule = next((r for r in _written(change, pairs) if _holds(r, origins, unexpected)), None)
        if rule is None:
            return
        yield replace(rule, pairs={origins[key]: name for key, name in pairs.items()})
        origins = {re.sub(rule.pattern, rule.to, key): origin for key, origin in origins.items()}
        missing -= {tied for name in pairs.values() for tied in found.tied.get(name, (name,))}
        unexpected = {re.sub(rule.pattern, rule.to, key) for key in unexpected - pairs.keys()}


def _changes(
    expected: Mapping[str, Shape], unexpected: Mapping[str, Shape], missing: set[str]
) -> dict[_Change, dict[str, str]]:
    """The keys that each change of a prefix would turn into missing names of the same shape."""
    ends: dict[str, list[str]] = {}
    for name in sorted(missing):
        for prefix in ("", *_prefixes([name], _DEEPEST_PREFIX)):
            ends.setdefault(_end(name, prefix), []).append(prefix)
    tally: dict[_Change, dict[str, str]] = {}
    for key in sorted(unexpected):
        for old in ("", *_prefixes([key], _DEEPEST_PREFIX)):
            end = _end(key, old)
            for new in ends.get(end, ())[:_ALIKE]:
                name = f"{new}.{end}" if new else end
                shorter = old and new and old.rpartition(".")[2] == new.rpartition(".")[2]
                if not shorter and unexpected[key] == expected.get(name):
                    pairs = tally.setdefault(_change(old, new), {})
                    if name not in pairs.values():
                        pairs[key] = name
    return tally


def _end(name: str, prefix: str) -> str:
    return name[len(prefix) + 1 :] if prefix else name


def _change(old: str, new: str) -> _Change:
    """A change of one prefix, or that of all prefixes that differ in their numbers only."""
    numbers = _NUMBER.findall(old)
    if numbers and numbers == _NUMBER.findall(new):
        return _NUMBER.sub("#", old), _NUMBER.sub("#", new)
    return old, new


_NUMBER = re.compile(r"(?<![^.])[0-9]+(?![^.])")


def _written(change: _Change, pairs: Mapping[str, str]) -> Iterator[_Rule]:
    """The change of a prefix as rules: the plain one, and one that is confined to what follows the prefix."""
    old, new = change
    count = old.count("#")
    start = f"^{_escaped(old).replace(re.escape('#'), '([0-9]+)')}[.]" if old else "^"
    groups = iter(range(1, count + 1))
    prefix = re.sub("#", lambda _: f"\\{next(groups)}", f"{new}." if new else "")
    depth = len(old.split(".")) if old else 0
    ends = [key.split(".")[depth:] for key in pairs]
    yield _Rule(start, prefix, pairs, frozenset(".".join(end) for end in ends))
    heads = dict.fromkeys(end[0] for end in ends)
    if len(heads) <= MAX_HEADS:
        confined = f"{start}({'|'.join(map(_escaped, heads))})\\b"
        yield _Rule(confined, f"{prefix}\\{count + 1}", pairs, frozenset(".".join(end) for end in ends))


def _holds(rule: _Rule, keys: Iterable[str], unexpected: set[str]) -> bool:
    """Whether a rule does what it should to all its keys, and nothing to those that have their place already."""
    after = {key: re.sub(rule.pattern, rule.to, key) for key in keys}
    if len(set(after.values())) < len(after):
        return False
    right = all(after.get(key) == name for key, name in rule.pairs.items())
    return right and all(key in unexpected or key == name for key, name in after.items())


def _renamed(found: Comparison, rules: list[_Rule]) -> Diagnostic:
    name = next(iter(rules[0].pairs.values()))
    end = next(end for end in rules[0].ends if name == end or name.endswith(f".{end}"))
    place = found.place(name[: -len(end) - 1])
    notes = tuple(Note(f"and {_called(rule)}") for rule in rules[1:])
    message = f"the weights call {_called(rules[0])}"
    help = _rename_help({rule.pattern: rule.to for rule in rules})
    return Diagnostic("missing-weights", message, span=place.span, notes=(*notes, *place.notes), help=help)


def _called(rule: _Rule) -> str:
    key, name = next(iter(rule.pairs.items()))
    count = len(rule.pairs) - 1
    likewise = f", and {count} {'other' if count == 1 else 'others'} likewise" if count else ""
    return f"`{key}` what the model calls `{name}`{likewise}"


def _rename_help(rules: Mapping[str, str]) -> str:
    written = {pattern: f"r'{to}'" if "\\" in to else f"'{to}'" for pattern, to in rules.items()}
    python = ", ".join(f"r'{pattern}': {to}" for pattern, to in written.items())
    line = " ".join(f"--rename '{pattern}={to}'" for pattern, to in rules.items())
    return f"rename: `rename={{{python}}}`, on the command line `{line}`"


# --- words ----------------------------------------------------------------------------------------------------------


def _by_place(found: Comparison, names: Iterable[str]) -> Iterator[tuple[Place, list[str]]]:
    """Names that stand at one place of the file together: those of all instances of a definition."""
    groups: dict[Span | None, tuple[Place, list[str]]] = {}
    for name in names:
        place = found.place(name)
        groups.setdefault(place.span, (place, []))[1].append(name)
    return iter(groups.values())


def _prefixes(names: Iterable[str], most: int | None = None) -> Iterator[str]:
    """The dotted prefixes of names, the shortest of each first."""
    for name in names:
        parts = name.split(".")
        for count in range(1, len(parts) if most is None else min(len(parts), most + 1)):
            yield ".".join(parts[:count])


def _escaped(name: str) -> str:
    """A name as a regular expression that still reads as one."""
    return re.sub(r"[^\w]", lambda found: "[.]" if found[0] == "." else re.escape(found[0]), name)


def _pattern(name: str) -> str:
    """A name as a regular expression, with any number where it has one."""
    return "[.]".join(r"\d+" if part.isdigit() else _escaped(part) for part in name.split("."))


def _named(names: list[str], what: str) -> list[Note]:
    return [Note(f"{what}: {_list(names, MAX_NAMED)}")] if len(names) > 1 else []


def _others(names: list[str]) -> str:
    return f"{len(names) - 1} {'other' if len(names) == 2 else 'others'}"


def _list(names: Iterable[str], most: int = 3) -> str:
    names = list(names)
    text = ", ".join(f"`{name}`" for name in names[:most])
    return f"{text} and {len(names) - most} more" if len(names) > most else text

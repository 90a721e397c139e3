"""`$` values: what they mean, what they refuse, and that they are bounded."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from confnet.diagnostics import closest
from confnet.language.expressions import Expression, Template, evaluate_expression
from confnet.language.grammar import LanguageError
from confnet.plan import DTypeName, LayerName


class Opaque:
    """A module, as far as expressions are concerned: every look inside fails the test."""

    def _inspected(self, *args: object) -> bool:
        raise AssertionError("an opaque value was inspected")

    __bool__ = __eq__ = __lt__ = __len__ = __str__ = __contains__ = __getitem__ = _inspected  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


MODULE = Opaque()
NAMES: dict[str, object] = {
    "x": 5, "rate": 0.1, "flag": True, "none": None, "word": "gelu", "layers": [2, 3, 4], "pair": (1, 2),
    "table": {"a": 1, "b": [1, 2]}, "dtype": DTypeName("float16"), "norm": LayerName("LayerNorm"), "act": MODULE,
}  # fmt: skip

VALUES: list[tuple[str, object]] = [
    ("plain", "plain"),
    ("", ""),
    ("$x", 5),
    ("$(x)", 5),
    ("$( x )", 5),
    ("$(\n  x +\n  1)", 6),
    ("$(4 * x)", 20),
    ("$$", "$"),
    ("$$x", "$x"),
    ("$$$x", "$5"),
    ("a$(x + 1)b", "a6b"),
    ("denseblock$(x + 1)", "denseblock6"),
    ("layers.$x.conv", "layers.5.conv"),
    ("$x$x", "55"),
    ("dim=$x, flag=$flag", "dim=5, flag=True"),
    ("$dtype/$norm", "float16/LayerNorm"),
    ("$layers", [2, 3, 4]),
    ("$layers!", "[2, 3, 4]!"),
    ("$none", None),
    ("$flag", True),
    ("$act", MODULE),
    ("$(')')", ")"),
    ("$('$')", "$"),
    ('$("a)b" + word)', "a)bgelu"),
    ("$(x if flag else 0)", 5),
    ("$(flag and none)", None),
    ("$(none or x)", 5),
    ("$(not flag)", False),
    ("$(1 < x <= 5 != 6)", True),
    ("$(x in (1, 5))", True),
    ("$('a' in table)", True),
    ("$(word == 'gelu')", True),
    ("$(word in ['relu', 'gelu'])", True),
    ("$(dtype == 'float16')", True),
    ("$(dtype in ('float16', 'bfloat16'))", True),
    ("$(norm == 'LayerNorm')", True),
    ("$(norm != 'BatchNorm2d')", True),
    ("$(act is None)", False),
    ("$(act is not None)", True),
    ("$(act == None)", False),
    ("$(none is None)", True),
    ("$(layers[-1])", 4),
    ("$(layers[1:])", [3, 4]),
    ("$(table['b'][0])", 1),
    ("$(word[:2])", "ge"),
    ("$(7 // 2 + 7 % 4 - 2 ** 3)", -2),
    ("$(-x)", -5),
    ("$(~x & 3 | 8 ^ 1)", 11),
    ("$(1 << 4 >> 2)", 4),
    ("$(3 / 2)", 1.5),
    ("$([1] + [2] * 2)", [1, 2, 2]),
    ("$([0, *layers])", [0, 2, 3, 4]),
    ("$((x,))", (5,)),
    ("$({'a': x})", {"a": 5}),
    ("$([y * y for y in layers if y > 2])", [9, 16]),
    ("$([a + b for a, b in zip(layers, layers)])", [4, 6, 8]),
    ("$([a * b for a in layers for b in range(a)][3])", 3),
    ("$({k: v for k, v in zip(['a'], [1])})", {"a": 1}),
    ("$(sum(y for y in layers))", 9),
    ("$(sum([[1], [2]], []))", [1, 2]),
    ("$(max(layers) + min(1, 2) + abs(-1))", 6),
    ("$(max(*layers))", 4),
    ("$(round(2.567, 1))", 2.6),
    ("$(round(2.5))", 2),
    ("$(int('12') + int(3.9))", 15),
    ("$(float('inf'))", float("inf")),
    ("$(str(x) + 'a')", "5a"),
    ("$(bool(layers))", True),
    ("$(len(layers) + len(word))", 7),
    ("$(list(range(3)))", [0, 1, 2]),
    ("$(list(enumerate(layers, start=1))[0])", (1, 2)),
    ("$(sorted([3, 1, 2], reverse=True))", [3, 2, 1]),
    ("$(sqrt(16) + log(1) + log2(8) + exp(0))", 8.0),
    ("$(ceil(1.2) + floor(1.8))", 3),
    ("$(2 ** -1)", 0.5),
    ("$((-1) ** 1000000001)", -1),
]


@pytest.mark.parametrize(("text", "value"), VALUES, ids=[repr(text) for text, _ in VALUES])
def test_values(text: str, value: object) -> None:
    made = Template.parse(text).evaluate(NAMES)
    if isinstance(value, Opaque):
        assert made is value
    else:
        assert type(made) is type(value)
        assert made == value


ERRORS: list[tuple[str, str, int, str]] = [
    # text, code, column, a part of the message or the help
    ("$(max(a, b", "unbalanced-expression", 0, "quote"),
    ("$(')'", "unbalanced-expression", 0, "quote"),
    ("ab$(x", "unbalanced-expression", 2, "quote"),
    ("$(x]", "unbalanced-expression", 0, "quote"),
    ("-$x", "misplaced-dollar", 0, "$(-x)"),
    ("-$(x + 1)", "misplaced-dollar", 0, "$(-(x + 1))"),
    ("+$x", "misplaced-dollar", 0, "$(+x)"),
    ("$layers[0]", "misplaced-dollar", 0, "$(layers[0])"),
    ("5$", "misplaced-dollar", 1, "$$"),
    ("$ x", "misplaced-dollar", 0, "$$"),
    ("$5", "misplaced-dollar", 0, "$$"),
    ("$()", "empty-code", 2, ""),
    ("$(x +)", "invalid-syntax", 2, ""),
    ("$(x y)", "invalid-syntax", 2, ""),
    ("$($x)", "dollar-in-code", 2, "write `x`"),
    ("$y", "undefined-name", 1, "known here"),
    ("$(wrod)", "undefined-name", 2, "did you mean `word`"),
    ("é$(é + x)", "undefined-name", 3, "é"),
    ("$(x.real)", "not-allowed-in-expression", 2, "attributes"),
    ("$(x.__class__)", "not-allowed-in-expression", 2, "__"),
    ("$(open('f'))", "unknown-function", 2, ""),
    ("$(maxx(1, 2))", "unknown-function", 2, "did you mean `max`"),
    ("$(layers[0](1))", "not-allowed-in-expression", 2, ""),
    ("$(max)", "expression-error", 2, "must be called"),
    ("$(f'{x}')", "not-allowed-in-expression", 2, "f-strings"),
    ("$(lambda: 1)", "not-allowed-in-expression", 2, "lambda"),
    ("$({1, 2})", "not-allowed-in-expression", 2, "set"),
    ("$((y := 1))", "not-allowed-in-expression", 3, ":="),
    ("$(1j)", "not-allowed-in-expression", 2, "complex"),
    ("$(...)", "not-allowed-in-expression", 2, "..."),
    ("$(layers[...])", "not-allowed-in-expression", 9, "..."),
    ("$(x @ x)", "not-allowed-in-expression", 2, "@"),
    ("$(1 / 0)", "expression-error", 2, "division by zero"),
    ("$(1 // 0)", "expression-error", 2, "division by zero"),
    ("$(0 ** -1)", "expression-error", 2, "division by zero"),
    ("$(1 + 'a')", "expression-error", 2, "`+` does not take text"),
    ("$(1 + 2 * none)", "expression-error", 6, "`*` does not take null"),
    ("$('%d' % 1)", "expression-error", 2, "`%` does not take text"),
    ("$('%999999999d' % 1)", "expression-error", 2, "`%`"),
    ("$(layers[3])", "expression-error", 2, "index 3"),
    ("$(table['c'])", "expression-error", 2, "no key"),
    ("$(sqrt(-1))", "expression-error", 2, ""),
    ("$(log(0))", "expression-error", 2, ""),
    ("$((-1) ** 0.5)", "expression-error", 2, "real"),
    ("$(exp(1000))", "expression-error", 2, "large"),
    ("$(1e308 * 10)", "expression-error", 2, "finite"),
    ("$(float('nan'))", "expression-error", 2, "not a number"),
    ("$(int('a'))", "expression-error", 2, ""),
    ("$(2 ** 63)", "expression-error", 2, "64 bits"),
    ("$(2 ** 9 ** 9)", "expression-error", 2, "64 bits"),
    ("$(1 << 10 ** 9)", "expression-error", 2, "64 bits"),
    ("$(9223372036854775807 + 1)", "expression-error", 2, "64 bits"),
    ("$(round(5, -10 ** 9))", "expression-error", 2, "digits"),
    ("$(range(10 ** 9))", "expression-error", 2, "100,000"),
    ("$(range(10 ** 18))", "expression-error", 2, "100,000"),
    ("$([0] * 10 ** 9)", "expression-error", 2, "long"),
    ("$('a' * 10 ** 9)", "expression-error", 2, "long"),
    ("$([a for a in range(1000) for b in range(1000)])", "expression-error", 2, "100,000"),
    ("$(len([1 for a in range(99999) if sum(range(99999))]))", "expression-error", 34, "steps"),
    ("$(act + 1)", "expression-error", 2, "a module"),
    ("$(act == 'a')", "expression-error", 2, "module"),
    ("$(act is act)", "expression-error", 2, "`==`"),
    ("$(x if act else 1)", "expression-error", 2, "null"),
    ("$(not act)", "expression-error", 2, "null"),
    ("$(act in [1])", "expression-error", 2, "module"),
    ("$([act] == [1])", "expression-error", 2, "module"),
    ("$(len(act))", "expression-error", 2, "module"),
    ("$(act[0])", "expression-error", 2, "module"),
    ("$(str(act))", "expression-error", 2, "module"),
    ("name-$act", "expression-error", 6, "module"),
    ("$(max(1))", "expression-error", 2, "no items"),
    ("$(sqrt(1, 2))", "expression-error", 2, "takes 1"),
    ("$(max(1, 2, key=3))", "expression-error", 2, "no argument `key`"),
    ("$(sorted(layers, key=max))", "expression-error", 2, "no argument `key`"),
    ("$([q for a, b in layers])", "expression-error", 2, ""),
]


@pytest.mark.parametrize(("text", "code", "column", "part"), ERRORS, ids=[repr(case[0]) for case in ERRORS])
def test_errors(text: str, code: str, column: int, part: str) -> None:
    with pytest.raises(LanguageError) as caught:
        Template.parse(text).evaluate(NAMES)
    error = caught.value
    assert (error.code, error.line, error.column) == (code, 1, column)
    assert part in error.message + error.help
    assert error.message[0] == error.message[0].lower()
    assert not error.message.endswith(".")


def test_places_in_a_text_of_several_lines() -> None:
    with pytest.raises(LanguageError) as caught:
        Template.parse("ab\ncd $(x +\n  nope) e").evaluate(NAMES)
    error = caught.value
    assert (error.code, error.line, error.column, error.end_line, error.end_column) == ("undefined-name", 3, 2, 3, 6)


def test_names_are_those_that_are_read() -> None:
    template = Template.parse("a$(x + max(b, [i for i in layers if i > k][0]))c$d")
    assert template.names == {"x", "b", "layers", "k", "d"}
    assert Template.parse("$([i for i in i])").names == {"i"}
    assert not template.is_plain
    assert Template.parse("a $$ b").is_plain


def test_bare_expressions() -> None:
    assert evaluate_expression("32 * H", {"H": 7}) == 224
    assert Expression.parse("32 * H + max(W, 1)").names == {"H", "W"}
    with pytest.raises(LanguageError):
        Expression.parse("32 * $H")


def test_variables_of_comprehensions_end_with_them() -> None:
    with pytest.raises(LanguageError, match="undefined-name"):
        evaluate_expression("[i for i in [1]] + [i]", {})
    assert evaluate_expression("[i for i in [1]] + [i]", {"i": 2}) == [1, 2]


def test_the_given_values_are_never_changed() -> None:
    names: dict[str, object] = {"l": [1, 2], "d": {"a": [1]}}
    evaluate_expression("sum([l, l], l) + sorted(l) + [*l] + d['a']", names)
    assert names == {"l": [1, 2], "d": {"a": [1]}}


def _failures(compute: Callable[[], object]) -> list[LanguageError]:
    """The mistake that a computation ends in, if it does; any other exception fails the test."""
    try:
        compute()
    except LanguageError as error:
        return [error]
    return []


def _codes(compute: Callable[[], object]) -> set[str]:
    return {error.code for error in _failures(compute)}


@pytest.mark.parametrize(
    "text",
    [
        "+".join(["x"] * 90),
        "[" * 80 + "]" * 80,
        "".join(f"[[a{i}, a{i}] for a{i} in [" for i in range(30)) + "x" + "]]" * 30 + " == 1",
        "[[y for y in range(1000)] for z in range(1000)]",
        "sum([[1] * 1000 for i in range(1000)], [])",
        "[range(99999) for i in range(99999)] == [range(99999) for i in range(99999)]",
        "[i in range(99999) for i in range(99999)]",
        "[sorted(range(9999)) for i in range(99999)]",
        "str([['a' * 9999] * 9999] * 99)",
        "max([[1] * 99999] * 99)",
        "x" + "[0]" * 5000,
        "-" * 5000 + "1",
        "x if x else " * 800 + "x",
    ],
    ids=range(13),
)
def test_evaluation_is_bounded(text: str) -> None:
    started = time.process_time()
    codes = _codes(lambda: evaluate_expression(text, {"x": 5}))
    assert codes <= {"expression-error", "code-too-deep", "code-too-long"}
    assert time.process_time() - started < 3


def test_shared_lets_cannot_explode() -> None:
    def lets() -> None:
        value: object = [1]
        for _ in range(64):
            value = evaluate_expression("[v, v]", {"v": value})

    with pytest.raises(LanguageError, match="items"):
        lets()


@given(st.text(alphabet="$()[]{}'\"x1+-*. ,\n:%ab", max_size=40))
def test_any_text_gives_a_value_or_a_located_error(text: str) -> None:
    lines = text.split("\n")
    for error in _failures(lambda: Template.parse(text).evaluate(NAMES)):
        assert 1 <= error.line <= len(lines)
        assert 0 <= error.column <= len(lines[error.line - 1])


@given(
    st.integers(-100, 100),
    st.integers(-100, 100),
    st.sampled_from(["+", "-", "*", "//", "%", "/", "**", "&", "<<", "<", "=="]),
)
def test_arithmetic_is_that_of_python(a: int, b: int, op: str) -> None:
    try:
        expected = eval(f"a {op} b", {"a": a, "b": b})
    except (ArithmeticError, ValueError):
        expected = None
    try:
        made = evaluate_expression(f"a {op} b", {"a": a, "b": b})
    except LanguageError:
        assert expected is None or (isinstance(expected, int) and not -(2**63) <= expected < 2**63)
    else:
        assert made == expected
        assert type(made) is type(expected)


# --- suggestions ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "candidates", "meant"),
    [
        ("kye", ["key", "detach"], "key"),
        ("bn2", ["bn1", "conv"], "bn1"),
        ("fc", ["fc1"], "fc1"),
        ("reul", ["relu", "elu"], "relu"),
        ("wieght", ["weight", "bias"], "weight"),
        ("kernal_size", ["kernel_size", "stride"], "kernel_size"),
        ("Hidden", ["hidden"], "hidden"),
        ("hidden_dims", ["hidden_size"], "hidden_size"),
        ("print", ["int"], None),
        ("sin", ["min"], None),
        ("pop", ["pow"], None),
        ("map", ["max"], None),
        ("x", ["y"], None),
        ("decod", ["encode"], None),
        ("anything", [], None),
    ],
)
def test_closest(word: str, candidates: list[str], meant: str | None) -> None:
    assert closest(word, candidates) == meant


@pytest.mark.parametrize("text", ["2*$n", "$n*$n", "$n + 1", "1 - $n", "$n ** 2", "2.5 * $n", "$n // 2"])
def test_arithmetic_outside_of_an_expression_is_told(text: str) -> None:
    with pytest.raises(LanguageError) as caught:
        Template.parse(text)
    assert caught.value.code == "misplaced-dollar"
    repair = caught.value.help.removeprefix("write `").removesuffix("`")
    assert Template.parse(repair).evaluate({"n": 3}) is not None


@pytest.mark.parametrize("text", ["layer-$n", "$n-1", "layers.*.$n", "2.*.$n", "$n/$n", "x$n*3", "a $n * b"])
def test_signs_in_names_and_globs_are_text(text: str) -> None:
    assert Template.parse(text).evaluate({"n": 3}) == text.replace("$n", "3")

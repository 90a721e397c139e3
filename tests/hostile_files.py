# ruff: noqa: E501, T201, UP031 (long texts, and a program that prints)
"""Files that mean harm, and a runner that measures what confnet makes of them.

Run as a program (`python -m tests.hostile_files NAME ...`) it validates each attack under a limit of memory and prints
one line of JSON for each: what was said, how long it took, and the error that should not have been raised.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

__all__ = ["ATTACKS", "SECONDS", "Attack"]

SECONDS = 2.0
MEMORY = 500_000_000
"""What confnet may take for one file, beside what importing torch takes."""


@dataclass(frozen=True)
class Attack:
    """Files to write (a link is the name of its target after `->`), how they are validated, and the codes of which
    at least one must be reported."""

    codes: frozenset[str]
    files: Callable[[], Mapping[str, str | bytes]]
    options: Mapping[str, Any] = field(default_factory=dict)
    slow: bool = False


ATTACKS: dict[str, Attack] = {}

# Those that take more than a tenth of a second are for `pytest -m soak`.
SLOW = frozenset(
    {
        "50,000 statements",
        "900,000 lines",
        "900,000 values",
        "a hundred files of many values",
        "a hundred large files",
        "a million statements",
        "code 'n = 0\\nfor i in range(10**4):\\n  for j in range(10**4):\\n    n '",
        "code 'x = [1]\\nfor i in range(60):\\n  x.extend(x)\\nreturn x'",
        "deep indices",
        "doubling lists",
        "doubling lists of the file",
        "doubling mappings",
        "half a million broken expressions",
        "half a million integers",
        "half a million tags",
        "late NUL",
        "late wrong byte",
        "let $([[i for i in range(1000)] for j in range(100000)])",
        "let $([i for i in range(100000) for j in range(100000)])",
        "let $(len([0 for i in range(99999) for j in range(99999) if 0]))",
        "many aliases",
        "many clusters",
        "many constants",
        "many dimensions",
        "many dollars",
        "many elifs",
        "many errors in a repeat",
        "many instances of long code",
        "many keys",
        "many keys in one line",
        "many long bodies",
        "many long constants",
        "many near keys",
        "many open dollars",
        "many rules over many modules",
        "many unknown names among many",
        "many variants",
        "many variants of a large model",
        "million values",
        "much comparing",
        "much work",
        "much work by repeat",
        "nested repeats",
        "repeats of nulls",
        "repeats of shares",
        "repeats of what is not there",
        "same key",
        "ten thousand anchors",
        "unknown functions",
        "unknown layers among many",
        "unknown methods",
        "unknown names",
        "value torch.ones(2**40).nonzero()",
    }
)


def attack(name: str, codes: str, text: str | bytes | Callable[[], str | bytes], **options: Any) -> None:
    """An attack by one file."""
    assert name not in ATTACKS, name

    def files() -> dict[str, str | bytes]:
        return {"main.yaml": text() if callable(text) else text}

    slow = name in SLOW or name.startswith("long ")
    ATTACKS[name] = Attack(frozenset(codes.split()), files, options, slow)


def attack_by_files(name: str, codes: str, files: Callable[[], Mapping[str, str | bytes]]) -> None:
    """An attack by several files, of which `main.yaml` is validated."""
    ATTACKS[name] = Attack(frozenset(codes.split()), files, slow=name in SLOW)


MB = 1_000_000
HEAD = "confnet: 1\n"


def forward(code: str) -> str:
    return f"{HEAD}forward: |\n" + "".join(f"  {line}\n" for line in code.split("\n"))


def let(*values: str) -> str:
    return f"{HEAD}let:\n" + "".join(f"  a{i}: {value}\n" for i, value in enumerate(values)) + "ReLU:\n"


# --- YAML -------------------------------------------------------------------------------------------------------------

attack(
    "laughs",
    "alias-expansion",
    "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30)),
)
attack("wide alias", "alias-expansion", f"a: &a [{'1, ' * 10_000}]\nb: [{'*a, ' * 5_000}]\n")
attack("many aliases", "unknown-key alias-expansion", f"a: &a x\nb: [{'*a, ' * 300_000}]\n")
attack("recursive alias", "recursive-alias", "a: &a [*a]\n")
attack("recursive alias below", "recursive-alias", "a: &a {b: [{c: *a}]}\n")
attack("ten thousand anchors", "unknown-key", "".join(f"k{i}: &a{i} x\n" for i in range(10_000)))
attack("flow lists", "nested-too-deeply yaml-syntax", "[" * 100_000)
attack("flow mappings", "nested-too-deeply yaml-syntax", "{" * 100_000)
attack("flow keys", "nested-too-deeply yaml-syntax", "{a: " * 100_000)
attack("block lists", "nested-too-deeply", "- " * 100_000 + "x")
attack("block mappings", "nested-too-deeply", "".join(" " * i + "a:\n" for i in range(2_000)))
attack("explicit keys", "nested-too-deeply", "? " * 100_000 + "x")
attack("long anchor", "yaml-syntax unknown-key invalid-type", lambda: "a: &" + "a" * (5 * MB) + " x\n")
attack("long alias", "undefined-alias", lambda: "a: *" + "a" * (5 * MB) + "\n")
attack("long tag", "tag yaml-syntax", lambda: "a: !" + "a" * (5 * MB) + " x\n")
attack("long directive", "yaml-syntax", lambda: "%" + "Y" * (5 * MB) + "\n---\na: 1\n")
attack("python tag", "tag", "confnet: 1\nReLU: !!python/object/apply:os.system ['true']\n")
attack("python name tag", "tag", "confnet: 1\nname: !!python/name:os.system\nReLU:\n")
attack("verbatim tag", "tag", "confnet: 1\nReLU: !<tag:yaml.org,2002:python/object/new:os.system> [x]\n")
attack("tag directive", "tag", "%TAG ! tag:yaml.org,2002:python/\n---\nconfnet: 1\nReLU: !object/apply:os.system [x]\n")
attack("merge", "merge-key", "confnet: 1\nx: &x {a: 1}\nReLU: {<<: *x}\n")
attack("same key", "duplicate-key", lambda: HEAD + "a: 1\n" * 300_000)
attack("many keys", "too-many-nodes", lambda: HEAD + "".join(f"k{i}: 1\n" for i in range(300_000)))
attack("many near keys", "too-many-nodes", lambda: HEAD + "".join(f"paramete{i}: 1\n" for i in range(100_000)))
attack(
    "many keys in one line",
    "too-many-nodes",
    lambda: "{confnet: 1, " + ", ".join(f"k{i}: 1" for i in range(100_000)) + "}",
)
attack("many documents", "multiple-documents", lambda: "---\nx\n" * 500_000)
attack("million values", "too-many-nodes unknown-key", lambda: HEAD + "a: [" + "1," * 1_100_000 + "]\n")
attack("900,000 values", "too-many-nodes", lambda: HEAD + "a: [" + "1," * 900_000 + "]\n")
attack("900,000 lines", "too-many-nodes", lambda: HEAD + "a:\n" + "- 1\n" * 900_000)
attack("half a million tags", "tag", lambda: HEAD + "a: [" + "!t 1," * 400_000 + "]\n")
attack("half a million integers", "integer-too-large", lambda: HEAD + "a: [" + f"{2**64}," * 300_000 + "]\n")
attack("half a million broken expressions", "unbalanced-expression", lambda: HEAD + "a: [" + "$(," * 400_000 + "]\n")
attack("nothing", "empty-document", "")
attack("not utf-8", "not-utf8", lambda: b"\xff" * (9 * MB))
attack("utf-16", "not-utf8", lambda: "confnet: 1\n".encode("utf-16"))
attack("late wrong byte", "not-utf8", lambda: b"# " + b"a\n" * (4 * MB) + b"\xff")
attack("NUL", "invalid-character", "confnet: 1\nReLU: a\0b\n")
attack("late NUL", "invalid-character", lambda: "confnet: 1\n" + "#\n" * (4 * MB) + "\0")
attack("escape", "invalid-character", "confnet: 1\nReLU: \x1b[31m\n")
attack("surrogate", "not-utf8", b"confnet: 1\nname: \xed\xa0\x80\n")
attack("too large", "file-too-large", lambda: b"#" * (10 * MB + 1))

# --- scalars of ten megabytes -----------------------------------------------------------------------------------------

LONG = 9_900_000


def _filled(before: str, after: str) -> str:
    return before + "a" * (LONG - 200) + after


for place, before, after, codes in [
    ("comment", "#", "\n", "empty-document"),
    ("plain", "", "\n", "invalid-type"),
    ("quoted", '"', '"\n', "invalid-type"),
    ("unclosed", '"', "\n", "yaml-syntax"),
    ("key", HEAD, ": 1\n", "unknown-key yaml-syntax"),
    ("quoted key", HEAD + '? "', '"\n: 1\n', "unknown-key"),
    ("name", HEAD + "name: ", "\nReLU:\n", "invalid-name"),
    ("layer", HEAD + "Sequential: [A", "]\n", "unknown-layer"),
    ("argument", HEAD + "Linear: [3, ", "]\n", "invalid-type"),
    ("keyword", HEAD + "Linear: {? ", "\n : 3}\n", "unknown-argument"),
    ("child", HEAD + "children:\n  ? ", "\n  : ReLU\nforward: return x\n", "invalid-name name-too-long unused-child"),
    ("forward", HEAD + "forward: ", "\n", "code-too-long"),
    ("block forward", HEAD + "forward: |\n  ", "\n", "code-too-long"),
    ("expression", HEAD + "let: {a: $(", ")}\nReLU:\n", "code-too-long"),
    ("dollar name", HEAD + "let: {a: $", "}\nReLU:\n", "code-too-long"),
    ("include", HEAD + "include: [", "]\nReLU:\n", "unreadable-file"),
    ("initialiser", HEAD + "Linear: [3, 3]\ninit: {weight: ", "}\n", "unknown-initializer"),
    ("glob", HEAD + "Linear: [3, 3]\napply: [{where: {name: ", "}, requires_grad: false}]\n", "rule-matches-nothing"),
    ("shape", HEAD + "parameters: {p: {shape: [", "]}}\n", "code-too-long"),
    ("version", "confnet: ", "\nReLU:\n", "unknown-version"),
    ("require", HEAD + "require: {$(1 == 2): ", "}\nReLU:\n", "requirement"),
    (
        "choice",
        HEAD + "args: {a: {default: 1, choices: [",
        "]}}\nReLU:\n",
        "invalid-default invalid-value invalid-choice",
    ),
    ("type", HEAD + "args: {a: ", "}\nReLU:\n", "unknown-type"),
    ("share", HEAD + "children: {a: {share: ", "}}\nforward: return x\n", "unknown-share unknown-path unknown-module"),
    ("hook kind", HEAD + "ReLU:\nhooks: [{kind: ", ", do: pass}]\n", "unknown-hook-kind"),
]:
    attack(f"long {place}", codes, partial(_filled, before, after))
attack("long digits", "integer-too-large", lambda: HEAD + "a: " + "9" * LONG + "\n")
attack("long float", "unknown-key", lambda: HEAD + "a: 0." + "9" * (LONG - 200) + "\n")
attack("huge float", "unknown-key integer-too-large number-too-large", lambda: HEAD + "a: 1e999\n")
attack("long blanks", "empty-document", lambda: " " * LONG)
attack("long lines", "empty-document", lambda: "\n" * LONG)
attack("long line ends", "invalid-type unknown-key", lambda: '"' + "\\n" * (LONG // 2) + '"')
attack("long dollars", "code-too-long misplaced-dollar", lambda: HEAD + "let: {a: " + "$" * (LONG - 201) + "}\nReLU:\n")
attack(
    "many dollars",
    "code-too-long undefined-name",
    lambda: HEAD + "let: {a: " + "$a " * (LONG // 3 - 200) + "}\nReLU:\n",
)
attack(
    "many open dollars",
    "unbalanced-expression code-too-long",
    lambda: HEAD + "let:\n  a: |\n    " + "$(" * (LONG // 2 - 200) + "\nReLU:\n",
)
attack("long error line", "unknown-key", lambda: "{confnet: 1, " + "k: 1, " + " " * (LONG - 400) + "ReLU: }")

# --- includes ---------------------------------------------------------------------------------------------------------


def including(path: str) -> str:
    return f'confnet: 1\ninclude: ["{path}"]\nReLU:\n'


for path, code in [
    ("/etc/passwd", "include-not-relative"),
    ("../outside.yaml", "include-escapes"),
    ("a/../../outside.yaml", "include-escapes"),
    ("./../outside.yaml", "include-escapes"),
    ("http://example.com/a.yaml", "include-not-relative"),
    ("file:///etc/passwd", "include-not-relative"),
    ("C:/a.yaml", "include-not-relative"),
    ("..\\\\outside.yaml", "include-not-relative"),
    ("a\\0.yaml", "include-not-relative"),
    ("main.yaml", "cyclic-include"),
    ("./main.yaml", "cyclic-include"),
    ("folder/../main.yaml", "cyclic-include"),
    (".", "unreadable-file"),
    ("", "unreadable-file"),
    ("~/a.yaml", "unreadable-file"),
    ("$HOME/a.yaml", "unreadable-file"),
    ("a" * 5_000, "unreadable-file"),
    ("a/" * 5_000, "unreadable-file"),
    ("\\uD800", "yaml-syntax invalid-character unreadable-file"),
]:
    attack(f"include {path[:30]}", code, including(path))
attack_by_files(
    "link to a file outside",
    "include-escapes",
    lambda: {"main.yaml": including("link.yaml"), "link.yaml": "->/etc/passwd"},
)
attack_by_files(
    "link to a folder outside", "include-escapes", lambda: {"main.yaml": including("link/passwd"), "link": "->/etc"}
)
attack_by_files(
    "link to itself", "unreadable-file include-escapes", lambda: {"main.yaml": including("link"), "link": "->link"}
)
attack_by_files("link to a device", "include-escapes", lambda: {"main.yaml": including("zero"), "zero": "->/dev/zero"})
attack_by_files("pipe", "unreadable-file", lambda: {"main.yaml": including("pipe"), "pipe": "|"})
attack_by_files(
    "link to the file itself",
    "too-many-files cyclic-include duplicate-definition",
    lambda: {"main.yaml": including("link.yaml"), "link.yaml": "->main.yaml"},
)
attack_by_files(
    "link to the folder itself",
    "too-many-files cyclic-include unreadable-file",
    lambda: {"main.yaml": including("link/main.yaml"), "link": "->."},
)
attack_by_files(
    "circle",
    "cyclic-include",
    lambda: {"main.yaml": including("a.yaml"), "a.yaml": including("b.yaml"), "b.yaml": including("a.yaml")},
)
attack_by_files(
    "chain",
    "too-many-files",
    lambda: {"main.yaml": including("0.yaml"), **{f"{i}.yaml": including(f"{i + 1}.yaml") for i in range(150)}},
)
attack_by_files(
    "lattice",
    "too-many-files",
    lambda: {
        "main.yaml": including("0a.yaml"),
        **{
            f"{i}{s}.yaml": f"confnet: 1\ninclude: [{i + 1}a.yaml, {i + 1}b.yaml]\nReLU:\n"
            for i in range(60)
            for s in "ab"
        },
    },
)
attack_by_files(
    "a hundred large files",
    "too-many-bytes file-too-large too-many-nodes",
    lambda: {
        "main.yaml": "confnet: 1\ninclude: [" + ", ".join(f"{i}.yaml" for i in range(90)) + "]\nReLU:\n",
        **{f"{i}.yaml": "#" * (9 * MB) + "\nconfnet: 1\nmodules: {}\n" for i in range(90)},
    },
)
attack_by_files(
    "a hundred files of many values",
    "too-many-bytes file-too-large too-many-nodes",
    lambda: {
        "main.yaml": "confnet: 1\ninclude: [" + ", ".join(f"{i}.yaml" for i in range(90)) + "]\nReLU:\n",
        **{f"{i}.yaml": "confnet: 1\nReLU:\nlet: {a: [" + "1," * 90_000 + "]}\n" for i in range(90)},
    },
)

# --- `$` --------------------------------------------------------------------------------------------------------------

for text in [
    "$(9**9**9)",
    "$(9.0**9**9)",
    "$(2**-1075 // 0)",
    "$(1 << 10**9)",
    "$(1 << 1 << 62 << 62)",
    "$('a' * 10**9)",
    "$([0] * 10**9)",
    "$(10**9 * (0,))",
    "$(range(10**18))",
    "$(list(range(10**7)))",
    "$(sum(range(10**9)))",
    "$(sorted(range(10**9)))",
    "$(round(1.5, 10**9))",
    "$(round(5, -10**9))",
    "$(exp(10**6))",
    "$(-(2**63) - 1)",
    "$(int('9' * 9999))",
    "$(str(2**63))",
    "$(1e308 * 10)",
    "$((-8) ** 0.5)",
    "$(1 // 0)",
    "$([i for i in range(100000) for j in range(100000)])",
    "$([[i for i in range(1000)] for j in range(100000)])",
    "$(len([0 for i in range(99999) for j in range(99999) if 0]))",
    "$(sum([[0] * 100] * 90000, []))",
    "$(zip(*[range(1000)] * 9999))",
    "$(max(*[range(99999)] * 999))",
    "$(enumerate(range(10**12)))",
    "$(min([]))",
    "$(__import__('os'))",
    "$(().__class__)",
    "$('%999999999d' % 1)",
    "$(f'{1:999999999}')",
    "$(lambda: 0)",
    "$(a0 := 1)",
    "$([a for a in a])",
    "$(0 if 1 else)",
    "$(eval('1'))",
    "$(open('/etc/passwd'))",
    "$(a0)",
    "$(self)",
    "$(print)",
]:
    attack(
        f"let {text}",
        "too-much-work expression-error undefined-name not-allowed-in-expression unknown-function invalid-syntax",
        let(json.dumps(text)),
    )
attack("deep expression", "code-too-deep", let('"$(' + "(" * 4_000 + "1" + ")" * 4_000 + ')"'))
attack("deep minus", "code-too-deep", let('"$(' + "-" * 9_000 + '1)"'))
attack("deep not", "code-too-deep", let('"$(' + "not " * 2_400 + '1)"'))
attack("deep power", "code-too-deep expression-error", let('"$(' + "1**" * 3_000 + '1)"'))
attack("deep sum", "code-too-deep code-too-long", let('"$(' + "1+" * 4_900 + '1)"'))
attack("deep ternary", "code-too-deep", let('"$(' + "1 if 1 else " * 800 + '1)"'))
attack("deep index", "code-too-deep", let('"$(' + "a" + "[0]" * 3_000 + ')"'))
attack("deep call", "code-too-long", let('"$(' + "str(" * 2_000 + "1" + ")" * 2_000 + ')"'))
attack("doubling lists", "expression-error", let("[x, x]", *(f"$([a{i}, a{i}])" for i in range(60))))
attack(
    "doubling lists of the file",
    "expression-error invalid-type value-too-large",
    let("[x, x]", *(f"[$a{i}, $a{i}]" for i in range(60)), "$(a60 == a60)"),
)
attack("doubling texts", "expression-error", let("x", *(f"$a{i}$a{i}" for i in range(60))))
attack(
    "doubling mappings",
    "expression-error invalid-type value-too-large unknown-argument",
    let("{x: x}", *(f"{{x: $a{i}, y: $a{i}}}" for i in range(60)), "$(str(a60))"),
)
attack("much work", "expression-error too-much-work", let(*["$(sum([i for i in range(90000)]))"] * 2_000))
attack(
    "much work by repeat",
    "expression-error too-much-work too-many-modules",
    HEAD + "Sequential: [{repeat: 99999, as: i, module: {when: '$(len([j for j in range(90000)]) < 0)', ReLU: }}]\n",
)
attack("much comparing", "expression-error too-much-work", let("$(list(range(99999)))", *["$(a0 == a0)"] * 3_000))
attack("many long constants", "expression-error too-much-work", let(*["$(list(range(99999)))"] * 3_000))
attack("many constants", "too-many-errors", lambda: let(*["$b"] * 40_000))

# --- repeats and definitions ------------------------------------------------------------------------------------------

attack("repeat bomb", "too-many-modules", HEAD + "Sequential: [{repeat: 1000000000, module: ReLU}]\n")
attack("repeat of 2**62", "too-many-modules", HEAD + f"Sequential: [{{repeat: {2**62}, module: ReLU}}]\n")
attack("negative repeat", "invalid-repeat", HEAD + "Sequential: [{repeat: -1, module: ReLU}]\n")
attack("float repeat", "invalid-type invalid-repeat", HEAD + "Sequential: [{repeat: .inf, module: ReLU}]\n")
attack(
    "nested repeats",
    "too-many-modules",
    HEAD + "Sequential: [" + "{repeat: 1000, children: [" * 3 + "ReLU" + "]}" * 3 + "]\n",
)
attack(
    "repeats of nothing",
    "too-many-modules",
    HEAD + "Sequential: [" + "{repeat: 99999, children: [" * 4 + "]}" * 4 + "]\n",
)
attack(
    "repeats of what is not there",
    "too-many-modules",
    HEAD + "Sequential: [" + "{repeat: 99999, children: [" * 3 + "{when: false, ReLU: }" + "]}" * 3 + "]\n",
)
attack(
    "repeats of nulls",
    "too-many-modules not-a-module",
    HEAD
    + "args: {m: {type: module, default: null}}\nSequential: ["
    + "{repeat: 99999, children: [" * 3
    + "$m"
    + "]}" * 3
    + "]\n",
)
attack(
    "repeats of shares",
    "too-many-modules",
    HEAD
    + "children: {a: ReLU, s: {Sequential: ["
    + "{repeat: 9999, children: [" * 3
    + "{share: a}"
    + "]}" * 3
    + "]}}\nforward: return a(x)\n",
)
attack(
    "repeat of a list",
    "too-many-modules too-much-work",
    HEAD
    + "Sequential: ["
    + "{repeat: $(list(range(99999))), children: [".replace("$(list(range(99999)))", '"$(list(range(99999)))"') * 2
    + "ReLU"
    + "]}" * 2
    + "]\n",
)
attack(
    "exponential definitions",
    "too-many-modules",
    HEAD
    + "modules:\n  A0: {Sequential: [ReLU, ReLU]}\n"
    + "".join(f"  A{i}: {{Sequential: [A{i - 1}, A{i - 1}]}}\n" for i in range(1, 60))
    + "A59:\n",
)
attack(
    "exponential arguments",
    "too-many-modules",
    HEAD
    + "modules:\n  A: {args: {m: module, n: {type: module, default: {Sequential: [$m, $m]}}}, Sequential: [$m, $n]}\n"
    + "".join(f"  B{i}: {{A: {{m: {'ReLU' if i == 0 else f'B{i - 1}'}}}}}\n" for i in range(60))
    + "B59:\n",
)
attack("recursive definition", "recursive-definition", HEAD + "modules: {A: {Sequential: [A]}}\nA:\n")
attack(
    "recursion with arguments",
    "recursive-definition too-many-modules",
    HEAD + "modules: {A: {args: {n: int}, Sequential: [{A: $(n + 1)}, {A: $(n + 2)}]}}\nA: 0\n",
)
attack(
    "recursive default",
    "recursive-definition too-many-modules recursive-default",
    HEAD
    + "modules: {A: {args: {m: {type: module, default: A}, n: {type: module, default: A}}, Sequential: [$m, $n]}}\nA:\n",
)
attack(
    "recursion without modules",
    "recursive-definition too-many-modules",
    HEAD
    + "modules: {A: {args: {n: int, m: {type: module, default: {A: $(2 * n)}}, k: {type: module, default: {A: $(2 * n + 1)}}}, Sequential: []}}\nA: 1\n",
)
attack(
    "many layers of one",
    "too-many-modules",
    HEAD + "TransformerEncoder: {encoder_layer: {TransformerEncoderLayer: [8, 1]}, num_layers: 1000000000}\n",
)
for layer in ("LSTM", "GRU", "RNN"):
    attack(f"deep {layer}", "too-many-modules invalid-value invalid-argument", HEAD + f"{layer}: [1, 1, 20000]\n")
attack(
    "deep transformer",
    "too-many-modules invalid-value",
    HEAD + "Transformer: {d_model: 4, nhead: 1, num_encoder_layers: 50000}\n",
)
attack(
    "deep transformer decoder",
    "too-many-modules invalid-value",
    HEAD + "Transformer: {d_model: 4, nhead: 1, num_decoder_layers: 50000}\n",
)
attack(
    "many clusters",
    "refused-by-torch",
    HEAD + 'AdaptiveLogSoftmaxWithLoss: [64, 100001, "$(list(range(1, 100000)))"]\n',
)
attack(
    "many instances of long code",
    "code-too-complex too-much-code",
    HEAD
    + "modules:\n  A:\n    args: {n: int}\n    inputs: [x]\n    forward: |\n"
    + "      x = x + n\n" * 1_500
    + "      return x\n"
    + "Sequential: [{repeat: 1000, as: i, module: {A: $i}}]\n",
)
attack(
    "many long bodies",
    "too-much-code code-too-long code-too-complex",
    lambda: (
        HEAD
        + "methods:\n"
        + "".join(f"  m{i}: |\n" + "    x = x + 1\n" * 1_900 + "    return x\n" for i in range(200))
        + "forward: return x\n"
    ),
)
attack(
    "unknown layers among many",
    "unknown-layer",
    lambda: (
        HEAD
        + "modules:\n"
        + "".join(f"  Aaaaaaaaaaaa{i}: {{Sequential: [Baaaaaaaaaab{i}]}}\n" for i in range(15_000))
        + "ReLU:\n"
    ),
)
attack(
    "many unknown names among many",
    "undefined-name",
    lambda: (
        HEAD
        + "args: {"
        + ", ".join(f"abcdefgh{i}: 1" for i in range(10_000))
        + "}\nSequential: ["
        + ", ".join(f"{{Dropout: $abcdefgx{i}}}" for i in range(10_000))
        + "]\n"
    ),
)
attack(
    "many variants",
    "too-many-variants",
    lambda: HEAD + "args: {a: 1}\nvariants:\n" + "".join(f"  v{i}: {{b: 1}}\n" for i in range(20_000)) + "ReLU:\n",
)
attack(
    "many variants of a large model",
    "too-many-modules too-many-variants",
    lambda: (
        HEAD
        + "args: {a: 1}\nvariants:\n"
        + "".join(f"  v{i}: {{a: {i}}}\n" for i in range(5_000))
        + "Sequential: [{repeat: 5000, module: ReLU}, {repeat: 1000000, module: ReLU}]\n"
    ),
)
attack(
    "many errors in a repeat",
    "unknown-argument invalid-name",
    HEAD + 'ModuleDict: {"a.$i": {repeat: 90000, as: i, module: ReLU}}\n',
)
attack(
    "many definitions of long arguments",
    "too-much-work",
    HEAD
    + 'let: {a: "$(list(range(99999)))"}\nmodules: {A: {args: {a: list, n: int}, Sequential: []}}\n'
    + "Sequential: [{repeat: 99999, as: i, module: {A: {a: $a, n: $i}}}, {repeat: 99999, module: ReLU}]\n",
)

# --- names ------------------------------------------------------------------------------------------------------------

for name in (
    "forward",
    "train",
    "eval",
    "_parameters",
    "_modules",
    "_buffers",
    "__class__",
    "__init__",
    "__dict__",
    "__call__",
    "training",
    "state_dict",
    "to",
    "T_destination",
    "_forward_hooks",
    "_call_impl",
    "type",
    "__getattr__",
    "__reduce_ex__",
    "_apply",
    "self",
    "class",
    "None",
    "lambda",
    "import",
    "a.b",
    "",
    "a b",
    "1",
    "\\uFF3F\\uFF3Fclass__",
    "\\uFB01x",
    "_is_full_backward_hook",
    "call_super_init",
    "dump_patches",
    "_version",
    "_compiled_call_impl",
    "register_module",
):
    kinds = {
        "child": 'children: {"%s": ReLU}\nforward: return x\n',
        "parameter": 'parameters: {"%s": {shape: [1]}}\nforward: return x\n',
        "buffer": 'buffers: {"%s": {value: 1}}\nforward: return x\n',
        "method": 'methods: {"%s": return x}\nforward: return x\n',
        "input": 'inputs: ["%s"]\nforward: return 1\n',
        "key": 'ModuleDict: {"%s": ReLU}\n',
        "item": 'Sequential: {"%s": ReLU}\n',
    }
    if name not in (
        "forward",
        "train",
        "to",
        "type",
        "eval",
        "state_dict",
        "register_module",
        "call_super_init",
        "dump_patches",
        "_apply",
        "_parameters",
        "_modules",
        "_buffers",
        "_forward_hooks",
        "_version",
        "_is_full_backward_hook",
        "_call_impl",
        "_compiled_call_impl",
        "T_destination",
        "training",
    ):
        kinds["arg"] = 'args: {"%s": 1}\nforward: return x\n'
        kinds["constant"] = 'let: {"%s": 1}\nforward: return x\n'
    for kind, text in kinds.items():
        wanted = "invalid-name reserved-name unused-child duplicate-name invalid-type merge-key name-too-long"
        ok = {
            ("input", n)
            for n in (
                "forward",
                "train",
                "eval",
                "_parameters",
                "_modules",
                "_buffers",
                "training",
                "state_dict",
                "to",
                "T_destination",
                "_forward_hooks",
                "_call_impl",
                "type",
                "_apply",
                "_is_full_backward_hook",
                "call_super_init",
                "dump_patches",
                "_version",
                "_compiled_call_impl",
                "register_module",
            )
        }
        ok |= {
            (k, n)
            for k in ("key", "item")
            for n in ("self", "class", "None", "lambda", "import", "a b", "1", "\\uFF3F\\uFF3Fclass__", "\\uFB01x")
        }
        if (kind, name) not in ok:
            attack(f"{kind} {name}", wanted, HEAD + text % name)
for name in ("keys", "values", "items", "pop", "clear", "update"):
    attack(f"ModuleDict {name}", "reserved-name", HEAD + f"ModuleDict: {{{name}: ReLU}}\n")
for name in ("append", "insert", "extend", "pop"):
    attack(f"Sequential {name}", "reserved-name", HEAD + f"Sequential: {{{name}: ReLU}}\n")
for name in ("reset_parameters", "weight", "bias", "__constants__"):
    attack(
        f"method {name} of a layer",
        "reserved-name invalid-name duplicate-name refused-by-torch",
        HEAD + f"Conv2d: [1, 1, 1]\nmethods: {{{name}: return x}}\n",
    )
attack("class __class__", "invalid-name", HEAD + "modules: {__class__: {ReLU: }}\nReLU:\n")
attack("class named as a layer's base", "unknown-layer not-a-layer", HEAD + "Sequential: [Module]\n")
attack("dotted layer", "not-a-module", HEAD + "Sequential: [torch.nn.Linear]\n")
attack(
    "os.system as a layer",
    "unknown-layer unknown-key not-a-module invalid-type",
    HEAD + "Sequential: [{os.system: true}]\n",
)

# --- sizes ------------------------------------------------------------------------------------------------------------

for shape in (
    "[4611686018427387905]",
    "[2147483648, 2147483649]",
    "[9223372036854775808]",
    "[-1]",
    "['2**62', 2]",
    "['9**9**9']",
    "[1.5]",
    "[true]",
    "['H']",
    "[[1]]",
    "$x",
):
    attack(
        f"shape {shape}",
        "shape-too-large invalid-shape integer-too-large expression-error undefined-name invalid-type",
        HEAD + f"parameters: {{p: {{shape: {shape}}}}}\nforward: return p\n",
    )
attack(
    "many dimensions",
    "shape-too-large invalid-shape",
    HEAD + 'parameters: {p: {shape: "$([4611686018427387904] * 99999)"}}\nforward: return p\n',
)
attack(
    "large buffer", "shape-too-large", HEAD + f"buffers: {{b: {{shape: [{2**62}, 2], fill: 0}}}}\nforward: return b\n"
)
for text in (
    "Linear: [%d, %d]" % (2**40, 2**40),
    "Linear: [%d, 8]" % 2**62,
    "Conv2d: [1, 1, %d]" % 2**40,
    "Embedding: [%d, 4]" % 2**62,
    "BatchNorm1d: %d" % 2**63,
    "LSTM: [%d, %d]" % (2**40, 2**40),
    "LayerNorm: [[%d, %d]]" % (2**40, 2**40),
):
    attack(
        f"huge {text}",
        "shape-too-large construction-failed cannot-construct invalid-value refused-by-torch "
        "integer-too-large build-failed",
        HEAD + text + "\n",
    )
for value in (
    "torch.ones(2**40).nonzero()",
    "torch.zeros(10**10).unique()",
    "torch.ones(2 * 10**8).nonzero()",
    "torch.ones(9).nonzero().repeat(10**8, 1)",
    "torch.ones(2**62)",
):
    attack(
        f"value {value}",
        "value-too-large invalid-value construction-failed refused too-much-work unknown-function "
        "unknown-method refused-by-torch",
        HEAD + f'buffers: {{b: {{value: "{value}"}}}}\nforward: return b\n',
    )
for code in (
    "n = 0\nfor i in range(10**9):\n  n = n + 1\nreturn n",
    "n = 0\nfor i in range(10**4):\n  for j in range(10**4):\n    n = n + 1\nreturn n",
    "return torch.ones(1) * sum([1 for i in range(10**9)])",
    "return [0] * 10**10",
    "return list(range(10**10))",
    "return 9**9**9",
    "x = [1]\nfor i in range(60):\n  x = x + x\nreturn x",
    "x = 3\nfor i in range(60):\n  x = x * x\nreturn x",
    "x = 2\nfor i in range(9):\n  x = x ** x\nreturn x",
    "return 1 << 10**11",
    "return (0,) * 10**10",
    "x = [1]\nfor i in x:\n  x.append(i)\nreturn x",
    "x = [1]\nfor i in range(60):\n  x.extend(x)\nreturn x",
    "return sum(range(10**10))",
    "return max(range(10**10))",
    "return list(reversed(range(10**10)))",
    "return [0 for i in range(10**10)]",
    "return {'a': i for i in range(10**10)}",
    "return len(list(zip(range(10**10), range(10**10))))",
    "return int('9' * 10**10)",
    "for i in torch.ones(10**9):\n  pass\nreturn 1",
    "x = [1]\nfor i in range(60):\n  x = [*x, *x]\nreturn 1",
    "x = [1]\nfor i in range(60):\n  x[0:0] = x\nreturn 1",
    "x = [1]\nfor i in range(60):\n  x = [x, x]\nreturn torch.tensor(x)",
    "x = [1]\nfor i in range(60):\n  x = [x, x]\nreturn x",
    "x = [1]\ny = [1]\nfor i in range(60):\n  x = [x, x]\n  y = [y, y]\nreturn float(x == y)",
    "x = [1]\ny = [1]\nfor i in range(60):\n  x = [x, x]\n  y = [y, y]\nreturn float(x in [y])",
    "x = [1]\ny = [1]\nfor i in range(60):\n  x = [x, x]\n  y = [y, y]\nreturn float(min([x, y]) is None)",
):
    attack(
        f"code {code[:200]!r}",
        "code-too-costly expression-error too-much-work not-iterable value-too-large "
        "grows-in-loop list-grows-in-loop invalid-value unknown-function invalid-type list-changes-in-loop refused"
        " refused-by-torch invalid-operand",
        HEAD
        + "buffers:\n  b:\n    value: |\n"
        + "".join(f"      {line}\n" for line in code.split("\n"))
        + "forward: return b\n",
    )

# --- code -------------------------------------------------------------------------------------------------------------

attack("100,000 nodes", "code-too-long", forward("x = " + "x + " * 33_000 + "x\nreturn x"))
attack("50,000 statements", "code-too-long", forward("x=x\n" * 20_000 + "return x"))
attack("a million statements", "code-too-long", lambda: forward("x=x\n" * 1_000_000 + "return x"))
attack("deep brackets", "code-too-deep", forward("return " + "(" * 40_000 + "x" + ")" * 40_000))
attack("deep lists", "code-too-deep", forward("return " + "[" * 40_000 + "x" + "]" * 40_000))
attack("deep minus in code", "code-too-deep", forward("return " + "-" * 90_000 + "x"))
attack("deep calls", "code-too-deep", forward("return " + "torch.relu(" * 8_000 + "x" + ")" * 8_000))
attack("deep indices", "code-too-deep", forward("return x" + "[0]" * 30_000))
attack("deep attributes", "code-too-deep", forward("return x" + ".T" * 40_000))
attack("deep powers", "code-too-deep code-too-long", forward("return " + "x**" * 30_000 + "x"))
attack("deep ternaries", "code-too-deep code-too-long", forward("return " + "x if x is None else " * 4_000 + "x"))
attack(
    "deep ifs",
    "code-too-deep invalid-syntax",
    forward("\n".join(" " * i + "if x is None:" for i in range(300)) + "\n" + " " * 300 + "pass\nreturn x"),
)
attack(
    "many elifs",
    "code-too-deep code-too-long",
    forward("if x is None:\n  pass\n" + "elif x is None:\n  pass\n" * 3_000 + "return x"),
)
attack(
    "deep loops",
    "code-too-deep invalid-syntax code-too-complex",
    forward("\n".join(" " * i + f"for i{i} in range(9):" for i in range(30)) + "\n" + " " * 30 + "x = x + 1\nreturn x"),
)
attack("deep nots", "code-too-deep", forward("return " + "not " * 20_000 + "x"))
attack("triple quote", "invalid-syntax", forward("return '''" + "a" * 50_000))
attack("many quotes", "invalid-syntax code-too-long", forward("return " + "'\"" * 40_000))
attack("f-string", "not-allowed-in-code", forward("return f'{x.__class__}'"))
attack("class of a text", "not-allowed-in-code unknown-attribute", forward("return ''.__class__.__mro__"))
attack("confusable", "not-allowed-in-code", forward("return x.__\uff43lass__"))
attack("unknown names", "undefined-name", forward("\n".join(f"x = abcdefgh{i}" for i in range(3_000)) + "\nreturn x"))
attack(
    "unknown methods", "unknown-method", forward("\n".join(f"x = x.reshapes{i}()" for i in range(1_500)) + "\nreturn x")
)
attack(
    "unknown functions",
    "unknown-function",
    forward("\n".join(f"x = torch.reshapes{i}(x)" for i in range(1_500)) + "\nreturn x"),
)

# --- patterns ---------------------------------------------------------------------------------------------------------

for pattern in (
    "(a+)+$",
    "(a|a)*$",
    "(.*)*x",
    "(a*)*b",
    "(a|aa)+$",
    "^(([a-z])+.)+[A-Z]([a-z])+$",
    "(?:a?){30}a{30}",
    ".*.*.*.*.*b",
    "(x+x+)+y",
    "(.*?,){20}P",
    "a" * 501,
    "(?P<a>",
    "[",
    "(?:a{0,9}){9}",
    "((a{1,15}){1,15}){1,15}",
    "(" * 400,
    "a{99999}{99999}",
    "\\\\1(a)",
    "(?<=a+)b",
    "(?>a+)+b",
    "(a++)+b",
    "(?=(a+))+b",
    "(?s:.*)(?i:.*)(?m:.*).*x",
    "[\\\\w\\\\W]*[\\\\w\\\\W]*[\\\\w\\\\W]*[\\\\w\\\\W]*x",
):
    attack(
        f"pattern {pattern[:40]}",
        "invalid-value invalid-argument invalid-pattern",
        HEAD
        + 'Linear: [1, 1]\nhooks: [{kind: load_state_dict_pre, call: {rename_keys: {pattern: "'
        + pattern.replace("$", "$$")
        + '", to: x}}}]\n',
    )
STARS = "a" + "*a" * 30
attack(
    "glob of stars",
    "rule-matches-nothing",
    HEAD + f'Sequential: {{{"a" * 60}b: ReLU}}\napply: [{{where: {{name: "{STARS}c"}}, requires_grad: false}}]\n',
)
attack(
    "glob of double stars",
    "rule-matches-nothing",
    HEAD
    + "\n".join("  " * i + "Sequential:\n" + "  " * i + " a:" for i in range(30))
    + " ReLU\n"
    + 'apply: [{where: {name: "'
    + "**." * 12
    + 'b"}, requires_grad: false}]\n',
)
attack(
    "glob of types",
    "rule-matches-nothing",
    HEAD
    + f'modules: {{{"A" * 60}b: {{Sequential: []}}}}\n{"A" * 60}b:\napply: [{{where: {{type: "{"A*" * 30}c"}}, requires_grad: false}}]\n',
)
attack(
    "hook glob",
    "rule-matches-nothing",
    HEAD + f'Sequential: {{{"a" * 60}b: ReLU}}\nhooks: [{{kind: forward, where: {{name: "{STARS}c"}}, do: pass}}]\n',
)
attack(
    "many rules over many modules",
    "too-much-work rule-matches-nothing too-many-rules",
    lambda: (
        HEAD
        + "Sequential: [{repeat: 5000, module: ReLU}]\napply:\n"
        + "".join(f"- {{where: {{name: 'x{i}'}}, requires_grad: false}}\n" for i in range(5_000))
    ),
)


# --- running ----------------------------------------------------------------------------------------------------------


def write(files: Mapping[str, str | bytes], folder: Path) -> None:
    for name, content in files.items():
        path = folder / name
        if isinstance(content, str) and content.startswith("->"):
            path.symlink_to(content[2:])
        elif content == "|":
            os.mkfifo(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def vm_size() -> int:
    """The size of this process's address space in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def measure(names: Iterable[str]) -> None:
    """Validate each attack and tell what came of it. What takes too much memory is a MemoryError."""
    import torch

    import confnet
    import confnet.builder  # what validate imports

    torch.set_num_threads(1)
    assert confnet.validate({"confnet": 1, "Linear": [2, 2]}).ok  # whatever is loaded once is loaded now
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            write(ATTACKS[name].files() if name in ATTACKS else {}, Path(folder))
            path = str(Path(folder, "main.yaml"))
            print(json.dumps({"name": name}), flush=True)
            limit = vm_size() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            signal.alarm(20)
            before, error, codes = time.process_time(), "", list[str]()
            try:
                codes = validated(name, path)
            except BaseException:
                error = traceback.format_exc(limit=-6)[-3000:]
            seconds = time.process_time() - before
            signal.alarm(0)
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            print(json.dumps({"name": name, "codes": codes, "seconds": seconds, "error": error}), flush=True)


def validated(name: str, path: str) -> list[str]:
    """The codes of what confnet says of an attack; `(memory)` and `(error)` are attacks on this runner."""
    import confnet

    if name == "(memory)":
        return [str(len(bytes(2 * MEMORY)))]
    if name == "(error)":
        raise ValueError(name)
    report = confnet.validate(path, **ATTACKS[name].options)
    assert len(str(report)) < 2_000_000, "nobody reads so much"
    return sorted({diagnostic.code for diagnostic in report.diagnostics})


if __name__ == "__main__":
    measure(sys.argv[1:] or ATTACKS)

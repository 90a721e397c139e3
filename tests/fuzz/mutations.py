"""Inputs for the fuzzer: the repository's own files as seeds, and mutations that know lines, tokens and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random

__all__ = ["KINDS", "Mutator", "seeds", "soup"]

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)
TOKEN = re.compile(r"\$\(|[A-Za-z_][\w.]*|\d+(?:\.\d+)?(?:e-?\d+)?|\s+|.", re.DOTALL)
KINDS = ("lines", "tokens", "values", "splice", "soup")
LONGEST_SEED = 2_500
ANEW = 0.4

# Where values, names and brackets stand, these stand wrongly; each was the heart of some attack or mistake.
_WORDS = """
 null ~ true False 0 -1 -0 1e400 .nan .inf -.inf 0x7f 1_000 9223372036854775808 1e-3 on 010 '' "" [] {} [[]] [[[]]]
{a: b} [null] $x $(x) $( $$ $(1/0) $(2**64) $([0]*9) $(x[0]) -$x *a &a !!python/object:os <<: | > ? - --- ... @ ` % #
: , Linear ReLU Sequential ModuleList ModuleDict Conv2d Identity Block X _ self torch F math None forward training
x.shape repeat when else share tie init apply hooks args let require variants modules include inputs outputs children
parameters buffers methods confnet name any int str list[int] module layer dtype float32 int64 lambda await yield
import del global while try class def return pass for in not is and or if
"""
VALUES = (
    *_WORDS.split(),
    *("$(a if b else c)", "$(len(x) // 0)", "x @ y", "x: y", "\t", "\u2028", "\ufeff", "\x00", "\x85"),
    *("\N{LATIN SMALL LETTER E WITH ACUTE}", "\N{MATHEMATICAL DOUBLE-STRUCK DIGIT ONE}", "\N{LATIN SMALL LIGATURE FI}"),
)


def seeds(longest: int = LONGEST_SEED) -> list[bytes]:
    """The texts of examples, golden cases and blocks of the docs, each once, the short ones first."""
    files = [*ROOT.glob("examples/**/*.yaml"), *ROOT.glob("tests/cases/**/*.yaml")]
    found = [path.read_bytes() for path in files]
    for page in ROOT.glob("docs/**/*.md"):
        found += [block.encode() for block in BLOCK.findall(page.read_text(encoding="utf-8"))]
    return sorted({text for text in found if len(text) <= longest}, key=lambda text: (len(text), text))


def soup(random: Random, size: int) -> bytes:
    """Bytes that never were a file: any of them, printable ones, or the characters that YAML looks at."""
    kind = random.randrange(3)
    if kind == 0:
        return random.randbytes(size)
    letters = "-:,[]{}#&*!|>'\"%@`?~$() \n\n  ab1." if kind == 1 else "".join(map(chr, range(32, 127))) + "\n\n\n"
    return "".join(random.choices(letters, k=size)).encode()


class Mutator:
    """Mutations of texts. What one text has (a line, a value) may come to stand in another."""

    def __init__(self, corpus: Sequence[bytes]) -> None:
        texts = [data.decode(errors="replace") for data in corpus]
        self.texts = texts
        self.lines = sorted({line for text in texts for line in text.splitlines(keepends=True) if line.strip()})
        self.tokens = sorted({token for line in self.lines for token in TOKEN.findall(line) if token.strip()})
        self.steps: dict[str, Callable[[str, Random], str]] = {
            "lines": self.of_lines,
            "tokens": self.of_tokens,
            "values": self.of_values,
            "splice": self.splice,
        }

    def mutate(self, data: bytes, random: Random, kind: str, limit: int) -> bytes:
        """One to four mutations of a kind, at most `limit` bytes long."""
        if kind == "soup":
            return soup(random, random.randint(1, min(200, limit)))
        text = data.decode(errors="replace")
        if not text.strip() or random.random() < ANEW:  # else what is kept drifts ever further from what is right
            text = random.choice(self.texts)
        for _ in range(random.choice((1, 1, 1, 2, 4))):
            text = self.steps[kind](text, random)
        return text.encode(errors="replace")[:limit]

    def of_lines(self, text: str, random: Random) -> str:
        """Lines swapped, doubled, left out, indented, or taken from elsewhere."""
        lines = text.splitlines(keepends=True) or ["\n"]
        one, other = random.randrange(len(lines)), random.randrange(len(lines))
        step = random.randrange(6)
        if step == 0:
            lines[one], lines[other] = lines[other], lines[one]
        elif step == 1:
            lines.insert(other, lines[one])
        elif step == 2:
            del lines[one]
        elif step == 3:
            lines.insert(one, random.choice(self.lines))
        elif step == 4:
            indent = len(lines[one]) - len(lines[one].lstrip(" "))
            lines[one] = " " * max(0, indent + random.choice((-2, -1, 1, 2))) + lines[one].lstrip(" ")
        else:
            lines[one] = lines[one].rstrip("\n")
        return "".join(lines)

    def of_tokens(self, text: str, random: Random) -> str:
        """Tokens swapped, doubled, left out, or taken from elsewhere."""
        tokens = TOKEN.findall(text) or [" "]
        one, other = random.randrange(len(tokens)), random.randrange(len(tokens))
        step = random.randrange(5)
        if step == 0:
            tokens[one], tokens[other] = tokens[other], tokens[one]
        elif step == 1:
            tokens.insert(other, tokens[one])
        elif step == 2:
            del tokens[one]
        elif step == 3:
            tokens[one] = random.choice(self.tokens)
        else:
            start, end = sorted((one, other))
            tokens[start:start] = tokens[start : min(end, start + 12)]
        return "".join(tokens)

    def of_values(self, text: str, random: Random) -> str:
        """A name, number or text replaced by a value that does not belong there."""
        places = list(_words(text))
        start, end = random.choice(places) if places else (0, 0)
        return text[:start] + random.choice(VALUES) + text[end:]

    def splice(self, text: str, random: Random) -> str:
        """The beginning of one text, and the end of another."""
        other = random.choice(self.texts).splitlines(keepends=True)
        lines = text.splitlines(keepends=True)
        return "".join(lines[: random.randint(0, len(lines))] + other[random.randint(0, len(other)) :])


def _words(text: str) -> Iterator[tuple[int, int]]:
    for match in TOKEN.finditer(text):
        if match[0][0].isalnum() or match[0][0] in "$_":
            yield match.span()

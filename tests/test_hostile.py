"""Files that mean harm end in a diagnostic, soon and in little memory; and whatever a file is, nothing else comes out.

The attacks are `tests/hostile_files.py`; many are run in one process, whose memory is limited from outside of confnet.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import confnet
from confnet.diagnostics import ConfnetError
from tests.hostile_files import ATTACKS, SECONDS

ROOT = Path(__file__).parents[1]
SLACK = float(os.environ.get("CONFNET_TEST_SLACK", "2"))
"""How much slower than a quiet machine this one may be."""

QUICK = [name for name, attack in ATTACKS.items() if not attack.slow]


def run(names: list[str]) -> dict[str, dict[str, object]]:
    """What came of each attack, by name, run in a process of its own."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.hostile_files", *names]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.returncode == 0, f"the process died of {lines[-1:]}: {result.stderr[-2000:]}"
    return {line["name"]: line for line in lines if "codes" in line}


def faults(names: list[str]) -> list[str]:
    found = run(names)
    assert list(found) == names
    wrong = []
    for name, came in found.items():
        if came["error"]:
            wrong.append(f"{name}: {came['error']}")
        elif not ATTACKS[name].codes.intersection(came["codes"]):  # type: ignore[arg-type]
            wrong.append(f"{name}: {came['codes']} are none of {sorted(ATTACKS[name].codes)}")
        elif float(came["seconds"]) > SECONDS * SLACK:  # type: ignore[arg-type]
            wrong.append(f"{name}: took {came['seconds']} s")
    return wrong


def test_every_attack_ends_in_a_diagnostic() -> None:
    """In 2 seconds of this process and with 500 MB more than torch takes."""
    assert len(QUICK) > 400
    assert faults(QUICK) == []


@pytest.mark.soak
def test_every_large_attack_ends_in_a_diagnostic() -> None:
    """The same for files of ten megabytes, and for those that are stopped only at a limit."""
    slow = [name for name in ATTACKS if name not in QUICK]
    assert len(slow) > 50
    assert faults(slow) == []


def test_the_measure_bites() -> None:
    """What takes too much memory, and what raises, is seen."""
    found = run(["(memory)", "(error)"])
    assert "MemoryError" in str(found["(memory)"]["error"])
    assert "ValueError" in str(found["(error)"]["error"])


# --- limits that a caller changes -------------------------------------------------------------------------------------


def codes(text: str, **limits: int) -> set[str]:
    spec = confnet.loads(text)
    return {d.code for d in confnet.validate(spec, limits=confnet.Limits(**limits)).diagnostics}


def test_parameters_are_counted_before_they_are_allocated() -> None:
    large = f"confnet: 1\nLinear: [{2**24}, {2**24}]\n"  # a petabyte
    assert codes(large) == set()
    assert codes(large, parameters=10**9) == {"too-many-parameters"}
    with pytest.raises(ConfnetError, match="281,474,993,487,872 parameters"):
        confnet.build(confnet.loads(large), limits=confnet.Limits(parameters=10**9))


def test_tied_parameters_count_once() -> None:
    tied = (
        "confnet: 1\nchildren: {a: {Linear: [8, 8]}, b: {Linear: [8, 8]}}\n"
        "tie: {b.weight: a.weight}\nforward: return b(a(x))\n"
    )
    assert codes(tied, parameters=80) == set()
    assert codes(tied, parameters=79) == {"too-many-parameters"}
    model = confnet.build(confnet.loads(tied), limits=confnet.Limits(parameters=80))
    assert sum(p.numel() for p in model.parameters()) == 80


def test_too_many_parameters_names_the_largest() -> None:
    text = "confnet: 1\nSequential: [{Linear: [1, 1]}, {Linear: [100, 100]}]\n"
    report = confnet.validate(confnet.loads(text), limits=confnet.Limits(parameters=100))
    (diagnostic,) = report.diagnostics
    assert diagnostic.notes[0].message == "`Linear` has 10,100 of its own"
    assert diagnostic.span is not None
    assert diagnostic.notes[0].span is not None
    assert diagnostic.notes[0].span.line == 2


def test_too_much_code() -> None:
    text = (
        "confnet: 1\nmodules: {A: {args: {n: int}, forward: return x + n}}\n"
        "Sequential: [{repeat: 10, as: i, module: {A: $i}}]\n"
    )
    assert codes(text, code=120) == set()
    assert codes(text, code=119) == {"too-much-code"}


def test_too_much_work() -> None:
    text = "confnet: 1\nlet: {a: '$([i for i in range(100)])', b: '$([i for i in range(100)])'}\nReLU:\n"
    assert codes(text, steps=2_000) == set()
    assert codes(text, steps=700) == {"too-much-work"}


def test_rules_are_counted() -> None:
    text = "confnet: 1\nSequential: [{repeat: 100, module: {Linear: [1, 1]}}]\napply: [{requires_grad: false}]\n"
    assert codes(text, steps=200) == set()
    assert codes(text, steps=100) == {"too-much-work"}


def test_too_many_variants() -> None:
    text = "confnet: 1\nargs: {a: 1}\nvariants: {x: {a: 1}, y: {a: 2}, z: {a: 3}}\nReLU:\n"
    with pytest.raises(ConfnetError, match="more than 2 variants"):
        confnet.loads(text, limits=confnet.Limits(variants=2))
    confnet.loads(text, limits=confnet.Limits(variants=3))


def test_files_count_together(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("confnet: 1\nmodules: {A: {ReLU: }}\n")
    (tmp_path / "main.yaml").write_text("confnet: 1\ninclude: [a.yaml]\nA:\n")
    confnet.load(tmp_path / "main.yaml", limits=confnet.Limits(file_bytes=70, nodes=20))
    with pytest.raises(ConfnetError, match="the files together are larger than 50 characters"):
        confnet.load(tmp_path / "main.yaml", limits=confnet.Limits(file_bytes=50))
    with pytest.raises(ConfnetError, match="the files together have more than 10 values"):
        confnet.load(tmp_path / "main.yaml", limits=confnet.Limits(nodes=10))


def test_too_many_errors_end_the_stage() -> None:
    text = "confnet: 1\nSequential:\n" + "".join(f"- Relu{i}\n" for i in range(3_000))
    found = confnet.validate(confnet.loads(text)).diagnostics
    assert len(found) == 1_002
    assert {d.code for d in found} == {"unknown-layer", "too-many-errors"}
    assert next(d.help for d in found if d.code == "unknown-layer") == "did you mean `ReLU`?"


def test_long_texts_are_cut_where_they_are_quoted() -> None:
    report = confnet.validate(confnet.loads("confnet: 1\nSequential: [Q" + "q" * 100_000 + "]\n"))
    (diagnostic,) = report.diagnostics
    assert len(diagnostic.message) < 200
    assert len(str(report)) < 2_000
    assert "^^^" in str(report)


# --- whatever a file is -----------------------------------------------------------------------------------------------


def seeds() -> list[bytes]:
    """Good files and bad ones to start from."""
    found = [*(ROOT / "examples").rglob("*.yaml"), *(ROOT / "tests/cases").rglob("*.yaml")]
    assert len(found) > 150
    return [path.read_bytes() for path in sorted(found)]


WORDS = [
    b"$", b"$(", b")", b"[", b"]", b"{", b"}", b": ", b"- ", b"\n", b"  ", b"*a", b"&a ", b"<<: ", b"!!str ", b"null",
    b"true", b"-1", b"0", b"1e400", b"9223372036854775807", b"9**9**9", b"repeat: ", b"when: ", b"share: ",
    b"include: ", b"args: ", b"let: ", b"children: ", b"forward: |\n", b"return x\n", b"modules: ", b"apply: ",
    b"hooks: ", b"init: ", b"Linear: ", b"Sequential: ", b"module: ", b"self.", b"__class__", b"torch.", b"'", b'"',
    b"\\", b"\x00", b"\xff", b"\xe2\x80\xae", b"#",
]  # fmt: skip


def mutated(seed: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file a few slips away from another: parts removed, doubled, moved, taken from elsewhere or overwritten."""
    text = seed
    for _ in range(rng.randint(1, 6)):
        place = rng.randint(0, len(text))
        end = min(len(text), place + rng.choice((1, 1, 2, 4, 10, 40)))
        match rng.randrange(7):
            case 0:
                text = text[:place] + text[end:]
            case 1:
                text = text[:end] + text[place:]
            case 2:
                text = text[:place] + rng.choice(WORDS) + text[place:]
            case 3:
                text = text[:place] + rng.choice(WORDS) + text[end:]
            case 4:
                other = rng.choice(others)
                start = rng.randint(0, len(other))
                text = text[:place] + other[start : start + rng.choice((5, 20, 100, 400))] + text[place:]
            case 5:
                lines = text.split(b"\n")
                a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
                lines[a], lines[b] = lines[b], lines[a]
                text = b"\n".join(lines)
            case _:
                text = text[:place] + bytes([rng.randrange(256)]) + text[place + 1 :]
    return text


def attempt(data: bytes, folder: Path, *, shapes: bool = True) -> float:
    """Validate bytes as a file; returns how long it took, the trial of a good model's forward apart (that of GPT-2
    takes 5 s). Whatever is raised is a fault."""
    path = folder / "main.yaml"
    path.write_bytes(data)
    before = time.process_time()
    # Where parameters are to be counted, the model is constructed although nothing is run.
    report = confnet.validate(path, shapes=shapes, limits=confnet.Limits(parameters=10**15))
    str(report)
    for diagnostic in report.diagnostics:
        assert diagnostic.code
        assert diagnostic.message
    seconds = time.process_time() - before
    if shapes and report.ok and seconds > SECONDS:
        return attempt(data, folder, shapes=False)
    return seconds


def test_mutated_files_are_answered(tmp_path: Path) -> None:
    texts = seeds()
    rng = random.Random(5)
    for _ in range(60):
        data = mutated(rng.choice(texts), texts, rng)
        assert attempt(data, tmp_path, shapes=False) < SECONDS * SLACK, data


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(st.binary(max_size=200), st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
)
def test_any_bytes_are_answered(tmp_path: Path, data: bytes) -> None:
    for text in (data, b"confnet: 1\n" + data, b"confnet: 1\nforward: |\n  " + data.replace(b"\n", b"\n  ")):
        assert attempt(text, tmp_path, shapes=False) < SECONDS * SLACK


@pytest.mark.soak
def test_long_fuzzing(tmp_path: Path) -> None:
    """`CONFNET_FUZZ_SECONDS` long (60 by default); the files that are wrong are told together."""
    texts = seeds()
    seed = int(os.environ.get("CONFNET_FUZZ_SEED", "0")) or random.randrange(10**9)
    rng = random.Random(seed)
    end = time.monotonic() + float(os.environ.get("CONFNET_FUZZ_SECONDS", "60"))
    count = 0
    wrong: list[tuple[str, bytes]] = []
    while time.monotonic() < end and len(wrong) < 20:
        data = mutated(rng.choice(texts), texts, rng) if rng.random() < 0.95 else rng.randbytes(rng.randrange(300))
        count += 1
        try:
            seconds = attempt(data, tmp_path)
            if seconds > SECONDS * SLACK:
                wrong.append((f"{seconds:.1f} s", data))
        except Exception as error:
            wrong.append((repr(error)[:300], data))
    print(f"seed {seed}: {count} files, {len(wrong)} wrong")  # noqa: T201
    assert not wrong, "\n\n".join(f"{what}\n{data.decode('utf-8', 'replace')}" for what, data in wrong)

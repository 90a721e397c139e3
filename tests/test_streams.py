"""Random streams of parameters: what derives from a seed and a name, on any number of threads."""

from __future__ import annotations

import gc
import inspect
import math
import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from benchmarks import initialise
from confnet.builder import streams
from confnet.builder.initializers import Call, Constant, FromGlobal, Initializer, Normal, TruncNormal, Uniform, named
from confnet.builder.streams import PIECE, InitializationError, Job, copy_all, generator_for, run_all
from confnet.catalog.initializers import initializer_names
from tests.test_defaults import distance, filled


def drawn(
    initializer: Initializer, tensor: torch.Tensor, threads: int = 1, fqn: str = "w", seed: int = 3
) -> torch.Tensor:
    run_all([Job(tensor, initializer, seed, fqn)], threads)
    return tensor


LARGE = 2 * PIECE + 7
THREADED: dict[str, tuple[Initializer, Callable[[], torch.Tensor]]] = {
    "normal": (Normal(0.0, 0.02), lambda: torch.empty(LARGE)),
    "padded": (Normal(zero_row=2), lambda: torch.empty(5, PIECE // 2)),
    "uniform": (Uniform(-1, 2), lambda: torch.empty(LARGE, dtype=torch.bfloat16)),
    "truncated": (TruncNormal(0, 1, -0.5, 2.0), lambda: torch.empty(LARGE)),
    "channels last": (
        Normal(),
        lambda: torch.empty(64, 64, 9, 9).to(memory_format=torch.channels_last),
    ),
    "transposed": (Uniform(0, 1), lambda: torch.empty(700, 500).t()),
    "sparse": (Call("sparse_", (0.5,)), lambda: torch.empty(200, 100)),
    "constant": (Constant(0.5), lambda: torch.empty(LARGE)),
    "small": (Normal(), lambda: torch.empty(3, 5)),
}


@pytest.mark.parametrize("name", THREADED)
def test_threads_do_not_change_a_bit(name: str) -> None:
    initializer, make = THREADED[name]
    one = drawn(initializer, make())
    for threads in (2, 3):
        many = [make() for _ in range(3)]
        run_all([Job(tensor, initializer, 3, f"w{n}" if n else "w") for n, tensor in enumerate(many)], threads)
        assert torch.equal(many[0], one)
        assert not initializer.draws or not torch.equal(many[1], one)
    assert torch.isfinite(one).all()


def test_orthogonal_is_the_same_up_to_rounding() -> None:
    one, two = (drawn(Call("orthogonal_"), torch.empty(200, 160), threads) for threads in (1, 2))
    torch.testing.assert_close(one, two, rtol=0, atol=1e-5)
    torch.testing.assert_close(one.t() @ one, torch.eye(160), rtol=0, atol=1e-5)


def test_memory_layout_does_not_change_a_value() -> None:
    plain = drawn(Normal(), torch.empty(64, 64, 9, 9))
    assert torch.equal(plain, drawn(Normal(), torch.empty(64, 64, 9, 9).to(memory_format=torch.channels_last)))


def test_a_tensor_of_one_piece_has_the_bits_of_its_generator() -> None:
    expected = nn.init.normal_(torch.empty(50, 40), std=0.1, generator=generator_for(3, "w"))
    assert torch.equal(drawn(Normal(0, 0.1), torch.empty(50, 40)), expected)


def test_pieces_are_drawn_from_streams_of_their_own() -> None:
    for name in ("normal", "truncated"):
        initializer, make = THREADED[name]
        first, second = drawn(initializer, make())[: 2 * PIECE].view(2, PIECE)
        assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 5 / math.sqrt(PIECE)
        assert distance(first[:20_000], second[:20_000]) < 2.3


def test_no_other_name_moves_a_stream() -> None:
    def values(names: list[str]) -> dict[str, torch.Tensor]:
        jobs = [Job(torch.empty(40), Normal(), 1, name) for name in names]
        run_all(jobs, 2)
        return {job.fqn: job.tensor for job in jobs}

    some, more = values(["a.weight", "b.weight"]), values(["new", "b.weight", "a.bias", "a.weight"])
    assert all(torch.equal(some[name], more[name]) for name in some)
    assert len({tensor[0].item() for tensor in more.values()}) == 4


def test_a_seed_counts_with_all_of_its_bits_and_so_does_a_stream() -> None:
    seeds = [0, 1, 2**32, 2**63, 2**64 - 1, -1, -(2**63)]
    assert len({torch.rand(1, generator=generator_for(seed, "w")).item() for seed in seeds}) == len(seeds)
    low = (5).to_bytes(4, "little")
    states = [streams._state(low + high.to_bytes(4, "little")) for high in (0, 1)]
    left, right = (torch.Generator() for _ in states)
    left.set_state(states[0])
    right.set_state(states[1])
    assert not torch.isclose(torch.rand(100, generator=left), torch.rand(100, generator=right)).any()
    for seed in (2**64, -(2**63) - 1):
        with pytest.raises(ValueError, match="64 bits"):
            generator_for(seed, "w")


def test_streams_of_many_names_are_independent() -> None:
    first = torch.stack([torch.rand(2, generator=generator_for(0, f"layers.{n}.weight")) for n in range(4000)])
    assert distance(first[:, 0], torch.arange(4000) / 4000) < 2.3
    assert abs(torch.corrcoef(first.t())[0, 1]) < 5 / math.sqrt(4000)
    assert abs(torch.corrcoef(torch.stack([first[1:, 0], first[:-1, 0]]))[0, 1]) < 5 / math.sqrt(4000)


def test_the_layout_of_a_state_is_that_of_the_reference() -> None:
    """Python's own Mersenne Twister draws the same words from the same state."""
    assert streams._layout_is_known()
    state = streams._state(b"12345678")
    words = memoryview(bytes(state.tolist())).cast("Q")[3 : 3 + 624]
    twister = random.Random()
    twister.setstate((3, (*words, 624), None))
    generator = torch.Generator()
    generator.set_state(state)
    values = torch.empty(2000, dtype=torch.int64).random_(2**16, generator=generator)
    assert values.tolist() == [twister.getrandbits(32) % 2**16 for _ in range(2000)]


def test_an_unknown_layout_is_seeded_as_torch_does(monkeypatch: pytest.MonkeyPatch) -> None:
    known = torch.rand(4, generator=generator_for(0, "w"))
    monkeypatch.setattr(streams, "_layout_is_known", lambda: False)
    values = [torch.rand(4, generator=generator_for(0, name)) for name in ("w", "w", "v")]
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert not torch.equal(values[0], known)


def test_a_function_that_draws_from_the_global_generator_gets_the_stream() -> None:
    def own(tensor: torch.Tensor, scale: float) -> None:
        tensor.normal_(0, scale)

    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = drawn(FromGlobal(own, (0.5,)), torch.empty(30_000))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(drawn(FromGlobal(own, (), {"scale": 0.5}), torch.empty(30_000), 2), one)
    assert torch.equal(one, drawn(Normal(0, 0.5), torch.empty(30_000)))


@pytest.mark.parametrize("threads", [1, 2])
def test_failures_come_back_in_the_order_of_the_jobs(threads: int) -> None:
    def fails(tensor: torch.Tensor) -> None:
        raise LookupError("no such table")

    good = torch.full((LARGE,), math.nan)
    jobs = [
        Job(torch.empty(30), Call("kaiming_normal_"), 0, "flat"),
        Job(good, Normal(), 0, "good"),
        Job(torch.empty(LARGE), Normal(0, -1), 0, "negative"),
        Job(torch.empty(30), FromGlobal(fails), 0, "own"),
        Job(torch.empty(200, 200), Normal(zero_row=999), 0, "row"),
    ]
    with pytest.raises(
        InitializationError, match=r"^`flat` cannot be initialised: Fan in .* \(and 3 more\)$"
    ) as caught:
        run_all(jobs, threads)
    assert [(job.fqn, type(error)) for job, error in caught.value.failures] == [
        ("flat", ValueError),
        ("negative", RuntimeError),
        ("own", LookupError),
        ("row", IndexError),
    ]
    assert torch.isfinite(good).all()


def test_an_interrupt_stops_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(Normal):
        def fill(self, tensor: torch.Tensor, generator: torch.Generator | None) -> None:
            raise KeyboardInterrupt

    waiting = torch.full((PIECE,), math.nan)
    with pytest.raises(KeyboardInterrupt):
        run_all([Job(torch.empty(LARGE), Interrupted(), 0, "a"), Job(waiting, Normal(), 0, "b")], 1)
    assert torch.isnan(waiting).all()
    with pytest.raises(KeyboardInterrupt):
        run_all([Job(torch.empty(LARGE), Interrupted(), 0, "a"), Job(waiting, Normal(), 0, "b")], 3)


def test_modes_of_the_caller_are_no_obstacle() -> None:
    expected = drawn(Normal(), torch.empty(LARGE))
    with torch.device("meta"):
        abstract = torch.empty(LARGE)
        run_all([Job(abstract, Normal(), 3, "v")], 2)
        assert torch.equal(drawn(Normal(), torch.empty(LARGE, device="cpu"), 2), expected)
    with torch.inference_mode():
        assert torch.equal(drawn(Normal(), torch.empty(LARGE), 2), expected)
    parameter = nn.Parameter(torch.empty(LARGE))
    assert torch.equal(drawn(Normal(), parameter, 2), expected)
    assert parameter.is_leaf
    assert parameter.grad_fn is None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "get_num_threads", lambda: 3)
        run_all([Job(parameter, Normal(), 3, "w")])
    assert torch.equal(parameter, expected)
    run_all([Job(torch.empty(0, 3), Normal(), 3, "none"), Job(torch.empty(()), Constant(1), 3, "scalar")])


# --- torch.nn.init by name --------------------------------------------------------------------------------------------


NAMED: dict[str, list[tuple[tuple[Any, ...], dict[str, Any], tuple[int, ...]]]] = {
    "constant_": [((0.25,), {}, (3,))],
    "dirac_": [((), {"groups": 2}, (4, 2, 3))],
    "eye_": [((), {}, (3, 4))],
    "kaiming_normal_": [((), {}, (8, 5)), ((), {"mode": "fan_out", "nonlinearity": "relu"}, (8, 4, 3, 3))],
    "kaiming_uniform_": [((math.sqrt(5),), {}, (8, 5)), ((0, "fan_out", "tanh"), {}, (8, 5))],
    "normal_": [((), {}, (40,)), ((1, 0.5), {}, (40,)), ((), {"std": 0.02}, (4, 9))],
    "ones_": [((), {}, (3,))],
    "orthogonal_": [((), {"gain": 2.0}, (5, 4))],
    "sparse_": [((0.5,), {"std": 0.1}, (8, 4))],
    "trunc_normal_": [((), {}, (50,)), ((0, 0.02), {"a": -0.01, "b": 0.04}, (50,))],
    "uniform_": [((-2,), {"b": 2.0}, (40,))],
    "xavier_normal_": [((), {"gain": 0.5}, (8, 5, 2))],
    "xavier_uniform_": [((), {}, (8, 5))],
    "zeros_": [((), {}, (3,))],
}


def test_every_initialiser_of_the_catalog_is_tried() -> None:
    assert set(NAMED) == set(initializer_names())


@pytest.mark.parametrize("name", NAMED)
def test_by_name_and_by_torch_are_the_same(name: str) -> None:
    for positional, keywords, shape in NAMED[name]:
        function = getattr(nn.init, name)
        seeded = "generator" in inspect.signature(function).parameters
        extra = {"generator": generator_for(3, "w")} if seeded else {}
        ours = drawn(named(name, positional, keywords, shape), torch.full(shape, math.nan))
        if name == "sparse_":  # torch permutes with the global generator
            zeros = math.ceil(positional[0] * shape[0])
            assert ((ours == 0).sum(0) == zeros).all()
            assert len({tuple((ours[:, column] == 0).tolist()) for column in range(shape[1])}) > 1
            continue
        assert torch.equal(ours, function(torch.empty(shape), *positional, **keywords, **extra))


def test_whatever_draws_takes_a_generator() -> None:
    draws = {name for name in NAMED if "normal" in inspect.getsource(getattr(nn.init, name)) or "uniform" in name}
    assert len(draws) == 9
    for name in draws:
        assert "generator" in inspect.signature(getattr(nn.init, name)).parameters, name


@pytest.mark.parametrize(
    ("name", "positional", "keywords", "shape"),
    [
        ("kaiming_normal_", (), {}, (3,)),
        ("kaiming_uniform_", (), {"mode": "sideways"}, (3, 4)),
        ("kaiming_uniform_", (), {"nonlinearity": "gelu"}, (3, 4)),
        ("xavier_uniform_", (), {}, (3,)),
        ("normal_", (0, -1), {}, (3,)),
        ("uniform_", (2, 1), {}, (3,)),
        ("normal_", (), {"scale": 2}, (3,)),
        ("sparse_", (0.5,), {}, (3, 4, 5)),
    ],
)
def test_what_torch_refuses_has_its_words(
    name: str, positional: tuple[Any, ...], keywords: dict[str, Any], shape: tuple[int, ...]
) -> None:
    with pytest.raises(Exception) as theirs:  # noqa: PT011
        getattr(nn.init, name)(torch.empty(shape), *positional, **keywords)
    with pytest.raises(InitializationError) as ours:
        drawn(named(name, positional, keywords, shape), torch.empty(shape))
    ((_, error),) = ours.value.failures
    assert (type(error), str(error)) == (theirs.type, str(theirs.value))


def test_an_empty_tensor_is_as_torch_says() -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        drawn(named("kaiming_normal_", (), {}, (0, 4)), torch.empty(0, 4))
    assert ["zero-element" in str(warning.message) for warning in seen] == [True]
    with pytest.warns(UserWarning, match="zero-element"):
        layer = nn.Linear(0, 3)
    assert not layer.bias.any()
    assert not filled(layer, 1).get_parameter("bias").any()


def test_the_benchmark_runs(capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    gc.freeze()  # it collects before each measurement, and what the other tests made takes longer than all the rest
    try:
        initialise.main(["--size", "tiny", "--repetitions", "2"])
    finally:
        gc.unfreeze()
        torch.set_num_threads(threads)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row[:16].strip() for row in rows] == ["by hand", "by hand, lean", "once, 1 thread", "once, 2 threads"]


@pytest.mark.parametrize("threads", [1, 3])
def test_copies_are_torchs_whatever_the_threads(threads: int) -> None:
    source = torch.randn(3, PIECE // 2 + 5)
    sources = [source, source.T, source[:0], source[0, :7], source.to(torch.bfloat16), torch.tensor(2), source > 0]
    dtypes = [torch.float32, torch.float32, torch.float32, torch.float64, torch.float32, torch.int64, torch.bool]
    pairs = [(torch.empty(each.shape, dtype=dtype), each) for each, dtype in zip(sources, dtypes, strict=True)] + [
        (torch.empty(PIECE, 2).T, source[:2, :1].expand(2, PIECE))
    ]
    copy_all(pairs, threads)
    for target, each in pairs:
        assert torch.equal(target, torch.empty_like(target).copy_(each))


@pytest.mark.parametrize("threads", [1, 3])
def test_a_copy_that_torch_refuses_is_its_error(threads: int) -> None:
    wrong = [(torch.empty(PIECE + 1), torch.empty(PIECE)) for _ in range(4)]
    with pytest.raises(RuntimeError):
        copy_all(wrong, threads)

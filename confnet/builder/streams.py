"""One random stream for each parameter, and initialisers that run on all cores.

The stream of a parameter derives from the seed and the parameter's name alone, so that no other parameter moves it. A
large tensor is cut into pieces of a fixed size, each with a stream of its own: what is drawn does not depend on how
many threads draw it.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Protocol

import torch

from confnet.builder.initializers import BLOCK, FromGlobal, Initializer

__all__ = ["PIECE", "InitializationError", "Job", "copy_all", "generator_for", "run_all"]

PIECE = 262_144
"""Elements that one stream draws: about a millisecond. Another size gives other values for the same seed."""

_SMALL = 16_384  # below it, handing a tensor to another thread costs more than it gains

# torch's CPU generator takes 32 bits of a seed of 64; among 100,000 parameters two would then share a stream more often
# than not. Its state takes all that one gives it.
_WORDS = 624  # of a Mersenne Twister
_HEADER = 24  # bytes before them: the seed, how many words are left, whether it is seeded, the next word


@dataclass(frozen=True, slots=True)
class Job:
    """A tensor to fill, with what, and the seed and name (`fqn`) that its stream derives from."""

    tensor: torch.Tensor
    initializer: Initializer
    seed: int
    fqn: str


class InitializationError(RuntimeError):
    """Some jobs failed: `failures` has each with its exception, in the order in which the jobs were given."""

    def __init__(self, failures: Sequence[tuple[Job, Exception]]) -> None:
        self.failures = tuple(failures)
        job, error = self.failures[0]
        more = f" (and {len(self.failures) - 1} more)" if len(self.failures) > 1 else ""
        super().__init__(f"`{job.fqn}` cannot be initialised: {error}{more}")


def generator_for(seed: int, fqn: str, device: torch.device | str = "cpu") -> torch.Generator:
    """The generator of a parameter. Raises ValueError for a seed that `torch.manual_seed` would not take."""
    return _seeded(torch.Generator(device), seed, fqn, 0)


def run_all(jobs: Sequence[Job], threads: int | None = None, *, draw_on_cpu: bool = False) -> None:
    """Fill every tensor: the same bits for any number of `threads` (None: as many as torch uses).

    Tensors on meta are left as they are. Those on another device are drawn there, with bits of that device, or with
    `draw_on_cpu` on the CPU and copied. The largest are begun first. Initialisers that draw from torch's global
    generator run one by one, and leave that generator as it was.

    Raises InitializationError once all others are done, if some jobs failed.
    """
    real = [(index, job) for index, job in enumerate(jobs) if not job.tensor.is_meta]
    tasks = {index: _Task(job, draw_on_cpu) for index, job in real if not _is_small(job)}
    pooled = sorted((task for task in tasks.values() if not task.alone), key=lambda task: -task.size)
    pieces: deque[tuple[_Piecewise, int]] = deque((task, number) for task in pooled for number in range(task.pieces))
    generator = torch.Generator("cpu")
    failures: dict[int, Exception] = {}
    with torch.no_grad():
        _spread(pieces, torch.get_num_threads() if threads is None else threads)
        for index, job in real:
            task = tasks.get(index)
            try:
                if task is None:
                    _draw(job, job.tensor, 0, generator)
                    job.initializer.finish(job.tensor)
                elif task.alone:
                    task.run(0, generator)
            except Exception as error:
                failures[index] = error
    failures |= {index: task.failure[1] for index, task in tasks.items() if task.failure is not None}
    if failures:
        raise InitializationError([(jobs[index], error) for index, error in sorted(failures.items())])


def copy_all(pairs: Iterable[tuple[torch.Tensor, torch.Tensor]], threads: int | None = None) -> None:
    """Copy the second tensor of each pair, of the same shape, into the first, on a number of `threads` (None: as many
    as torch uses).

    Torch shares each tensor out among its threads and waits for all of them, hundreds of times in a model: long waits
    where another process has one of the cores.
    """
    pieces: deque[tuple[_Piecewise, int]] = deque()
    with torch.no_grad():
        for target, source in pairs:
            plain = all(each.device.type == "cpu" and each.is_contiguous() for each in (target, source))
            if not plain or target.shape != source.shape or target.numel() < _SMALL:
                target.copy_(source)
                continue
            copy = _Copy(target.view(-1), source.view(-1))
            pieces.extend((copy, number) for number in range(-(-target.numel() // PIECE)))
        _spread(pieces, torch.get_num_threads() if threads is None else threads)


@dataclass(frozen=True, slots=True, eq=False)
class _Copy:
    """One flat tensor into another, a piece at a time, in blocks that torch copies on the thread that asks."""

    target: torch.Tensor
    source: torch.Tensor

    def run(self, number: int, generator: torch.Generator) -> None:
        piece = slice(number * PIECE, (number + 1) * PIECE)
        blocks = zip(self.target[piece].split(BLOCK), self.source[piece].split(BLOCK), strict=True)
        for target, source in blocks:
            target.copy_(source)


class _Piecewise(Protocol):
    """What several threads can do a piece each of, with a generator of the CPU that nobody else uses meanwhile."""

    def run(self, number: int, generator: torch.Generator) -> None: ...


def _is_small(job: Job) -> bool:
    """Whether a tensor is best filled at once: handing it over would cost more than it gains."""
    tensor = job.tensor
    return (
        tensor.numel() < _SMALL
        and tensor.device.type == "cpu"
        and tensor.is_contiguous()
        and not isinstance(job.initializer, FromGlobal)
    )


def _draw(job: Job, target: torch.Tensor, piece: int, generator: torch.Generator) -> None:
    """Draw one piece of a job into `target` with a generator of its device."""
    if job.initializer.draws:
        _seeded(generator, job.seed, job.fqn, piece)
    job.initializer.fill(target, generator)


@dataclass(eq=False, slots=True)
class _Task:
    """A job at work: its pieces may be drawn by several threads, and the last of them finishes the tensor."""

    job: Job
    draw_on_cpu: bool
    size: int = 0
    pieces: int = 1
    alone: bool = False
    """It must be run by the calling thread: it uses the global generator, or another device's queue."""
    left: int = 0
    target: torch.Tensor | None = None
    failure: tuple[int, Exception] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        tensor, initializer = self.job.tensor, self.job.initializer
        self.size = tensor.numel()
        elsewhere = tensor.device.type != "cpu" and not self.draw_on_cpu and not isinstance(initializer, FromGlobal)
        self.alone = elsewhere or isinstance(initializer, FromGlobal)
        if initializer.elementwise and not elsewhere:
            self.pieces = max(1, -(-self.size // PIECE))
        self.left = self.pieces

    def run(self, number: int, generator: torch.Generator) -> None:
        """Draw one piece, with a generator of the CPU that nobody else uses meanwhile."""
        try:
            if self.failure is None:
                self.draw(number, generator)
        except Exception as error:
            with self.lock:  # the first piece's error, whichever thread is faster
                if self.failure is None or number < self.failure[0]:
                    self.failure = (number, error)
        with self.lock:
            self.left -= 1
            last = not self.left
        if last:
            self.finish()

    def draw(self, number: int, generator: torch.Generator) -> None:
        job, target = self.job, self.ready()
        if self.pieces > 1:
            target = target.view(-1)[number * PIECE : (number + 1) * PIECE]
        if target.device.type != "cpu":
            generator = torch.Generator(target.device)
        if isinstance(job.initializer, FromGlobal):
            with torch.random.fork_rng(devices=[]):
                torch.set_rng_state(_seeded(generator, job.seed, job.fqn, number).get_state())
                job.initializer.fill(target, None)
        else:
            _draw(job, target, number, generator)

    def ready(self) -> torch.Tensor:
        """What is drawn into: the tensor itself, or one beside it where its memory cannot be cut into pieces."""
        tensor = self.job.tensor
        if tensor.is_contiguous() and (tensor.device.type == "cpu" or (self.alone and not self.on_cpu())):
            return tensor
        with self.lock:
            if self.target is None:
                device = "cpu" if self.on_cpu() else tensor.device
                self.target = torch.empty(tensor.shape, dtype=tensor.dtype, device=device)
            return self.target

    def on_cpu(self) -> bool:
        return self.draw_on_cpu or isinstance(self.job.initializer, FromGlobal)

    def finish(self) -> None:
        """Copy what was drawn beside the tensor, and let it go."""
        try:
            if self.failure is None:
                if self.target is not None:
                    self.job.tensor.copy_(self.target)
                self.job.initializer.finish(self.job.tensor)
        except Exception as error:
            self.failure = (self.pieces, error)
        self.target = None


def _spread(pieces: deque[tuple[_Piecewise, int]], threads: int) -> None:
    """Do all pieces on a number of threads, of which the calling one is the first."""
    stopped: list[BaseException] = []
    inference = torch.is_inference_mode_enabled()  # like no_grad, of the thread alone

    def work() -> None:
        generator = torch.Generator("cpu")
        while pieces:
            try:
                task, number = pieces.popleft()
            except IndexError:  # another thread took the last
                return
            task.run(number, generator)

    def help() -> None:
        try:
            with torch.inference_mode(inference), torch.no_grad():
                work()
        except BaseException as error:
            stopped.append(error)

    helpers = [threading.Thread(target=help, daemon=True) for _ in range(min(threads, len(pieces)) - 1)]
    try:
        for helper in helpers:
            helper.start()
        work()
    finally:
        pieces.clear()  # after an interrupt, nobody begins another
        for helper in helpers:
            if helper.ident is not None:
                helper.join()
    if stopped:
        raise stopped[0]


def _seeded(generator: torch.Generator, seed: int, fqn: str, piece: int) -> torch.Generator:
    """Put a generator at the beginning of a stream."""
    if not -(2**63) <= seed < 2**64:
        raise ValueError(f"a seed has 64 bits: {seed} is out of range")
    key = hashlib.blake2b(
        fqn.encode("utf-8", "surrogatepass"),
        digest_size=8,
        person=seed.to_bytes(9, "little", signed=True),
        salt=piece.to_bytes(8, "little"),
    ).digest()
    if generator.device.type == "cpu" and _layout_is_known():
        generator.set_state(_state(key))
    else:
        generator.manual_seed(int.from_bytes(key, "little"))
    return generator


def _state(key: bytes) -> torch.Tensor:
    """The state of a CPU generator in which every word comes from the key."""
    state = bytearray(_template())
    state[:8] = key
    words = memoryview(state).cast("I")
    first = _HEADER // 4
    words[first : first + 2 * _WORDS : 2] = memoryview(hashlib.shake_128(key).digest(4 * _WORDS)).cast("I")
    return torch.frombuffer(state, dtype=torch.uint8)


@cache
def _template() -> bytes:
    """The state of a generator that was just seeded."""
    return bytes(torch.Generator("cpu").manual_seed(0).get_state().tolist())


@cache
def _layout_is_known() -> bool:
    """Whether torch keeps the state of a CPU generator as it has since its beginnings: words of 32 bits in 64."""
    if sys.byteorder != "little" or len(_template()) < _HEADER + 8 * _WORDS:
        return False
    expected = [0]
    for index in range(1, _WORDS):  # the seeding of the reference implementation of mt19937
        expected.append((1812433253 * (expected[-1] ^ (expected[-1] >> 30)) + index) % 2**32)
    words = memoryview(_template()).cast("Q")[_HEADER // 8 :]
    return list(words[:_WORDS]) == expected

"""The processes that check files: started when needed, asked one job at a time, stopped when a job takes too long."""

from __future__ import annotations

import asyncio
import logging
import pickle
import subprocess
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from confnet.lsp.answers import Answer, Job
from confnet.lsp.worker import HEADER
from confnet.processes import environment, python

__all__ = ["Worker"]

log = logging.getLogger(__name__)


class Worker:
    """One process. `seconds` is what a job may take."""

    def __init__(self, plugins: Sequence[str], seconds: float) -> None:
        self.plugins, self.seconds = plugins, seconds
        self.process: subprocess.Popen[bytes] | None = None
        self.free = asyncio.Lock()
        self.asking: asyncio.Task[Answer | None] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        """The process, started if there is none."""
        if self.process is None or self.process.poll() is not None:
            command = python("confnet.lsp.worker", *self.plugins)
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment())
        return self.process

    async def ask(self, job: Job) -> Answer | None:
        """The answer to a job; None where there is none, which is logged: the process died, or took too long.

        Who is cancelled before it is his turn has asked nothing. A job that was begun is done in any case: its answer
        must not be taken for that of the next.
        """
        await self.free.acquire()
        self.asking = asyncio.ensure_future(self._asked(job))
        self.asking.add_done_callback(lambda done: self.free.release())
        return await asyncio.shield(self.asking)

    async def _asked(self, job: Job) -> Answer | None:
        try:
            found = await asyncio.wait_for(self._answer(self.start(), pickle.dumps(job)), self.seconds)
        except TimeoutError:
            log.warning("%s of %s took more than %s seconds", job.kind, job.path, self.seconds)
        else:
            if isinstance(found, Answer):
                return found
            log.error("checking %s failed:\n%s", job.path, found)
            if not isinstance(found, Exception):  # the process itself told of its fault, and goes on
                return None
        self.stop()
        return None

    def _answer(self, process: subprocess.Popen[bytes], data: bytes) -> asyncio.Future[object]:
        """What the process answers, or the exception that stands for no answer, waited for in a thread of its own."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[object] = loop.create_future()

        def settle(found: object) -> None:
            if not future.done():
                future.set_result(found)

        def run() -> None:
            try:
                found = _exchange(process, data)
            except (OSError, EOFError, ValueError, pickle.UnpicklingError) as error:
                found = error
            with suppress(RuntimeError):  # nobody waits any more: the server has ended
                loop.call_soon_threadsafe(settle, found)

        threading.Thread(target=run, daemon=True).start()
        return future

    def end(self) -> None:
        """End the process, whatever it does: nobody asks any more."""
        if self.asking is not None:
            self.asking.cancel()
        self.stop()

    def stop(self) -> None:
        """End the process; the next job starts another."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            for stream in (self.process.stdin, self.process.stdout):
                if stream is not None:
                    with suppress(OSError):  # what was never sent
                        stream.close()
        self.process = None


def _exchange(process: subprocess.Popen[bytes], data: bytes) -> object:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(HEADER.pack(len(data)) + data)
    process.stdin.flush()
    (length,) = HEADER.unpack(_read(process.stdout, HEADER.size))
    return pickle.loads(_read(process.stdout, length))


def _read(stream: IO[bytes], length: int) -> bytes:
    data = stream.read(length)
    if len(data) < length:
        raise EOFError("the process that checks files ended")
    return data

"""The process that mutates and reads: it may crash or hang, and its campaign goes on without it."""

import contextlib
import dataclasses
import faulthandler
import importlib
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from fuzz import limits
from fuzz.formats import FORMATS
from fuzz.guard import Guard
from fuzz.judging import Reader, Verdict, judge, read_file
from fuzz.mutations import mutated

CRASH_FILE = "crash.txt"


@dataclasses.dataclass(frozen=True)
class Task:
    """Mutations of one format: those from ``start`` on, ``count`` of them."""

    format: str
    files: tuple[bytes, ...]
    seed: int
    start: int
    count: int
    folder: Path  # the worker's own, for the file it reads
    read: Reader = read_file

    def content(self, number: int) -> bytes:
        """Return the file of a mutation's number, always the same."""
        mutations = next(known.mutations for known in FORMATS if known.name == self.format)
        return mutated(Random(f"{self.format} {self.seed} {number}"), self.files, mutations)


@dataclasses.dataclass(frozen=True)
class Step:
    """One mutation done, and what the worker has taken so far: memory beyond what it began with."""

    number: int
    verdict: Verdict
    usage: limits.Usage


def work(task: Task, first: int, results: Connection) -> None:
    """Send a Usage of nothing when ready, then a Step for every mutation from ``first`` on."""
    guard = Guard()
    path = task.folder / "mutated"
    _warm_up(task, path)
    with open(task.folder / CRASH_FILE, "w", encoding="utf-8") as crash_file:
        faulthandler.enable(crash_file)
        for ending in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(ending, crash_file, chain=True)
        # No few mutations make a file that much longer.
        limits.limit_memory(64 * max(map(len, task.files)))
        before = limits.used()
        results.send(before.since(before))
        for number in range(first, task.start + task.count):
            limits.start_watch()
            path.write_bytes(task.content(number))
            with guard.reading(path):
                verdict = judge(path, task.read)
            limits.stop_watch()
            results.send(Step(number, verdict, limits.used().since(before)))


# What a reader of any format may import; a mutation can turn a file into another format.
_LIBRARIES = (
    "google.protobuf.message", "msgpack", "onnx", "onnx.numpy_helper",
    "onnx.reference.ops._op_list", "safetensors.numpy",
)  # fmt: skip


def _warm_up(task: Task, path: Path) -> None:
    """Load what readers import before memory is limited, and read what is sound and what is not."""
    for library in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    for content in task.files:
        for some in (content, content[: len(content) // 2]):
            path.write_bytes(some)
            judge(path)

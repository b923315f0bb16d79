"""The process that mutates and reads, which may crash or hang."""

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
    """A range of mutations of one format: ``count`` from ``start``."""

    format: str
    files: tuple[bytes, ...]
    seed: int
    start: int
    count: int
    folder: Path  # of the worker, for the file that is read
    read: Reader = read_file

    def content(self, number: int) -> bytes:
        """Return the file of a mutation by its number."""
        mutations = next(known.mutations for known in FORMATS if known.name == self.format)
        return mutated(Random(f"{self.format} {self.seed} {number}"), self.files, mutations)


@dataclasses.dataclass(frozen=True)
class Step:
    """The outcome of a mutation, and the resources of the worker beyond its initial memory."""

    number: int
    verdict: Verdict
    usage: limits.Usage


def work(task: Task, first: int, results: Connection) -> None:
    """Send an empty Usage when ready, then a Step for every mutation from ``first``."""
    guard = Guard()
    path = task.folder / "mutated"
    _warm_up(task, path)
    with open(task.folder / CRASH_FILE, "w", encoding="utf-8") as crash_file:
        faulthandler.enable(crash_file)
        for ending in (signal.SIGPROF, signal.SIGALRM):
            faulthandler.register(ending, crash_file, chain=True)
        # A few mutations cannot make a file longer than this.
        limits.limit_memory(64 * max(map(len, task.files)))
        before = limits.used()
        results.send(before.since(before))
        # Written in place: a new file takes as long as many of the reads.
        with open(path, "wb", buffering=0) as file:
            for number in range(first, task.start + task.count):
                limits.start_watch()
                file.seek(0)
                file.write(task.content(number))
                file.truncate()
                with guard.reading(path):
                    verdict = judge(path, task.read)
                limits.stop_watch()
                results.send(Step(number, verdict, limits.used().since(before)))


# The imports of all readers, because a mutation may change the format of a file.
LIBRARIES = (
    "google.protobuf.message", "msgpack", "onnx", "onnx.numpy_helper",
    "onnx.reference.ops._op_list", "safetensors.numpy",
)  # fmt: skip


def _warm_up(task: Task, path: Path) -> None:
    """Import the modules of readers before memory is limited, and read valid and invalid files."""
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(library)
    for content in task.files:
        for some in (content, content[: len(content) // 2]):
            path.write_bytes(some)
            judge(path)

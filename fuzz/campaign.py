"""A campaign: all mutations of one format, read in processes that may crash."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import tempfile
from collections.abc import Sequence
from pathlib import Path

from fuzz.formats import Format
from fuzz.judging import FAILED, LOADED, REFUSED, Verdict, judge
from fuzz.limits import end_of
from fuzz.worker import CRASH_FILE, LIBRARIES, Task, work

# A campaign ends after this many crashes.
MOST_ENDS = 20


@dataclasses.dataclass
class Failure:
    """A cause of failures, and the first mutation with it."""

    number: int
    verdict: Verdict
    times: int = 1


@dataclasses.dataclass
class Summary:
    """The results of a campaign."""

    task: Task
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    refusals: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    failures: dict[str, Failure] = dataclasses.field(default_factory=dict)  # by cause
    cpu_seconds: float = 0.0
    peak_bytes: int = 0  # of memory, beyond the initial memory of a worker

    @property
    def done(self) -> int:
        """Return the number of mutations that were read: fewer if workers ended too often."""
        return self.counts.total()

    def add(self, number: int, verdict: Verdict) -> None:
        """Count one mutation."""
        self.counts[verdict.kind] += 1
        if verdict.kind == REFUSED:
            self.refusals[verdict.reason] += 1
        if verdict.kind == FAILED:
            known = self.failures.setdefault(verdict.reason, Failure(number, verdict, times=0))
            known.times += 1


def run_all(
    formats: Sequence[Format], *, seed: int = 0, start: int = 0, count: int, jobs: int = 1
) -> list[Summary]:
    """Run a campaign for each format, ``jobs`` at a time; their libraries must be installed."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        tasks = []
        for known in formats:
            place = Path(folder, known.name)
            place.mkdir()
            tasks.append(Task(known.name, known.make_files(), seed, start, count, place))
        # The threads only wait, as each campaign reads in another process.
        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(run, tasks))


def run(task: Task) -> Summary:
    """Run a task in a child process, and continue in a new one if it ends."""
    summary = Summary(task)
    refused = _refused(task)
    if refused is not None:
        summary.add(task.start, refused)
        return summary
    for _ in range(MOST_ENDS):
        exit_code = _run_worker(task, summary)
        if summary.done == task.count:
            break
        # Steps are in order, so the next one has ended the worker.
        trace = (task.folder / CRASH_FILE).read_text("utf-8", "replace")
        summary.add(task.start + summary.done, Verdict(FAILED, end_of(exit_code), trace))
    return summary


def _refused(task: Task) -> Verdict | None:
    """Return a failure if a real file is not loaded, as its mutations would test nothing."""
    path = task.folder / "real"
    for number, content in enumerate(task.files):
        path.write_bytes(content)
        verdict = judge(path)
        if verdict.kind != LOADED:
            reason = f"real file {number} is {verdict.kind}: {verdict.reason}"
            return Verdict(FAILED, reason, verdict.detail)
    return None


def _run_worker(task: Task, summary: Summary) -> int:
    """Add the results of a worker from the first open mutation; return its exit code."""
    # Forked, but not from this process, where JAX may have started threads: from one that has
    # imported what workers need, which takes seconds.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fuzz.worker", *LIBRARIES])
    receiver, sender = context.Pipe(duplex=False)
    first = task.start + summary.done
    process = context.Process(target=work, args=(task, first, sender), daemon=True)
    process.start()
    sender.close()
    usage = None
    with contextlib.suppress(EOFError), receiver:
        usage = receiver.recv()
        while True:
            step = receiver.recv()
            summary.add(step.number, step.verdict)
            usage = step.usage
    process.join()
    if usage is None:
        raise RuntimeError(f"the worker for {task.format} did not start: see its output")
    summary.cpu_seconds += usage.cpu_seconds
    summary.peak_bytes = max(summary.peak_bytes, usage.peak_bytes)
    return process.exitcode or 0

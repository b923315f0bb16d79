"""From entries and a problem to rows: what all benchmarks here share."""

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.check import check
from benchmarks.contenders import OURS, Entry, Program, enter, missing_package
from benchmarks.problem import Problem, Shape
from benchmarks.timing import Effort, Timing, estimate, time_interleaved


class Row(NamedTuple):
    """What was measured of one entry, for one kind of run at one shape."""

    kind: str
    shape: Shape
    entry: Entry
    timing: Timing
    compile_seconds: float | None
    temp_bytes: int | None

    @property
    def ours(self) -> bool:
        """Whether this is jaxgru's row."""
        return self.entry.library == OURS

    @property
    def per_step_and_sequence(self) -> float:
        """The seconds for one time step of one sequence: constant where the cost is linear."""
        return self.timing.median / (self.shape.time * self.shape.batch)


def enter_checked(libraries: Iterable[str]) -> list[Entry]:
    """Return the entries of all libraries that are here, each found to compute a GRU; say which."""
    entries = []
    for library in libraries:
        missing = missing_package(library)
        if missing is not None:
            print(f"{library}: left out, {missing} is not installed")
            continue
        try:
            entries += enter(library)
        except ValueError as error:
            print(f"{library}: left out, {error}")
    for entry in entries:
        check(entry)
    print(f"states and gradients checked: {', '.join(entry.name for entry in entries)}\n")
    return entries


def measure(entries: Iterable[Entry], kind: str, problem: Problem, effort: Effort) -> list[Row]:
    """Return the rows of one kind of run, fastest first.

    Args:
        entries: who takes part.
        kind: a method of ``Contender``: forward, train, step or chunk.
        problem: on what.
        effort: how long to measure.
    """
    programs = _programs(entries, kind, problem)
    timings = time_interleaved({entry.name: program for entry, program in programs}, effort)
    rows = [
        Row(
            kind,
            problem.shape,
            entry,
            timings[entry.name],
            program.compile_seconds,
            program.temp_bytes,
        )
        for entry, program in programs
    ]
    return sorted(rows, key=lambda row: row.timing.median)


def lead(rows: Iterable[Row], *, any_options: bool) -> float | None:
    """Return the fastest peer's time over jaxgru's, or None where one of them is missing.

    Args:
        rows: of one kind of run at one shape.
        any_options: whether peers with options count too, or only those with their defaults.
    """
    rows = [row for row in rows if any_options or not row.entry.options]
    ours = [row.timing.median for row in rows if row.ours]
    peers = [row.timing.median for row in rows if not row.ours]
    return min(peers) / min(ours) if ours and peers else None


def _programs(entries: Iterable[Entry], kind: str, problem: Problem) -> list[tuple[Entry, Program]]:
    """Return the programs that take part: defaults always, options where they gain something."""
    programs: list[tuple[Entry, Program]] = []
    by_default: dict[str, float] = {}
    for entry in entries:
        program = getattr(entry.contender, kind)(problem)
        if program is None:
            continue
        seconds = estimate(program)
        if not entry.options:
            by_default[entry.library] = seconds
        elif seconds >= by_default[entry.library]:
            continue
        programs.append((entry, program))
    return programs

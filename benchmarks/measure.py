"""Measuring entries on a problem, for all benchmarks here."""

from collections.abc import Iterable
from typing import NamedTuple

from benchmarks.check import check
from benchmarks.contenders import OURS, Entry, Program, enter, missing_package
from benchmarks.problem import Problem, Shape
from benchmarks.timing import Effort, Timing, estimate, time_interleaved


class Row(NamedTuple):
    """The measurement of one entry, for one kind of run at one shape."""

    kind: str
    shape: Shape
    entry: Entry
    timing: Timing
    compile_seconds: float | None
    temp_bytes: int | None

    @property
    def ours(self) -> bool:
        """Whether this is the row of jaxgru."""
        return self.entry.library == OURS

    @property
    def per_step_and_sequence(self) -> float:
        """The seconds for one time step of one sequence: constant if the cost is linear."""
        return self.timing.median / (self.shape.time * self.shape.batch)


def enter_checked(libraries: Iterable[str]) -> list[Entry]:
    """Return the checked entries of all installed libraries, and print them."""
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
        entries: the participants.
        kind: a method of ``Contender``: forward or train.
        problem: the problem.
        effort: the time to spend.
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
    """Return the time of the fastest peer over that of jaxgru's defaults, None if one is missing.

    Args:
        rows: of one kind of run at one shape.
        any_options: whether to include peers with options, or only those with defaults.
    """
    rows = [row for row in rows if any_options or not row.entry.options]
    ours = [row.timing.median for row in rows if row.ours and not row.entry.options]
    peers = [row.timing.median for row in rows if not row.ours]
    return min(peers) / min(ours) if ours and peers else None


def _programs(entries: Iterable[Entry], kind: str, problem: Problem) -> list[tuple[Entry, Program]]:
    """Return the programs to measure: with defaults, and with options that are faster."""
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

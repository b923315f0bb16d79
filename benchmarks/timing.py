"""Interleaved timing: every contender in turn, round after round, in one process."""

import gc
import math
import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

from benchmarks.contenders import Program

# Before each turn the machine rests, and in a turn of several calls the first is not counted:
# worker threads of the library before (OpenMP, ONNX Runtime) spin on for a moment after their
# work, and the caches hold its data.
_PAUSE = 0.005
# A turn is at least this long, so that what the pause lets cool is a small part of it.
_SHORTEST_TURN = 0.025
_MOST_CALLS = 20


class Timing(NamedTuple):
    """Seconds for one call, over all the calls counted."""

    median: float
    least: float
    lower_quartile: float
    upper_quartile: float
    calls: int


def time_interleaved(
    programs: Mapping[str, Program], seconds: float, rounds: tuple[int, int] = (5, 40)
) -> dict[str, Timing]:
    """Return the timings of programs that are measured A B C, A B C, ...

    All take part in the same rounds. A fast program is called several times in its turn; one much
    slower than the others has its turn only in every k-th round.

    Args:
        programs: what to time, by name; each has been called once at least.
        seconds: about how long to measure.
        rounds: the fewest and the most rounds, whatever the time allows.
    """
    estimates = {name: _estimate(program) for name, program in programs.items()}
    turn = max(_SHORTEST_TURN, statistics.median(estimates.values()))
    # The median contender is never made to skip; one of 1.5 times its time is not, either.
    every = {name: max(1, round(one / turn)) for name, one in estimates.items()}
    calls = {
        name: max(1, min(_MOST_CALLS, math.floor(turn / one))) for name, one in estimates.items()
    }
    cost = sum(
        _PAUSE + estimates[name] * (calls[name] + (calls[name] > 1)) / every[name]
        for name in programs
    )
    fewest, most = rounds
    count = max(fewest, min(most, math.floor(seconds / cost)))
    samples: dict[str, list[float]] = {name: [] for name in programs}
    gc.collect()
    gc.disable()
    try:
        for number in range(count):
            for name, program in programs.items():
                if number % every[name] == 0:
                    samples[name] += _turn(program, calls[name])
    finally:
        gc.enable()
    return {name: _summary(times) for name, times in samples.items()}


def _estimate(program: Program) -> float:
    program.call()
    return min(_once(program) for _ in range(2))


def _turn(program: Program, calls: int) -> list[float]:
    time.sleep(_PAUSE)
    if calls > 1:
        program.call()
    return [_once(program) for _ in range(calls)]


def _once(program: Program) -> float:
    start = time.perf_counter()
    program.call()
    return time.perf_counter() - start


def _summary(times: list[float]) -> Timing:
    if len(times) == 1:
        return Timing(times[0], times[0], times[0], times[0], 1)
    lower, median, upper = statistics.quantiles(times, n=4, method="inclusive")
    return Timing(median, min(times), lower, upper, len(times))

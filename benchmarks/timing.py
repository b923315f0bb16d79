"""Interleaved timing: all programs in turn, in several rounds, in one process."""

import gc
import random
import statistics
import time
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from benchmarks.contenders import Program

# Before each turn there is a pause, and in a turn of several calls the first is not counted:
# threads of the previous library (OpenMP, ONNX Runtime) spin for a moment after their work, and the
# caches have its data.
_PAUSE = 0.005
# A turn has at least this length, within the limit of calls, so that the effect of the pause is
# small.
_SHORTEST_TURN = 0.025
_MOST_CALLS = 500


class Effort(NamedTuple):
    """The time to spend: about this many seconds, within limits of rounds."""

    seconds: float
    least_rounds: int
    most_rounds: int


THOROUGH = Effort(seconds=30.0, least_rounds=5, most_rounds=40)
QUICK = Effort(seconds=3.0, least_rounds=2, most_rounds=10)


class Timing(NamedTuple):
    """The seconds of a call, over all counted calls."""

    median: float
    least: float
    lower_quartile: float
    upper_quartile: float
    calls: int


def time_interleaved(programs: Mapping[str, Program], effort: Effort) -> dict[str, Timing]:
    """Return the timings of programs measured in turn: A B C, A B C, ...

    A fast program is called several times in its turn; a very slow one has its turn only in every
    k-th round.

    Args:
        programs: the programs by name.
        effort: the time to spend.
    """
    estimates = {name: estimate(program) for name, program in programs.items()}
    turn = max(_SHORTEST_TURN, statistics.median(estimates.values()))
    calls = {name: int(min(max(turn / one, 1), _MOST_CALLS)) for name, one in estimates.items()}
    every = {name: max(round(one / turn), 1) for name, one in estimates.items()}
    round_seconds = sum(
        (_PAUSE + estimates[name] * (calls[name] + (calls[name] > 1))) / every[name]
        for name in programs
    )
    rounds = int(min(max(effort.seconds / round_seconds, effort.least_rounds), effort.most_rounds))
    samples: dict[str, list[float]] = {name: [] for name in programs}
    shuffle = random.Random(0)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            # In a random order, because a program may be slower after one that leaves spinning
            # threads or empty caches.
            for name, program in shuffle.sample(list(programs.items()), len(programs)):
                # Also a very slow program has its turn in three rounds.
                if number % min(every[name], max(rounds // 3, 1)) == 0:
                    samples[name] += _turn(program, calls[name])
    finally:
        gc.enable()
    return {name: _summary(times) for name, times in samples.items()}


def estimate(program: Program) -> float:
    """Return an estimate of the seconds of a call: the smallest of a few, after a first."""
    program.call()
    times = [_once(program), _once(program)]
    while sum(times) < _SHORTEST_TURN:
        times.append(_once(program))
    return min(times)


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
    lower, median, upper = np.quantile(times, (0.25, 0.5, 0.75)).tolist()
    return Timing(median, min(times), lower, upper, len(times))

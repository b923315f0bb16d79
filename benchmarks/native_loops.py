"""The native loops by threads, type and instruction set: ``python -m benchmarks.native_loops``.

Each setting has a process of its own, as threads and instruction set are read once. They are
measured in turn, in several rounds. Prints tables and writes JSON.
"""

import argparse
import multiprocessing
import os
import statistics
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.contenders.jaxgru_layer import Jaxgru
from benchmarks.machine import describe_machine, heading
from benchmarks.peers import KINDS, SHAPES
from benchmarks.problem import Problem, Shape, draw_problem
from benchmarks.report import RESULTS, save_json
from benchmarks.timing import Effort, time_interleaved
from jaxgru._recurrence.layer import Implementation
from jaxgru._recurrence.library import native

_ROUNDS = 5
_EFFORT = Effort(seconds=0.5, least_rounds=1, most_rounds=1)  # of one process in a round


class Setting(NamedTuple):
    """How the loops are run."""

    name: str
    implementation: Implementation = "native"
    dtype: str = "float32"
    environment: tuple[tuple[str, str], ...] = ()


SETTINGS = (
    Setting("scan", "scan"),
    Setting("native"),
    Setting("native, 1 thread", environment=(("JAXGRU_NUM_THREADS", "1"),)),
    # Of a library that was built with JAXGRU_BUILD_NATIVE=avx512,avx2,portable.
    Setting("native, portable", environment=(("JAXGRU_NATIVE_ISA", "portable"),)),
    Setting("scan, float64", "scan", "float64"),
    Setting("native, float64", dtype="float64"),
    Setting(
        "native, float64, 1 thread", dtype="float64", environment=(("JAXGRU_NUM_THREADS", "1"),)
    ),
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.native_loops", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    if native().instruction_set is None:
        parser.error(f"this needs the native loops: {native().reason}")
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine))
    pipes = {setting.name: _start(setting) for setting in SETTINGS}
    rows = []
    for shape in SHAPES:
        for kind in KINDS:
            print(f"{kind} {shape}")
            for name, median in _measure(pipes, kind, shape).items():
                print(f"  {name:27} {1e6 * median:10.1f} us", flush=True)
                row = {"kind": kind, "shape": shape._asdict(), "setting": name, "median": median}
                rows.append(row)
    save_json(options.out / "native_loops-cpu.json", {"machine": machine, "rows": rows})


def _start(setting: Setting) -> Connection:
    """Start the process of a setting; it ends with this one."""
    ours, theirs = multiprocessing.Pipe()
    context = multiprocessing.get_context("spawn")
    before = dict(os.environ)
    os.environ.update(setting.environment)  # of the process that starts
    try:
        context.Process(target=_serve, args=(setting, theirs), daemon=True).start()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return ours


def _measure(pipes: dict[str, Connection], kind: str, shape: Shape) -> dict[str, float]:
    """Return the median of the rounds for each setting, in seconds."""
    medians: dict[str, list[float]] = {name: [] for name in pipes}
    for _ in range(_ROUNDS):
        for name, pipe in pipes.items():
            pipe.send((kind, shape))
            medians[name].append(pipe.recv())
    return {name: statistics.median(values) for name, values in medians.items()}


def _serve(setting: Setting, pipe: Connection) -> None:
    """Measure what is asked for, until the pipe ends."""
    jax.config.update("jax_enable_x64", setting.dtype == "float64")
    contender = Jaxgru(setting.implementation)
    programs: dict[Any, Any] = {}
    while True:
        try:
            kind, shape = pipe.recv()
        except EOFError:
            return
        if (kind, shape) not in programs:
            _, weights, xs = draw_problem(shape)
            weights, xs = jax.tree.map(lambda array: array.astype(setting.dtype), (weights, xs))
            programs = {(kind, shape): getattr(contender, kind)(Problem(shape, weights, xs))}
        timings = time_interleaved({setting.name: programs[kind, shape]}, _EFFORT)
        pipe.send(timings[setting.name].median)


if __name__ == "__main__":
    main()

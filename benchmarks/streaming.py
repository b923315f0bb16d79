"""The time of a step from NumPy to NumPy: ``python -m benchmarks.streaming``.

One step, 16 steps a call, and a step of 1,000 streams, by jaxgru.Stream and other libraries, in
turn in one process. Prints the median, the 99th and the 99.9th percentile of all calls, and writes
JSON.
"""

import argparse
import gc
import importlib.util
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from benchmarks.machine import describe_machine, heading
from benchmarks.problem import Array, Shape, draw_problem
from benchmarks.reference import gru_states
from benchmarks.report import RESULTS, save_json
from benchmarks.steppers import STEPPERS, Call, Stepper

# Streams, steps a call, inputs, units; and the calls of each that are measured.
CASES = {
    Shape(1, 1, 6, 6): 100_000,
    Shape(1, 1, 40, 64): 100_000,
    Shape(1, 1, 128, 256): 100_000,
    Shape(1, 16, 6, 6): 20_000,
    Shape(1, 16, 40, 64): 20_000,
    Shape(1, 16, 128, 256): 5_000,
    Shape(1000, 1, 40, 64): 2_000,
}
QUANTILES = {"median": 0.5, "p99": 0.99, "p99.9": 0.999}
# Each library has so many turns, in each of which the first calls are not counted: the caches
# have the data of another.
_TURNS = 10
_FIRST = 20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=STEPPERS, default=list(STEPPERS))
    parser.add_argument("--share", type=float, default=1.0, help="of the calls, for a first look")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    # Else a jitted step of more than a few units is handed to another thread.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    machine = describe_machine()
    print(heading(machine))
    steppers = installed(options.only)
    rows = []
    for shape, calls in CASES.items():
        found = measure(steppers, shape, max(_TURNS, int(calls * options.share)))
        print("\n{} streams, {} steps, {} inputs, {} units".format(*shape))
        for name, row in found.items():
            print(f"  {name:26}" + "".join(f"{row[key]:10.2f} us {key}" for key in QUANTILES))
            rows.append({"shape": shape._asdict(), "library": name, **row})
    save_json(options.out / f"streaming-{machine['platform']}.json", {
        "machine": machine, "unit": "microseconds of a call", "rows": rows,
    })  # fmt: skip


def installed(names: Sequence[str]) -> dict[str, Stepper]:
    """Return the steppers by name; print what is missing for others."""
    found = {}
    for name in names:
        packages, stepper = STEPPERS[name]
        missing = [package for package in packages if importlib.util.find_spec(package) is None]
        if missing:
            print(f"{name}: left out, {missing[0]} is not installed")
        else:
            found[name] = stepper
    return found


def measure(steppers: Mapping[str, Stepper], shape: Shape, calls: int) -> dict[str, dict[str, Any]]:
    """Return the quantiles of the calls, in microseconds, that of the clock included."""
    prepared = {name: checked(name, stepper, shape) for name, stepper in steppers.items()}
    samples: dict[str, list[Array]] = {name: [] for name in prepared}
    clock = _turn(lambda _: None, [np.zeros(0)] * 1000, 1000)
    gc.collect()
    gc.disable()
    try:
        for _ in range(_TURNS):
            for name, (call, inputs) in prepared.items():
                samples[name].append(_turn(call, inputs, calls // _TURNS))
    finally:
        gc.enable()
    rows = {}
    for name, taken in samples.items():
        all_calls = np.concatenate(taken)
        quantiles = np.quantile(all_calls, list(QUANTILES.values())) / 1000
        rows[name] = dict(zip(QUANTILES, map(float, quantiles), strict=True))
        rows[name] |= {"calls": len(all_calls), "clock": float(np.median(clock)) / 1000}
    return rows


def checked(name: str, stepper: Stepper, shape: Shape) -> tuple[Call, list[Array]]:
    """Return a call with inputs for it, after a few that are compared with the float64 loop."""
    whole = draw_problem(shape._replace(time=8 * shape.time))
    call, layout = stepper(whole._replace(shape=shape))
    inputs = [
        np.ascontiguousarray(np.swapaxes(part, 0, 1)).reshape(layout)
        for part in np.split(whole.xs, 8, axis=1)
    ]
    expected = np.split(gru_states(whole.weights, whole.xs), 8, axis=1)
    for x, ys in zip(inputs, expected, strict=True):
        found = np.array(call(x)).reshape(shape.time, shape.batch, shape.units)
        error = np.abs(np.swapaxes(found, 0, 1) - ys).max()
        # Over a hundred steps of states below 1, in float32.
        if not error <= 1e-4:
            raise ArithmeticError(f"{name}: states off by {error:.1e}, expected <= 1e-4")
    return call, inputs


def _turn(call: Any, inputs: list[Array], calls: int) -> Array:
    """Return the nanoseconds of each call."""
    taken, now = np.empty(calls, np.int64), time.perf_counter_ns
    for i in range(_FIRST):
        call(inputs[i % len(inputs)])
    for i in range(calls):
        x = inputs[i % len(inputs)]
        start = now()
        call(x)
        taken[i] = now() - start
    return taken


if __name__ == "__main__":
    main()

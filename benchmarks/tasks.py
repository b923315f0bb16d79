"""The time for training a GRU to a target loss: ``python -m benchmarks.tasks``.

The synthetic tasks are digits read pixel by pixel, and copy memory. All libraries have the same
initial weights, batches and optimizer. Prints tables and writes JSON.
"""

import argparse
import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.contenders import OURS
from benchmarks.learning.race import Run, race
from benchmarks.learning.task import BLOCK, TASKS, Task
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.measure import enter_checked
from benchmarks.report import RESULTS, save_json

LIBRARIES = (OURS, "flax nnx", "keras-jax")
SEEDS = (0, 1, 2)

# A run of each entry, by its name, for each seed.
Races = Sequence[Mapping[str, Run]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tasks", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    entries = enter_checked(LIBRARIES)
    races: dict[Task, Races] = {}
    for task in TASKS:
        races[task] = [race(task, entries, seed) for seed in SEEDS]
        print(table(task, races[task]), flush=True)
    content = {
        "machine": machine,
        "block": BLOCK,
        "tasks": [_record(task, by_seed) for task, by_seed in races.items()],
    }
    save_json(options.out / f"tasks-{machine['platform']}.json", content)


def table(task: Task, races: Races) -> str:
    """Return steps and seconds to the target, and the differences of the curves, as text.

    Steps, times and ratios of times within a race are medians over the seeds. Differences of curves
    are means; in the first block, where rounding errors have not grown yet, the largest.
    """
    lines = [
        f"{task.name} {task.shape()}, Adam at {task.rate}: to a loss of {task.target} nats",
        f"  {'':17} {'steps':>6} {'seconds':>8} {'/ jaxgru':>8} {'ms/step':>8} {'compile s':>9}"
        f" {'first block off by':>18} {'curve off by':>12}",
    ]
    for name in races[0]:
        runs = [by_name[name] for by_name in races]
        steps = statistics.median(run.steps_to(task.target) for run in runs)
        seconds = statistics.median(run.seconds_to(task.target) for run in runs)
        ratio = statistics.median(
            run.seconds_to(task.target) / by_name[OURS].seconds_to(task.target)
            for run, by_name in zip(runs, races, strict=True)
        )
        per_step = statistics.median(run.seconds[-1] / task.steps for run in runs)
        compiled = statistics.median(run.compile_seconds for run in runs)
        first = max(
            abs(run.losses[0] - by_name[OURS].losses[0])
            for run, by_name in zip(runs, races, strict=True)
        )
        away = np.mean(
            [distance(run, by_name[OURS]) for run, by_name in zip(runs, races, strict=True)]
        )
        lines.append(
            f"  {name:17} {steps:6.0f} {seconds:8.2f} {ratio:8.2f} {1e3 * per_step:8.2f}"
            f" {compiled:9.2f} {first:18.1e} {away:12.4f}"
        )
    return "\n".join([*lines, f"  {OURS}, other seeds: curves off by {noise(races):.4f}"]) + "\n"


def distance(run: Run, other: Run) -> float:
    """Return the mean difference of two curves of the loss over all blocks, in nats."""
    return float(np.abs(np.subtract(run.losses, other.losses)).mean())


def noise(races: Races) -> float:
    """Return the difference of curves of jaxgru with different seeds."""
    ours = [runs[OURS] for runs in races]
    pairs = [(one, other) for n, one in enumerate(ours) for other in ours[:n]]
    return float(np.mean([distance(*pair) for pair in pairs]))


def _record(task: Task, races: Races) -> dict[str, Any]:
    """Return a task and its runs for JSON, with times in seconds."""
    return {
        "task": task.name,
        "shape": task.shape()._asdict(),
        "rate": task.rate,
        "target": task.target,
        "distance_of_seeds": noise(races),
        "runs": [
            {
                "entry": name,
                "seed": seed,
                "steps_to_target": _or_none(run.steps_to(task.target)),
                "seconds_to_target": _or_none(run.seconds_to(task.target)),
                "distance_from_jaxgru": distance(run, runs[OURS]),
                **run._asdict(),
            }
            for seed, runs in zip(SEEDS, races, strict=True)
            for name, run in runs.items()
        ],
    }


def _or_none(number: float) -> float | None:
    """Return a number, or None if it is infinite, which JSON does not support."""
    return None if math.isinf(number) else number


if __name__ == "__main__":
    main()

"""The growth of the cost with time and batch: ``python -m benchmarks.scaling``.

Compares jaxgru with a plain scan and JAX's derivative: time per step, temporary memory, and the
time for compiling the gradient. Prints tables and writes JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import OURS
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.measure import Row, enter_checked, measure
from benchmarks.problem import Shape, draw_problem
from benchmarks.report import RESULTS, record, save_json
from benchmarks.timing import Effort

# Each sweep varies one size. Small layers show the fixed cost of a step, medium ones the products.
SWEEPS = {
    "time, 6 units": [Shape(1, time, 6, 6) for time in (100, 1_000, 10_000, 100_000)],
    "time, 64 units": [Shape(1, time, 40, 64) for time in (100, 1_000, 10_000, 100_000)],
    "batch, 128 units": [Shape(batch, 256, 64, 128) for batch in (1, 4, 16, 64, 256)],
}
_LIBRARIES = (OURS, "plain scan")
_EFFORT = Effort(seconds=4.0, least_rounds=3, most_rounds=20)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    entries = [entry for entry in enter_checked(_LIBRARIES) if not entry.options]
    sweeps: dict[str, list[Row]] = {}
    for name, shapes in SWEEPS.items():
        print(f"{name}\n{_HEAD}")
        sweeps[name] = []
        for shape in shapes:
            problem = draw_problem(shape)
            for kind in ("forward", "train"):
                rows = measure(entries, kind, problem, _EFFORT)
                sweeps[name] += rows
                print("\n".join(_line(row) for row in rows), flush=True)
        print()
    records = {name: [record(row) for row in rows] for name, rows in sweeps.items()}
    save_json(
        options.out / f"scaling-{machine['platform']}.json", {"machine": machine, "sweeps": records}
    )


# A row of the batch is one sequence.
_HEAD = (
    f"  {'shape':22} {'kind':8} {'library':12} {'ms':>9} {'us/step/row':>11} {'temp MB':>8}"
    f" {'compile s':>9}"
)


def _line(row: Row) -> str:
    return (
        f"  {row.shape!s:22} {row.kind:8} {row.entry.name:12} {1e3 * row.timing.median:9.2f}"
        f" {1e6 * row.per_step_and_sequence:11.3f} {row.temp_bytes / 1e6:8.1f}"
        f" {row.compile_seconds:9.2f}"
    )


if __name__ == "__main__":
    main()

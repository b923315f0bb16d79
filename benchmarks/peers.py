"""Compare jaxgru with other GRU implementations: ``python -m benchmarks.peers``.

Prints a table for each shape and kind of run, and writes JSON and a plot.
"""

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import LIBRARIES
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.measure import Row, enter_checked, lead, measure
from benchmarks.plots import plot_peers
from benchmarks.problem import Shape, draw_problem
from benchmarks.report import RESULTS, record, save_json, table
from benchmarks.timing import QUICK, THOROUGH

SHAPES = (
    Shape(1, 1000, 6, 6),
    Shape(1, 500, 40, 64),
    Shape(1, 256, 128, 256),
    Shape(32, 256, 64, 128),
    Shape(64, 128, 256, 512),
)
KINDS = ("forward", "train")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    options = _parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    entries = enter_checked(options.only)
    tasks: list[list[Row]] = []
    for shape in options.shapes:
        problem = draw_problem(shape)
        for kind in KINDS:
            tasks.append(measure(entries, kind, problem, QUICK if options.quick else THOROUGH))
            print(table(tasks[-1]), flush=True)
    leads = _leads(tasks)
    for kind, means in leads.items():
        for peers, mean in means.items():
            print(f"{kind}: fastest peer / jaxgru, geometric mean, {peers}: {mean:.2f}")
    name = f"peers-{machine['platform']}"
    content = {
        "machine": machine,
        "quick": options.quick,
        "geometric_means": leads,
        "rows": [record(row) for rows in tasks for row in rows],
    }
    save_json(options.out / f"{name}.json", content)
    if leads:  # otherwise there is nothing to compare with
        plot_peers(options.out / f"{name}.png", tasks, heading(machine))


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument(
        "--shapes", nargs="+", type=_shape, default=SHAPES, metavar="B,T,I,H",
        help="batch, time, inputs, units (default: the five of the README)",
    )  # fmt: skip
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--quick", action="store_true", help="a tenth of the measuring time")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and plot")
    return parser.parse_args(arguments)


def _shape(text: str) -> Shape:
    try:
        shape = Shape(*map(int, text.split(",")))
    except (TypeError, ValueError):
        shape = None
    if shape is None or min(shape) < 1:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no shape: expected four sizes of 1 or more, as in 1,1000,6,6"
        )
    return shape


def _leads(tasks: Sequence[Sequence[Row]]) -> dict[str, dict[str, float]]:
    """Return the geometric means over the shapes, for each kind and choice of peers."""
    means: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        for peers, any_options in (("peers at their best", True), ("peers at defaults", False)):
            leads = [lead(rows, any_options=any_options) for rows in tasks if rows[0].kind == kind]
            if leads and None not in leads:
                means.setdefault(kind, {})[peers] = statistics.geometric_mean(leads)
    return means


if __name__ == "__main__":
    main()

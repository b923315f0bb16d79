"""The cost of a call in streaming: ``python -m benchmarks.streaming``.

Measures one step of the cell of each library, and chunks of 1, 16 and 256 steps of its layer, with
the state passed from call to call. Prints tables and writes JSON.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.contenders import LIBRARIES
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.measure import enter_checked, measure
from benchmarks.problem import Shape, draw_problem
from benchmarks.report import RESULTS, record, save_json, table
from benchmarks.timing import Effort

# (inputs, units) of one stream.
LAYERS = ((6, 6), (40, 64), (128, 256))
CHUNKS = (1, 16, 256)
_EFFORT = Effort(seconds=3.0, least_rounds=5, most_rounds=20)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=LIBRARIES, default=LIBRARIES)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    entries = enter_checked(options.only)
    records = []
    for inputs, units in LAYERS:
        for kind, steps in (("step", 1), *(("chunk", steps) for steps in CHUNKS)):
            # A single step cannot be unrolled.
            able = [entry for entry in entries if steps > 1 or "unroll" not in entry.options]
            rows = measure(able, kind, draw_problem(Shape(1, steps, inputs, units)), _EFFORT)
            records += [record(row) for row in rows]
            print(table(rows), flush=True)
    path = options.out / f"streaming-{machine['platform']}.json"
    save_json(path, {"machine": machine, "rows": records})


if __name__ == "__main__":
    main()

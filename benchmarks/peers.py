"""The comparison: ``python -m benchmarks.peers`` prints how jaxgru stands among the others."""

import argparse
import statistics

from benchmarks import contenders
from benchmarks.problem import Shape, draw_problem
from benchmarks.timing import Timing, time_interleaved

SHAPES = (
    Shape(1, 1000, 6, 6),
    Shape(1, 500, 40, 64),
    Shape(1, 256, 128, 256),
    Shape(32, 256, 64, 128),
    Shape(64, 128, 256, 512),
)
OURS = "jaxgru"


def main(arguments: list[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", choices=contenders.NAMES, default=contenders.NAMES)
    parser.add_argument("--shapes", nargs="+", type=int, choices=range(1, 6), default=range(1, 6))
    parser.add_argument("--seconds", type=float, default=40.0, help="per shape and kind of run")
    options = parser.parse_args(arguments)
    entered = {
        name: contenders.load(name)
        for name in options.only
        if contenders.missing_library(name) is None
    }
    leads: dict[str, list[float]] = {"forward": [], "train": []}
    for index in options.shapes:
        problem = draw_problem(SHAPES[index - 1])
        for kind in ("forward", "train"):
            programs = {
                name: program
                for name, contender in entered.items()
                if (program := getattr(contender, kind)(problem)) is not None
            }
            timings = time_interleaved(programs, options.seconds)
            peers = [timing.median for name, timing in timings.items() if name != OURS]
            if OURS in timings and peers:
                leads[kind].append(min(peers) / timings[OURS].median)
            print(_table(problem.shape, kind, programs, timings), flush=True)
    for kind, ratios in leads.items():
        if ratios:
            mean = statistics.geometric_mean(ratios)
            print(f"{kind}: fastest peer / {OURS}, geometric mean {mean:.2f}")


def _table(
    shape: Shape,
    kind: str,
    programs: dict[str, contenders.Program],
    timings: dict[str, Timing],
) -> str:
    fastest = min((t.median for n, t in timings.items() if n != OURS), default=None)
    lines = [
        f"{kind} {shape}",
        f"  {'':12} {'median us':>10} {'least':>10} {'quartiles':>21} {'calls':>5}"
        f" {'ratio':>6} {'compile s':>9} {'temp MB':>8}",
    ]
    for name, t in sorted(timings.items(), key=lambda item: item[1].median):
        temp = programs[name].temp_bytes
        ratio = "" if fastest is None else f"{t.median / fastest:.2f}"
        lines.append(
            f"  {name:12} {t.median * 1e6:10.0f} {t.least * 1e6:10.0f}"
            f" {t.lower_quartile * 1e6:10.0f} {t.upper_quartile * 1e6:10.0f} {t.calls:5d}"
            f" {ratio:>6} {programs[name].compile_seconds:9.2f}"
            f" {'' if temp is None else format(temp / 1e6, '.1f'):>8}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()

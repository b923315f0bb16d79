"""The cost of each feature of a GRU: ``python -m benchmarks.features``.

Compares padding, episodes, dropout, both directions and stacks with the plain layer, and with the
libraries that have the same features. Prints tables, and writes JSON and a plot.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.featured import LIBRARIES, OURS, check_features, enter
from benchmarks.featured.case import BY_HAND, FEATURES, KINDS, PLAIN, Case, Featured, draw_case
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.plots import plot_features
from benchmarks.problem import Shape
from benchmarks.report import RESULTS, save_json
from benchmarks.timing import QUICK, THOROUGH, Effort, Timing, time_interleaved

SHAPE = Shape(32, 256, 64, 128)

# By library, then feature.
Timings = dict[str, dict[str, Timing]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the measuring time")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON and plot")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    libraries = _enter_checked(draw_case(SHAPE))
    timings = {
        kind: _measure(libraries, kind, QUICK if options.quick else THOROUGH) for kind in KINDS
    }
    for kind in KINDS:
        print(_table(kind, libraries, timings[kind]))
    stem = f"features-{machine['platform']}"
    content = {
        "machine": machine,
        "quick": options.quick,
        "shape": SHAPE._asdict(),
        "rows": _records(libraries, timings),
    }
    save_json(options.out / f"{stem}.json", content)
    plot_features(options.out / f"{stem}.png", timings, FEATURES, f"{SHAPE}, {heading(machine)}")


def _enter_checked(case: Case) -> dict[str, Featured]:
    """Return the installed libraries, with checked features, and print them."""
    libraries = {}
    for library in LIBRARIES:
        try:
            libraries[library] = enter(library, case)
        except ValueError as error:
            print(f"{library}: left out, {error}")
            continue
        check_features(library, libraries[library], libraries[OURS], case)
    print(f"states and losses checked: {', '.join(libraries)}\n")
    return libraries


def _measure(libraries: Mapping[str, Featured], kind: str, effort: Effort) -> Timings:
    """Return the timings of the features of all libraries, measured in turn."""
    programs = {
        (library, feature): by_kind[kind]
        for library, featured in libraries.items()
        for feature, by_kind in featured.rows.items()
    }
    timings: Timings = {library: {} for library in libraries}
    for (library, feature), timing in time_interleaved(programs, effort).items():
        timings[library][feature] = timing
    return timings


def _table(kind: str, libraries: Mapping[str, Featured], timings: Timings) -> str:
    """Return one kind of run as text: times, ratios to the plain layer of the library, memory."""
    columns = "".join(f" {f'{library} ms':>13} {'/ plain':>8}" for library in timings)
    lines = [f"{kind} {SHAPE}", f"  {'':25}{columns} {f'{OURS} temp MB':>15}"]
    for feature in FEATURES:
        cells = "".join(_cell(by_feature, feature) for by_feature in timings.values())
        temp_bytes = libraries[OURS].rows[feature][kind].temp_bytes
        memory = "-" if temp_bytes is None else f"{1e-6 * temp_bytes:.1f}"
        lines.append(f"  {feature:25}{cells} {memory:>15}")
    ours = timings[OURS]
    for feature, by_hand in BY_HAND.items():
        ratio = ours[feature].median / ours[by_hand].median
        lines.append(f"  {OURS}: {feature} / {by_hand}: {ratio:.2f}")
    return "\n".join(lines) + "\n"


def _cell(by_feature: Mapping[str, Timing], feature: str) -> str:
    if feature not in by_feature:
        return f" {'-':>13} {'-':>8}"
    median = by_feature[feature].median
    return f" {1e3 * median:13.2f} {median / by_feature[PLAIN].median:8.2f}"


def _records(
    libraries: Mapping[str, Featured], timings: Mapping[str, Timings]
) -> list[dict[str, Any]]:
    """Return the rows for JSON, with times in seconds."""
    return [
        {
            "kind": kind,
            "feature": feature,
            "library": library,
            "options": libraries[library].options.get(kind, {}),
            **timing._asdict(),
            "compile_seconds": libraries[library].rows[feature][kind].compile_seconds,
            "temp_bytes": libraries[library].rows[feature][kind].temp_bytes,
            "over_plain": timing.median / by_feature[PLAIN].median,
        }
        for kind, by_library in timings.items()
        for library, by_feature in by_library.items()
        for feature, timing in by_feature.items()
    ]


if __name__ == "__main__":
    main()

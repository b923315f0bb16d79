"""The plots of the comparisons."""

import os
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.contenders import LIBRARIES, OURS
from benchmarks.measure import Row

# jaxgru in one strong colour, the others told apart by lighter ones.
_COLOURS = {
    library: "#c1121f" if library == OURS else matplotlib.colormaps["tab20"](2 * number - 1)
    for number, library in enumerate(LIBRARIES)
}


def plot_peers(path: Path, tasks: Sequence[Sequence[Row]], title: str) -> None:
    """Draw each library's time over jaxgru's, its best row, for every shape and kind of run.

    Where jaxgru took no part, over the fastest library's.
    """
    kinds = list(dict.fromkeys(rows[0].kind for rows in tasks))
    figure = Figure(figsize=(12, 4.2 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        _bars(axes, kind, [rows for rows in tasks if rows[0].kind == kind])
    panels[0].legend(ncols=5, loc="upper right", fontsize=9)
    figure.suptitle(f"Time of each library over jaxgru's, its best options\n{title}", fontsize=11)
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path) -> None:
    """Write the figure whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.part")
    figure.savefig(aside, dpi=110, format="png")
    os.replace(aside, path)
    print(f"wrote {path}")


def _bars(axes: Axes, kind: str, tasks: Sequence[Sequence[Row]]) -> None:
    libraries = [
        library
        for library in LIBRARIES
        if any(row.entry.library == library for rows in tasks for row in rows)
    ]
    width = 0.85 / len(libraries)
    for number, library in enumerate(libraries):
        offset = (number - (len(libraries) - 1) / 2) * width
        places, ratios = [], []
        for place, rows in enumerate(tasks):
            # The rows are sorted: the first of a library is its best.
            own = [row.timing.median for row in rows if row.entry.library == library]
            reference = [row.timing.median for row in rows if row.ours] or [rows[0].timing.median]
            if own:
                places.append(place + offset)
                ratios.append(own[0] / reference[0])
        # On a logarithmic axis a bar needs its foot: 1, where jaxgru stands.
        axes.bar(
            places, [ratio - 1 for ratio in ratios], width, bottom=1,
            color=_COLOURS[library], label=library,
        )  # fmt: skip
        for place, ratio in zip(places, ratios, strict=True):
            axes.annotate(
                f"{ratio:.2g}" if ratio < 10 else f"{ratio:.0f}",
                (place, max(ratio, 1)), (0, 2), textcoords="offset points",
                ha="center", fontsize=7,
            )  # fmt: skip
    axes.axhline(1, color=_COLOURS[OURS], linewidth=1)
    axes.set_yscale("log")
    axes.set_ylabel(f"{kind}: time / jaxgru's")
    axes.set_xticks(range(len(tasks)), [str(rows[0].shape) for rows in tasks])
    axes.set_xlabel("(batch, time, inputs, units)")
    axes.grid(axis="y", alpha=0.3)

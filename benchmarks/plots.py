"""The plots of the comparisons."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullFormatter, NullLocator

from benchmarks.contenders import LIBRARIES, OURS
from benchmarks.measure import Row
from jaxgru._atomic import replacing

# A strong color for jaxgru, lighter ones for the others.
COLORS = {
    library: "#c1121f" if library == OURS else matplotlib.colormaps["tab20"](2 * number - 1)
    for number, library in enumerate(LIBRARIES)
}

_HALO = withStroke(linewidth=2, foreground="white")


def plot_peers(path: Path, tasks: Sequence[Sequence[Row]], title: str) -> None:
    """Draw the time of the best row of each peer divided by jaxgru's, for each kind and shape.

    Args:
        path: the PNG to write.
        tasks: for each kind and shape the rows, fastest first, including jaxgru's.
        title: the machine.
    """
    kinds = list(dict.fromkeys(rows[0].kind for rows in tasks))
    figure = Figure(figsize=(13, 1 + 3.6 * len(kinds)), layout="constrained")
    panels = figure.subplots(len(kinds), 1, squeeze=False)[:, 0]
    for axes, kind in zip(panels, kinds, strict=True):
        _draw_ratios(axes, kind, [rows for rows in tasks if rows[0].kind == kind])
    panels[-1].set_xlabel("(batch, time, inputs, units)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=9)
    figure.suptitle(f"Time of each library, at its best options, over jaxgru's\n{title}")
    save(figure, path)


def plot_scaling(path: Path, sweeps: Mapping[str, Sequence[Row]], title: str) -> None:
    """Draw time, memory and compile time of the training step over the size of a sweep.

    Args:
        path: the PNG to write.
        sweeps: rows by the name of the sweep, whose first word is the varied size.
        title: the machine.
    """
    figure = Figure(figsize=(13, 1 + 3.2 * len(sweeps)), layout="constrained")
    panels = figure.subplots(len(sweeps), 3)
    for (axes_time, axes_memory, axes_compile), (name, rows) in zip(
        panels, sweeps.items(), strict=True
    ):
        size = name.split(",")[0]
        _draw_curves(axes_time, rows, size, lambda row: 1e6 * row.per_step_and_sequence)
        axes_time.set_ylabel(f"{name}\n\ntraining, us per time step and sequence")
        _draw_curves(axes_memory, rows, size, lambda row: 1e-6 * row.temp_bytes)
        axes_memory.set_ylabel("temporary memory, MB")
        _draw_curves(axes_compile, rows, size, lambda row: row.compile_seconds)
        axes_compile.set_ylabel("compiling it, s")
        axes_compile.set_yscale("linear")
        axes_compile.yaxis.set_major_formatter("{x:.1f}")
        axes_compile.set_ylim(bottom=0)
    panels[0, 0].legend()
    figure.suptitle(f"Training: cost over time and batch\n{title}")
    save(figure, path)


def _draw_curves(axes: Axes, rows: Sequence[Row], size: str, value: Callable[[Row], float]) -> None:
    train = [row for row in rows if row.kind == "train"]
    for library in dict.fromkeys(row.entry.library for row in sorted(train, key=_ours_last)):
        points = [
            (getattr(row.shape, size), value(row)) for row in train if row.entry.library == library
        ]
        axes.loglog(*zip(*points, strict=True), "o-", color=COLORS[library], label=library)
    sizes = sorted({getattr(row.shape, size) for row in train})
    axes.set_xticks(sizes, [f"{number:,}" for number in sizes])
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    # 1, 2, 3, 5, 10, ... if that gives few ticks, otherwise powers of ten.
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 3, 5) if high < 50 * low else (1,)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel(size)
    axes.grid(alpha=0.3)


def _ours_last(row: Row) -> bool:
    # The last line is on top.
    return row.ours


def _draw_ratios(axes: Axes, kind: str, tasks: Sequence[Sequence[Row]]) -> None:
    ours = [next(row.timing.median for row in rows if row.ours) for rows in tasks]
    peers = [
        library
        for library in LIBRARIES
        if library != OURS and any(row.entry.library == library for row in tasks[0])
    ]
    width = 0.9 / max(len(peers), 1)
    for number, library in enumerate(peers):
        # The rows are sorted: the first of a library is its best.
        ratios = [
            next(row.timing.median for row in rows if row.entry.library == library) / one
            for rows, one in zip(tasks, ours, strict=True)
        ]
        places = [place + (number - (len(peers) - 1) / 2) * width for place in range(len(tasks))]
        # On a logarithmic axis, a bar needs a base: 1, the time of jaxgru.
        heights = [ratio - 1 for ratio in ratios]
        axes.bar(places, heights, width, bottom=1, color=COLORS[library], label=library)
        for place, ratio in zip(places, ratios, strict=True):
            text = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
            above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            axes.annotate(text, (place, max(ratio, 1)), fontsize=7, path_effects=[_HALO], **above)
    axes.axhline(1, color=COLORS[OURS], label=OURS)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{kind}, jaxgru = 1")
    axes.set_xticks(range(len(tasks)), [str(rows[0].shape) for rows in tasks])
    axes.grid(axis="y", alpha=0.3)


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG, and print the path."""
    with replacing(path) as aside:
        figure.savefig(aside, dpi=110)
    print(f"wrote {path}")

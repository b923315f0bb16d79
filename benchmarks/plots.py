"""The plot of the comparison with other libraries."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import NullFormatter

from benchmarks.contenders import LIBRARIES, OURS
from benchmarks.measure import Row
from jaxgru._atomic import replacing

# A strong color for jaxgru, lighter ones for the others.
_COLORS = {
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
    with replacing(path) as aside:
        figure.savefig(aside, dpi=110)
    print(f"wrote {path}")


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
        axes.bar(places, heights, width, bottom=1, color=_COLORS[library], label=library)
        for place, ratio in zip(places, ratios, strict=True):
            text = f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"
            above = {"xytext": (0, 2), "textcoords": "offset points", "ha": "center"}
            axes.annotate(text, (place, max(ratio, 1)), fontsize=7, path_effects=[_HALO], **above)
    axes.axhline(1, color=_COLORS[OURS], label=OURS)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_ylabel(f"{kind}, jaxgru = 1")
    axes.set_xticks(range(len(tasks)), [str(rows[0].shape) for rows in tasks])
    axes.grid(axis="y", alpha=0.3)

"""The plot of the comparison with other libraries."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.measure import Row, lead
from jaxgru._atomic import replacing

_LABELS = {"forward": "forward pass", "train": "training step"}
_COLORS = {"forward": "#8d99ae", "train": "#c1121f"}


def plot_peers(path: Path, tasks: Sequence[Sequence[Row]], title: str) -> None:
    """Draw the time of the fastest peer divided by jaxgru's, for each kind and shape.

    Args:
        path: the PNG to write.
        tasks: for each kind and shape the rows, fastest first, including jaxgru's.
        title: the machine.
    """
    shapes = list(dict.fromkeys(rows[0].shape for rows in tasks))
    kinds = list(dict.fromkeys(rows[0].kind for rows in tasks))
    width = 0.8 / len(kinds)
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    axes = figure.subplots()
    for number, kind in enumerate(kinds):
        label: str | None = _LABELS[kind]
        for rows in (rows for rows in tasks if rows[0].kind == kind):
            place = shapes.index(rows[0].shape) + (number - (len(kinds) - 1) / 2) * width
            ratio = lead(rows, any_options=True)
            peer = next(row.entry.library for row in rows if not row.ours)
            axes.bar(place, ratio, 0.94 * width, color=_COLORS[kind], label=label)
            axes.annotate(
                f"{ratio:.2f}\n{peer}", (place, ratio), (0, 3), textcoords="offset points",
                ha="center", fontsize=8,
            )  # fmt: skip
            label = None
    axes.axhline(1, color="black", linewidth=1)
    axes.set_xticks(range(len(shapes)), [str(shape) for shape in shapes])
    axes.set_xlabel("(batch, time, inputs, units)")
    axes.set_ylabel("time of the fastest other library / jaxgru")
    axes.margins(y=0.15)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.suptitle(
        f"How many times as fast jaxgru is as the fastest other library\n{title}", fontsize=10
    )
    with replacing(path) as aside:
        figure.savefig(aside, dpi=110)
    print(f"wrote {path}")

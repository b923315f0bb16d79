"""A picture of a run: its losses over its steps."""

import os
from collections.abc import Sequence

from jaxgru.atomic import replacing
from jaxgru.finetune.history import Row
from jaxgru.plot_run import check_plot

_MOST_DOTS = 60


def plot_history(history: Sequence[Row], path: str | os.PathLike[str]) -> None:
    """Draw the losses of a history, on a logarithmic axis if all are positive.

    Args:
        history: the rows of a ``Result``, or of ``read_history``.
        path: the picture to write; its name's ending says the format, as .png, .svg or .pdf.

    Raises:
        ValueError: the history is empty, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the picture cannot be written.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "history.png")
    >>> plot_history([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], path)
    >>> path.stat().st_size > 0
    True
    """
    check_plot(path)
    if not history:
        raise ValueError("the history has no rows: expected one at least")
    # Figure and its canvas alone: pyplot would choose a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    marker = "." if len(history) <= _MOST_DOTS else None
    smallest = float("inf")
    for name, label in (("loss", "training"), ("validation_loss", "validation")):
        rows = [row for row in history if name in row]
        if rows:
            losses = [row[name] for row in rows]
            smallest = min(smallest, *losses)
            ax.plot([row["step"] for row in rows], losses, marker=marker, label=label)
    if smallest > 0:
        ax.set_yscale("log")
    ax.set_xlabel("step")
    ax.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    ax.set_ylabel("loss")
    ax.grid(alpha=0.3)
    ax.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary)

"""The history of a run: one row per round, in memory, as JSON lines and as a plot."""

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np

from jaxgru._atomic import replacing
from jaxgru.finetune._loop import Round, Row
from jaxgru.finetune._metrics import classification_metrics, regression_metrics
from jaxgru.plot._figure import check_plot, one_axes, save_figure, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

StrPath = str | os.PathLike[str]

_MOST_DOTS = 60
_MOST_CLASSES = 12
_MOST_LABELS = 6


def read_history(path: StrPath) -> list[Row]:
    r"""Return the rows of a history file.

    Args:
        path: a file of ``write_history``; an incomplete last line is ignored.

    Returns:
        One dict per round, with ``step``, ``epoch``, ``loss``, ``seconds`` and, with validation
        data, ``validation_loss``.

    Raises:
        ValueError: another line is not a JSON object.
        OSError: the file is missing or may not be read.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "history.jsonl")
    >>> _ = path.write_text('{"step": 1, "loss": 0.5}\n{"step": 2, "lo')
    >>> read_history(path)
    [{'step': 1, 'loss': 0.5}]

    Source: jsonlines.org for the format.
    """
    lines = Path(path).read_text(encoding="utf-8").split("\n")
    rows = []
    # The last part is empty or an incomplete line.
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{os.fspath(path)}: line {number} is not JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{os.fspath(path)}: line {number} is not a JSON object")
        rows.append(row)
    return rows


def write_history(path: StrPath) -> Callable[[Round], None]:
    """Return a function for the ``on_round`` of ``fit`` that keeps the history in a file.

    The first round replaces the file, with all previous rows if the run resumes, so that no row is
    repeated. Each later round appends a line. With several processes, only the first one writes.

    Args:
        path: the file.

    Raises:
        OSError: the folder of the file is missing; or, in the run, the file cannot be written.

    >>> import pathlib, tempfile
    >>> from jaxgru.finetune import Round, read_history, write_history
    >>> path = pathlib.Path(tempfile.mkdtemp(), "history.jsonl")
    >>> write_history(path)(Round(None, [{"step": 1, "loss": 0.5}], best=None, resumed=False))
    >>> read_history(path)
    [{'step': 1, 'loss': 0.5}]
    """
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", os.fspath(path))
    written = 0  # rows

    def write(now: Round) -> None:
        nonlocal written
        if jax.process_index() != 0:
            return
        lines = [json.dumps(row) + "\n" for row in now.history]
        try:
            if written and len(lines) == written + 1:
                with open(path, "a", encoding="utf-8") as file:
                    file.write(lines[-1])
            else:
                with replacing(path) as temporary:
                    temporary.write_text("".join(lines), encoding="utf-8")
        except OSError as error:  # the error of a failed write does not name the file
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
        written = len(lines)

    return write


def plot_history(
    history: Sequence[Row],
    path: StrPath | None = None,
    *,
    initial_loss: float | None = None,
    chosen_step: int | None = None,
    ax: "Axes | None" = None,
    figsize: tuple[float, float] = (6.4, 4.0),
    dpi: float = 150,
) -> "Figure":
    """Plot the losses of a history, on a logarithmic axis if all are positive.

    Args:
        history: the rows of a ``Result``, or of ``read_history``.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf. None: none.
        initial_loss: the validation loss before training, which is marked; ``initial_loss`` of a
            ``Result``.
        chosen_step: the step of the chosen model, which is marked; ``step`` of a ``Result``.
        ax: the Matplotlib axes to draw into; None: new ones.
        figsize: the width and height of a new figure in inches.
        dpi: the dots per inch of a new figure.

    Returns:
        The Matplotlib ``Figure``.

    Raises:
        ValueError: the history is empty, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> history = [{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}]
    >>> [ax] = plot_history(history, figsize=(3.4, 2.4)).axes
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('step', 'loss')
    """
    if path is not None:
        check_plot(path)
    if not history:
        raise ValueError("the history has no rows: expected at least one")
    figure, ax = one_axes(ax, figsize, dpi)
    marker = "." if len(history) <= _MOST_DOTS else None
    smallest = float("inf")
    for name, label in (("loss", "training"), ("validation_loss", "validation")):
        rows = [row for row in history if name in row]
        if rows:
            losses = [row[name] for row in rows]
            smallest = min(smallest, *losses)
            ax.plot([row["step"] for row in rows], losses, marker=marker, label=label)
    if initial_loss is not None:
        smallest = min(smallest, initial_loss)
        ax.axhline(initial_loss, color="0.4", linestyle=":", label="validation before")
    if chosen_step is not None:
        ax.axvline(chosen_step, color="0.4", linestyle="--", label=f"chosen, step {chosen_step}")
    if smallest > 0:
        ax.set_yscale("log")
    ax.set_xlabel("step")
    whole_numbers(ax.xaxis, 5)
    ax.set_ylabel("loss")
    ax.grid(alpha=0.3)
    ax.legend(fontsize="small")
    if path is not None:
        save_figure(figure, path)
    return figure


def plot_predictions(predictions: np.ndarray, targets: np.ndarray, *, ax: "Axes") -> None:
    """Plot predictions ``(M, O)`` over measured values, or the confusion of classes ``(M,)``.

    For classes, the predictions are logits.
    """
    ax.set_xlabel("measured")
    ax.set_ylabel("predicted")
    if targets.ndim == 1:
        confusion = classification_metrics(predictions, targets).confusion
        ax.imshow(confusion.T, cmap="Blues", origin="lower")
        if len(confusion) <= _MOST_CLASSES:
            for true, row in enumerate(confusion):
                for wrong, count in enumerate(row):
                    color = "white" if count > confusion.max() / 2 else "black"
                    ax.text(true, wrong, str(count), ha="center", va="center", color=color)
        for axis in (ax.xaxis, ax.yaxis):
            whole_numbers(axis, 8)
        ax.set_title("held-out classes", fontsize="medium")
        return
    low, high = float(np.min(targets)), float(np.max(targets))
    ax.plot([low, high], [low, high], color="0.4", linewidth=1)
    fits = regression_metrics(predictions, targets).fit
    for i, fit in enumerate(fits):
        label = f"{i}: fit {fit:.1f} %" if len(fits) <= _MOST_LABELS else None
        ax.plot(targets[:, i], predictions[:, i], ".", markersize=2, label=label, rasterized=True)
    if len(fits) <= _MOST_LABELS:
        ax.legend(fontsize="small", markerscale=4)
    ax.set_title("held-out data", fontsize="medium")
    ax.grid(alpha=0.3)

"""The history of a run: one row per round, in memory, as JSON lines and as a plot."""

import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import jax

from jaxgru._atomic import replacing
from jaxgru.finetune._loop import Round, Row
from jaxgru.plot._figure import check_plot, new_figure, save_figure, whole_numbers

StrPath = str | os.PathLike[str]

_MOST_DOTS = 60


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

    The first round replaces the file, with all previous rows if the run resumes, so no round is
    in it twice; each later round appends a line. With several processes only the first one writes.

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
        except OSError as error:  # a failing write does not name its file
            raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
        written = len(lines)

    return write


def plot_history(history: Sequence[Row], path: StrPath) -> None:
    """Plot the losses of a history, on a logarithmic axis if all are positive.

    Args:
        history: the rows of a ``Result``, or of ``read_history``.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf.

    Raises:
        ValueError: the history is empty, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "history.png")
    >>> plot_history([{"step": 1, "loss": 0.5}, {"step": 2, "loss": 0.25}], path)
    >>> path.stat().st_size > 0
    True
    """
    check_plot(path)
    if not history:
        raise ValueError("the history has no rows: expected at least one")
    figure = new_figure(8, 5)
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
    whole_numbers(ax.xaxis, 10)
    ax.set_ylabel("loss")
    ax.grid(alpha=0.3)
    ax.legend()
    save_figure(figure, path)

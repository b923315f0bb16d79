"""The history of a run: one row a round, in memory and in a file of JSON lines."""

import json
import os
from pathlib import Path
from typing import Any, TypeAlias

from jaxgru.atomic import replacing

Row: TypeAlias = dict[str, Any]
StrPath = str | os.PathLike[str]


def read_history(path: StrPath) -> list[Row]:
    r"""Return the rows of a history file.

    Args:
        path: a file that ``jaxgru.finetune.fit`` wrote; a last line cut off by a crash is left
            out.

    Returns:
        One dict a round, with ``step``, ``epoch``, ``loss``, ``seconds`` and, where there was
        validation data, ``validation_loss``.

    Raises:
        ValueError: another line is no JSON object.
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
    # What follows the last line's end is nothing, or a line that was not finished.
    for number, line in enumerate(lines[:-1], 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{os.fspath(path)}: line {number} is no JSON: {error}") from None
        if not isinstance(row, dict):
            raise ValueError(f"{os.fspath(path)}: line {number} is no JSON object")
        rows.append(row)
    return rows


class HistoryWriter:
    """A history file that grows by a line a round.

    Args:
        path: the file. What it held is replaced by the rows: those of the checkpoint that a run
            goes on from, so that no round stands there twice.
        rows: the rows to begin with.

    Raises:
        OSError: the file cannot be written.
    """

    def __init__(self, path: StrPath, rows: list[Row]) -> None:
        self._path = path
        with replacing(path) as temporary:
            temporary.write_text("".join(map(_line, rows)), encoding="utf-8")

    def append(self, row: Row) -> None:
        """Write one more row, at once.

        Raises:
            OSError: it cannot be written, as where the disk is full.
        """
        try:
            with open(self._path, "a", encoding="utf-8") as file:
                file.write(_line(row))
        except OSError as error:
            # A failing write does not say by itself which file it was.
            raise type(error)(error.errno, error.strerror, os.fspath(self._path)) from None


def _line(row: Row) -> str:
    return json.dumps(row) + "\n"

"""The data of ``jaxgru finetune``: read from .npz and .csv, and split for validation."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from jaxgru._arrayfiles import ArrayFileError, open_array
from jaxgru.finetune import Sequences, next_step

Array = np.ndarray


def read_data(path: str, targets: str | None, loss: str, on: str) -> Sequences:
    """Return the sequences in a .npz file, a .csv file, or a folder of .csv files.

    Args:
        path: the file or folder.
        targets: the target columns of .csv files, by name or number from 1, separated by commas.
        loss: "regression", "classification" or "next-step".
        on: "steps" or "last"; with "last", the last row of a .csv file has the targets.

    Raises:
        ArrayFileError: the files do not have the required arrays or columns.
        OSError: a file is missing or may not be read.
    """
    is_npz = Path(path).suffix.lower() == ".npz"
    if (targets is not None) == (is_npz or loss == "next-step"):
        given = f"--targets is {targets!r}" if targets is not None else "--targets is not given"
        kind = ".npz, which has an array of targets" if is_npz else f"columns and --loss {loss}"
        expected = "no --targets" if targets is not None else "--targets COLUMNS"
        raise ArrayFileError(f"{path}: {given}: expected {expected} for {kind}")
    data = _from_npz(path, loss) if is_npz else _from_csv(path, targets, on)
    if loss == "next-step":
        return next_step(data.inputs, data.lengths)
    if loss == "classification":
        return data._replace(targets=_classes(data.targets, path, is_npz))
    return data


def split_data(data: Sequences, fraction: float, seed: int) -> tuple[Sequences, Sequences]:
    """Return the training data and the held-out data.

    The held-out data are random sequences, or the last steps of a single sequence.

    Args:
        data: all data.
        fraction: the held-out fraction, between 0 and 1.
        seed: the seed of the random choice.

    Raises:
        ValueError: there are not enough sequences or steps.
    """
    count, time, _ = data.inputs.shape
    whole = count if count > 1 else time
    held = max(1, round(whole * fraction))
    if held >= whole:
        raise ValueError(
            f"{count} sequences of {time} steps cannot be divided with {fraction:g} held out: "
            "expected two sequences or two steps at least"
        )
    if count == 1:
        cut = time - held
        first, second = (
            data._replace(inputs=data.inputs[:, steps], targets=data.targets[:, steps])
            for steps in (slice(0, cut), slice(cut, time))
        )
        return first, second
    order = np.random.default_rng(seed).permutation(count)

    def take(rows: Array) -> Sequences:
        taken: Any = (None if array is None else array[rows] for array in data)
        return Sequences(*taken)

    return take(np.sort(order[held:])), take(np.sort(order[:held]))


def _from_npz(path: str, loss: str) -> Sequences:
    with open_array(path, "inputs") as reader:
        inputs = reader.read_all()
    with zipfile.ZipFile(path) as archive:
        names = {entry.removesuffix(".npy") for entry in archive.namelist()}
    arrays = {}
    for name in {"targets", "lengths"} & names:
        with open_array(path, name) as reader:
            arrays[name] = reader.read_all()
    if "targets" not in names and loss != "next-step":
        held = ", ".join(map(ascii, sorted(names)))
        raise ArrayFileError(f"{path}: its arrays are {held}: expected one called 'targets'")
    targets, lengths = arrays.get("targets", inputs), arrays.get("lengths")
    if inputs.ndim == 2 and lengths is None:
        # A single sequence becomes a batch of one.
        return Sequences(inputs[None], targets[None])
    return Sequences(inputs, targets, lengths)


def _from_csv(path: str, targets: str | None, on: str) -> Sequences:
    files = [Path(path)]
    if Path(path).is_dir():
        files = sorted(file for file in Path(path).iterdir() if file.suffix.lower() == ".csv")
        if not files:
            raise ArrayFileError(
                f"{path}: it is a folder without .csv files: expected at least one"
            )
    tables = [_columns(file, targets) for file in files]
    widths = [inputs.shape[1] + wanted.shape[1] for inputs, wanted in tables]
    for file, width in zip(files, widths, strict=True):
        if width != widths[0]:
            raise ArrayFileError(
                f"{file}: it has {width} columns: expected {widths[0]}, as in {files[0]}"
            )
    lengths = np.array([len(inputs) for inputs, _ in tables])
    time = int(lengths.max())
    inputs, wanted = (_padded([table[i] for table in tables], time) for i in (0, 1))
    if on == "last":
        wanted = np.stack([table[1][-1] for table in tables])
    return Sequences(inputs, wanted, lengths if len(set(lengths)) > 1 else None)


def _columns(file: Path, targets: str | None) -> tuple[Array, Array]:
    """Return the inputs and the targets of a .csv file, ``(T, I)`` and ``(T, O)``."""
    with open_array(file, "inputs") as reader:
        table = reader.read_all()
        chosen = [] if targets is None else reader.columns(targets)
    others = [column for column in range(table.shape[1]) if column not in chosen]
    if not others:
        raise ArrayFileError(f"{file}: all its columns are targets: expected at least one input")
    return table[:, others], table[:, chosen]


def _padded(sequences: list[Array], time: int) -> Array:
    padded = np.zeros((len(sequences), time, sequences[0].shape[1]))
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded


def _classes(targets: Any, path: str, is_npz: bool) -> Array:
    """Return the targets as integers; text must have one column."""
    if not is_npz:
        if targets.shape[-1] != 1:
            raise ArrayFileError(
                f"{path}: {targets.shape[-1]} columns are targets: expected one, of classes"
            )
        targets = targets[..., 0]
    if not np.array_equal(targets, np.round(targets)):
        raise ArrayFileError(f"{path}: its targets are not integers: expected classes")
    return np.asarray(targets, np.int32)

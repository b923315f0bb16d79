"""The data of ``jaxgru finetune``: read from .npz and .csv, and split for validation."""

import argparse
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._arrayfiles import ArrayFileError, open_array
from jaxgru._checks import state_dtype
from jaxgru._cli.model_source import as_integers
from jaxgru._cli.run_arrays import choose_columns, read_optional
from jaxgru.finetune import Loss, Sequences, classification, next_step, regression
from jaxgru.finetune._model import takes_integers
from jaxgru.model import Model

Array = np.ndarray


def loss_of(arguments: argparse.Namespace) -> Loss:
    """Return the loss of --loss and --on."""
    of_classes = arguments.loss == "classification"
    return (classification if of_classes else regression)(arguments.on)


def read_data(path: str, arguments: argparse.Namespace, model: Model) -> Sequences:
    """Return the sequences in a .npz file, a .csv file, or a folder of .csv files.

    Args:
        path: the file or folder.
        arguments: with the options of ``add_data_options``.
        model: the model, perhaps without its readout.

    Raises:
        ArrayFileError: the files do not have the required arrays or columns.
        OSError: a file is missing or may not be read.
    """
    is_npz, targets, loss = _is_npz(path), arguments.targets, arguments.loss
    if (targets is not None) == (is_npz or loss == "next-step"):
        given = f"--targets is {targets!r}" if targets is not None else "--targets is not given"
        kind = ".npz, which has an array of targets" if is_npz else f"columns and --loss {loss}"
        expected = "no --targets" if targets is not None else "--targets COLUMNS"
        raise ArrayFileError(f"{path}: {given}: expected {expected} for {kind}")
    if takes_integers(model) is not None and loss == "next-step":
        raise ValueError("--loss is 'next-step' for a model of integers: expected another loss")
    data = (_from_npz if is_npz else _from_csv)(path, arguments, model)
    if loss == "next-step":
        data = next_step(data.inputs, data.lengths)
    elif loss == "classification":
        data = data._replace(targets=_classes(data.targets, path, is_npz))
    dtype = _dtype(model)
    inputs, wanted = np.asarray(data.inputs), np.asarray(data.targets)
    if takes_integers(model) is not None:
        inputs = as_integers(inputs, f"{path}: its inputs")
    else:
        inputs = inputs.astype(dtype)
    if loss != "classification":  # classes are not rounded
        wanted = wanted.astype(dtype)
    return Sequences(inputs, wanted, data.lengths)


def data_names(path: str) -> list[str]:
    """Return the names of the .csv files of the data; none for .npz."""
    return [] if _is_npz(path) else [file.name for file in _files(path)]


def _is_npz(path: str) -> bool:
    return Path(path).suffix.lower() == ".npz"


def _dtype(model: Model) -> Any:
    leaves = jax.tree.leaves(model)
    return state_dtype([leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)])


def split_data(
    data: Sequences, fraction: float, seed: int
) -> tuple[Sequences, Sequences, np.ndarray]:
    """Return the training data, the held-out data, and the rows or steps that are held out.

    The held-out data are random sequences, or the last steps of a single sequence.

    Args:
        data: all data.
        fraction: the held-out fraction, between 0 and 1.
        seed: the seed of the random choice.

    Raises:
        ValueError: there are not enough sequences or steps.
    """
    count, time = data.inputs.shape[:2]
    whole = count if count > 1 else time
    held = max(1, round(whole * fraction))
    if held >= whole:
        raise ValueError(
            f"{count} sequences of {time} steps cannot be divided with {fraction:g} held out: "
            "expected two sequences or two steps at least"
        )
    if count == 1:
        if data.targets.ndim < 2 or data.targets.shape[1] != time:
            raise ValueError(
                "one sequence with one target cannot be divided: expected several, or --validation"
            )
        cut = time - held
        first, second = (
            data._replace(inputs=data.inputs[:, steps], targets=data.targets[:, steps])
            for steps in (slice(0, cut), slice(cut, time))
        )
        return first, second, np.arange(cut, time)
    order = np.random.default_rng(seed).permutation(count)

    def take(rows: Array) -> Sequences:
        taken: Any = (None if array is None else array[rows] for array in data)
        return Sequences(*taken)

    chosen = np.sort(order[:held])
    return take(np.sort(order[held:])), take(chosen), chosen


def _from_npz(path: str, arguments: argparse.Namespace, model: Model) -> Sequences:
    with open_array(path, "inputs") as reader:
        inputs = choose_columns(reader, arguments).read_all()
    targets, lengths = (read_optional(path, name) for name in ("targets", "lengths"))
    if targets is None and arguments.loss != "next-step":
        with zipfile.ZipFile(path) as archive:
            held = ", ".join(sorted(ascii(n.removesuffix(".npy")) for n in archive.namelist()))
        raise ArrayFileError(f"{path}: its arrays are {held}: expected one called 'targets'")
    targets = inputs if targets is None else targets
    if inputs.ndim == model.example_axes and lengths is None:
        # A single sequence becomes a batch of one.
        return Sequences(inputs[None], targets[None])
    return Sequences(inputs, targets, lengths)


def _files(path: str) -> list[Path]:
    if not Path(path).is_dir():
        return [Path(path)]
    files = sorted(file for file in Path(path).iterdir() if file.suffix.lower() == ".csv")
    if not files:
        raise ArrayFileError(f"{path}: it is a folder without .csv files: expected at least one")
    return files


def _from_csv(path: str, arguments: argparse.Namespace, model: Model) -> Sequences:
    files = _files(path)
    tables = [_columns(file, arguments) for file in files]
    widths = [inputs.shape[1] + wanted.shape[1] for inputs, wanted in tables]
    for file, width in zip(files, widths, strict=True):
        if width != widths[0]:
            raise ArrayFileError(
                f"{file}: it has {width} columns: expected {widths[0]}, as in {files[0]}"
            )
    lengths = np.array([len(inputs) for inputs, _ in tables])
    time = int(lengths.max())
    inputs, wanted = (_padded([table[i] for table in tables], time) for i in (0, 1))
    if arguments.on == "last":
        wanted = np.stack([table[1][-1] for table in tables])
    if takes_integers(model) is not None:
        if inputs.shape[-1] != 1:
            raise ArrayFileError(
                f"{path}: {inputs.shape[-1]} columns are inputs: expected one, the integers of the "
                "model's Embedding (--columns chooses)"
            )
        inputs = inputs[..., 0]
    return Sequences(inputs, wanted, lengths if len(set(lengths)) > 1 else None)


def _columns(file: Path, arguments: argparse.Namespace) -> tuple[Array, Array]:
    """Return the inputs and the targets of a .csv file, ``(T, I)`` and ``(T, O)``."""
    with open_array(file, "inputs") as reader:
        table = reader.read_all()
        chosen = [] if arguments.targets is None else reader.columns(arguments.targets)
        others = [column for column in range(table.shape[1]) if column not in chosen]
        if arguments.columns is not None:
            others = reader.columns(arguments.columns)
        elif arguments.skip is not None:
            skipped = reader.columns(arguments.skip)
            others = [column for column in others if column not in skipped]
    if set(others) & set(chosen):
        raise ArrayFileError(f"{file}: a column of --columns is a target: expected inputs only")
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
    return as_integers(targets, f"{path}: its targets")

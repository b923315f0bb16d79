"""The arrays that subcommands read: their columns, shapes, and finite values."""

import argparse
import warnings
import zipfile
from pathlib import Path

import numpy as np

from jaxgru._arrayfiles import ArrayFileError, ArrayFileWarning, ArrayReader, open_array
from jaxgru._net import Net, check_net, unroll
from jaxgru.streaming import Chunk


def add_columns(parser: argparse._ActionsContainer, of: str) -> None:
    """Add the options for the columns of a file to use as inputs."""
    columns = parser.add_mutually_exclusive_group()
    text = f"the columns of {of} to use, in this order: names in the header, or numbers from 1"
    columns.add_argument("--columns", metavar="LIST", help=text)
    columns.add_argument("--skip", metavar="LIST", help=f"the columns of {of} to skip")


def choose_columns(inputs: ArrayReader, arguments: argparse.Namespace) -> ArrayReader:
    """Return a reader of the columns of --columns, or of all except those of --skip."""
    if arguments.columns is not None:
        return inputs.only(inputs.columns(arguments.columns))
    if arguments.skip is not None:
        skipped = inputs.columns(arguments.skip)
        return inputs.only([i for i in range(inputs.shape[-1]) if i not in skipped])
    return inputs


def check_inputs(inputs: ArrayReader, net: Net, arguments: argparse.Namespace) -> None:
    """Raise ArrayFileError unless the inputs fit the net and a plot, if there is one."""
    shape, (size, _) = inputs.shape, check_net(net)
    if len(shape) < 2 or shape[-1] != size:
        named = f"; its columns are {', '.join(map(repr, inputs.names))}" if inputs.names else ""
        choice = " (--columns or --skip chooses)" if shape and shape[-1] > size else ""
        raise ArrayFileError(
            f"{arguments.inputs}: it has shape {shape}: expected (T, {size}) or (..., T, {size}), "
            f"as {arguments.weights} has {size} inputs{named}{choice}"
        )
    if arguments.plot is not None and 0 in shape[:-1]:
        raise ArrayFileError(
            f"{arguments.inputs}: it has shape {shape}: expected at least one step to plot"
        )


def read_h0(path: str | None, net: Net, batch: tuple[int, ...]) -> np.ndarray | None:
    """Return the state before the first step, ``(H,)`` or ``(..., H)``; None without a path.

    H are the units of all layers, whose states are joined.

    Raises:
        ArrayFileError: its shape fits neither the weights nor the inputs.
    """
    if path is None:
        return None
    with open_array(path, "h0") as reader:
        h0 = reader.read_all()
    sizes = {layer.place: layer.params.hidden_size for layer in unroll(net)}
    units = sum(sizes.values())
    each = (*batch, units)
    if max(h0.shape, default=0) == h0.size == units:
        # One state for all sequences may have further axes of length 1: text always has two axes.
        h0 = h0.reshape(units)
    elif h0.shape != each:
        wanted = f"({units},)" if each == (units,) else f"({units},) or {each}"
        parts = ", ".join(f"{place} ({size})" for place, size in sizes.items())
        of = f": the states of {parts} side by side" if len(sizes) > 1 else ""
        raise ArrayFileError(f"{path}: it has shape {h0.shape}: expected {wanted}{of}")
    warn_not_finite(path, h0)
    return h0


def warn_not_finite(path: str, array: np.ndarray) -> None:
    """Warn of the first NaN or Inf of an array."""
    if not np.isfinite(array).all():
        place = ", ".join(map(str, np.argwhere(~np.isfinite(array))[0]))
        warnings.warn(f"{path}: NaN or Inf at [{place}]", ArrayFileWarning, stacklevel=3)


def read_optional(path: str, name: str) -> np.ndarray | None:
    """Return an array of a .npz file by its name; None if it is absent, or for another file."""
    if Path(path).suffix.lower() != ".npz":
        return None
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return None
    with open_array(path, name) as reader:
        return reader.read_all()


class NonFiniteWarner:
    """Warns of the first NaN or Inf in the inputs, in the order of computation.

    Args:
        inputs: the reader of the inputs.
    """

    def __init__(self, inputs: ArrayReader) -> None:
        self._inputs = inputs
        self._found = False

    def add(self, chunk: Chunk) -> None:
        """Check one more chunk."""
        if self._found or np.isfinite(chunk.xs).all():
            return
        self._found = True
        row, step, column = map(int, np.argwhere(~np.isfinite(chunk.xs))[0])
        names = self._inputs.names
        named = f" ({names[column]})" if names else ""
        place = chunk.window.place(self._inputs.shape[:-2], row, step)
        warnings.warn(
            f"{self._inputs.name}: NaN or Inf at {place}, input {column}{named}",
            ArrayFileWarning,
            stacklevel=2,
        )

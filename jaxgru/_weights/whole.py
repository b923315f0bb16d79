"""Whole files: all arrays by name, and whole models."""

import contextlib
import glob
import os
import warnings
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.contract import Stored
from jaxgru._weights.defaults import Assume, check_assume
from jaxgru._weights.dtypes import Unread, read_now
from jaxgru._weights.errors import WeightsError, WeightsWarning, prefix_errors, shown
from jaxgru._weights.formats.tensorflow import located
from jaxgru._weights.reading import StrPath, opened
from jaxgru._weights.results import to_jax_and_warn
from jaxgru.model import Model


class FileArrays(Mapping[str, NDArray[Any]]):
    """The arrays of a file by name, each read when it is accessed.

    ``arrays.shape(name)`` and ``arrays.dtype(name)`` read no numbers.
    """

    def __init__(self, path: StrPath, external_data: bool) -> None:
        self._path = path
        with prefix_errors(path):
            self._state = _state(path)
        # The file stays open, so that its structure is read once.
        with contextlib.ExitStack() as stack:
            _, stored = stack.enter_context(opened(path, external_data=external_data))
            self._arrays, self._named = stored.arrays, named(stored)
            self._described = {known: _described(stored, own) for known, own in self._named.items()}
            self._notes = stored.notes
            weakref.finalize(self, stack.pop_all().close)

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._described:
            raise KeyError(name)
        with prefix_errors(self._path):
            if _state(self._path) != self._state:
                raise WeightsError(
                    "it has changed since it was opened: expected an unchanged file; call "
                    "jaxgru.load_arrays again"
                )
            array = read_now(self._arrays[self._named[name]])
            if isinstance(array, Unread):
                raise WeightsError(f"{shown(name)} has dtype {array.dtype}: expected numbers")
        return np.array(array)  # a copy, as arrays of one file may share memory

    def __iter__(self) -> Iterator[str]:
        return iter(self._described)

    def __len__(self) -> int:
        return len(self._described)

    def __repr__(self) -> str:
        """Show the path and the number of arrays."""
        return f"<{len(self)} arrays of {os.fspath(self._path)}>"

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return self._described[name][0]

    def dtype(self, name: str) -> str:
        """Return the name of the type of an array."""
        return self._described[name][1]


def load_arrays(path: StrPath, *, external_data: bool = False) -> FileArrays:
    """Return all arrays of a file of any format, by the names that users see in its library.

    Keras' arrays are named by the layer's own name, ``readout/kernel`` or
    ``encoder/gru/recurrent_kernel``, with the direction in a ``Bidirectional``,
    ``bidirectional/forward/kernel``. Arrays of custom layers are named ``layer/vars/0``. A
    weights-only file has the names of classes instead, ``dense_1/kernel``, unless Keras wrote those
    of the layers. Arrays of PyTorch have the names of the state dict, those of ONNX the names of
    the initializers, and those of trees the keys of their paths.

    Args:
        path: the file. It is untrusted, as in ``jaxgru.load``: nothing in it is run.
        external_data: whether an ONNX model may have weights in other files, as in ``jaxgru.load``.

    Returns:
        A mapping of NumPy arrays of any numeric dtype. An array is read when it is accessed, which
        raises an error if the file has changed since. ``shape(name)`` and ``dtype(name)`` read no
        numbers. The file stays open as long as the mapping exists.

    Raises:
        WeightsError: the file is not a weights file or is damaged; on access, the array is damaged
            or not numeric.
        OSError: the file is missing or may not be read.

    Warns:
        WeightsWarning: the file does not contain the names of layers.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> arrays = jaxgru.load_arrays(path)
    >>> list(arrays), arrays["wMatrix"].shape
    (['wMatrix', 'uMatrix', 'biases'], (3, 15))

    Source: docs/formats.md names that of each format.
    """
    arrays = FileArrays(path, external_data)
    for note in arrays._notes:
        warnings.warn(f"{os.fspath(path)}: {note}", WeightsWarning, stacklevel=2)
    return arrays


def load_model(
    path: StrPath,
    *,
    assume: Assume | None = None,
    override: Mapping[str, object] | None = None,
) -> Model:
    """Return a whole Keras model whose layers form a chain, as JAX arrays.

    Its predictions are those of Keras' ``model(xs)``, masks included. Keras is not needed. The
    error for an unsupported layer or a branch names it. In that case, build a
    ``jaxgru.model.Model`` with ``jaxgru.load`` and ``jaxgru.load_arrays``.

    Args:
        path: a ``.keras`` file or a whole model in HDF5, of Keras 1 to 3.
        assume: values of fields that are missing in the file, as in ``jaxgru.load``.
        override: values that replace those of the file, as in ``jaxgru.load``.

    Returns:
        The model: a pytree that is called as ``model(xs)``. Layers have the same names as in Keras,
        those in sub-models ``outer/inner``.

    Raises:
        WeightsError: the file is not a whole model or is damaged, or a layer is not supported.
        OSError: the file is missing or may not be read.

    Warns:
        WeightsWarning: as in ``jaxgru.load``.

    >>> import jaxgru
    >>> jaxgru.load_model("examples/data/gru.npz")
    Traceback (most recent call last):
    jaxgru.WeightsError: examples/data/gru.npz: it is a file of format npz...

    Source: Keras' layers; docs/formats.md names that of the formats.
    """
    checked = check_assume(assume, override)
    with opened(path) as (name, stored):
        if stored.model is None:
            raise WeightsError(
                f"it is a file of format {name}, without the configuration of a model: expected a "
                "whole Keras model, or build a jaxgru.model.Model with jaxgru.load and "
                "jaxgru.load_arrays"
            )
        found = stored.model(stored.arrays, checked)
    return cast(Model, to_jax_and_warn(found, os.fspath(path), stacklevel=2))


def has_model(path: StrPath, *, external_data: bool = False) -> bool:
    """Return whether a file has the configuration of a whole model, for ``load_model``."""
    with opened(path, external_data=external_data) as (_, stored):
        return stored.model is not None


def named(stored: Stored) -> Mapping[str, str]:
    """Return the names in a file by those that users see."""
    return {name: name for name in stored.arrays} if stored.named is None else stored.named


def _described(stored: Stored, name: str) -> tuple[tuple[int, ...], str]:
    array = stored.arrays[name]
    return tuple(array.shape), str(array.dtype)


def _state(path: StrPath) -> list[tuple[int, ...]]:
    """Return values that change with a file, or with any of several files that are read as one."""
    place = located(Path(path)) or Path(path)
    parts: Iterable[Path] = place.rglob("*") if place.is_dir() else ()
    if place.suffix == ".index":  # of a checkpoint, with its numbers beside it
        parts = place.parent.glob(f"{glob.escape(place.stem)}.*")
    every = [os.stat(part) for part in sorted({place, *parts})]
    return [(status.st_ino, status.st_size, status.st_mtime_ns) for status in every]

"""Weights from files and to files, in NumPy and JAX, whatever the format."""

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator
from typing import BinaryIO

import jax
import numpy as np

from jaxgru.atomic import replacing
from jaxgru.params import GRUParams, check_params
from jaxgru.weights.equations import Equations, check_equations, from_notebook, to_notebook
from jaxgru.weights.errors import WeightsError, WeightsWarning
from jaxgru.weights.formats import find_by_content, find_by_suffix
from jaxgru.weights.numbers import non_finite, to_jax

__all__ = ["Equations", "WeightsError", "WeightsWarning", "format_of", "load", "read", "save"]

StrPath = str | os.PathLike[str]


def load(path: StrPath, *, equations: Equations = "keras") -> GRUParams:
    """Return the weights in a file, as JAX arrays of the file's own type.

    The format is found from the content: so far npz, with the keys ``wMatrix`` ``(I, 3H)``,
    ``uMatrix`` ``(H, 3H)`` and ``biases``, which is ``(2, 3H)`` with ``reset_after=True`` and
    ``(3H,)`` with ``reset_after=False``. A file is never trusted: nothing in it is run, and
    before anything is read its arrays are refused beyond 64 MiB or 32 times the file's size,
    whichever is more.

    Args:
        path: the file.
        equations: what the weights are meant for. ``"keras"``, the equations of ``GRUParams``, is
            what a trained layer computes. ``"notebook"`` is for weights meant for
            ``h' = z * n + (1 - z) * h`` and ``n = tanh(x Wh + bh + ch + r * (h Uh))``: they are
            converted, by negating the z blocks and adding ``ch`` to ``bh``, so that ``gru`` gives
            the notebook's result. (The notebook's code has a slip in it, which these equations
            have not: see ``jaxgru.weights.equations``.)

    Returns:
        The weights, a ``GRUParams``.

    Raises:
        WeightsError: the file is no weights file, damaged, or its arrays do not fit; the message
            names the file, the array, what was found and what was expected.
        OSError: the file is missing or may not be read.
        ValueError: equations is unknown.

    Warns:
        WeightsWarning: an array holds NaN or Inf; or the file is float64 and JAX's x64 mode is
            off, so that the weights were rounded to float32.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> jaxgru.load(path).kernel.shape
    (3, 15)

    Source: ``get_weights`` of Keras' ``GRU`` layer for the arrays.
    """
    params, notes = _read(path, equations)
    try:
        params, rounded = to_jax(params)
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)}: {error}") from None
    for note in notes + rounded:
        warnings.warn(f"{os.fspath(path)}: {note}", WeightsWarning, stacklevel=2)
    return params


def read(path: StrPath, *, equations: Equations = "keras") -> GRUParams:
    """Return the weights in a file, as NumPy arrays: ``load`` before it meets JAX's types.

    Float64 stays float64 here whether JAX's x64 mode is on or off, so this is the way from file
    to file. Arguments, errors and warnings are those of ``load``.
    """
    params, notes = _read(path, equations)
    for note in notes:
        warnings.warn(f"{os.fspath(path)}: {note}", WeightsWarning, stacklevel=2)
    return params


def save(net: GRUParams, path: StrPath, *, equations: Equations = "keras") -> None:
    """Write weights to a file whose name's ending says the format, so far ``.npz``.

    What ``load`` then reads, with the same ``equations``, is equal to the bit. The one exception
    in form, though not in value: a bias that is None comes back as zeros where the format has two.
    A file already there is replaced only once the new one is complete.

    Args:
        net: the weights, a ``GRUParams``.
        path: the file to write.
        equations: what the written weights are meant for, as in ``load``.

    Raises:
        WeightsError: the format or the equations cannot hold the weights exactly. An npz holds no
            activations but tanh and sigmoid, no clip, no bfloat16, and with
            ``reset_after=False`` one bias; the notebook's equations hold only
            ``reset_after=True``, and no recurrent bias of the candidate.
        OSError: the file cannot be written.
        ValueError: equations is unknown, or the arrays of ``net`` do not fit together.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> jaxgru.save(params, path)
    >>> bool((jaxgru.load(path).kernel == params.kernel).all())
    True

    Source: ``get_weights`` of Keras' ``GRU`` layer for the arrays.
    """
    check_equations(equations)
    check_params(net)
    params = jax.tree.map(np.asarray, net)
    try:
        format_ = find_by_suffix(path)
        if equations == "notebook":
            params = to_notebook(params)
        with replacing(path) as temporary, open(temporary, "wb") as file:
            format_.write(params, file)
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)} was not written: {error}") from None


def format_of(path: StrPath) -> str:
    """Return the name of a weights file's format, found from its content; errors as in ``load``."""
    with _opened(path) as file:
        return find_by_content(file).name


def _read(path: StrPath, equations: Equations) -> tuple[GRUParams, list[str]]:
    check_equations(equations)
    with _opened(path) as file:
        params = find_by_content(file).read(file)
        if equations == "notebook":
            params = from_notebook(params)
    return params, non_finite(params)


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[BinaryIO]:
    """Open a file of weights; what is wrong with it is then said with its path."""
    try:
        # Asked before opening: to open a pipe is to wait for whoever writes to it.
        if not stat.S_ISREG(os.stat(path).st_mode):
            kind = "a directory" if os.path.isdir(path) else "no regular file"
            raise WeightsError(f"it is {kind}: expected a file of weights")
        with open(path, "rb") as file:
            yield file
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(path)}: {error}") from error.__cause__

"""Weights from files and to files, in NumPy and JAX, whatever the format."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxgru.atomic import replacing
from jaxgru.net import Net, check_net
from jaxgru.weights.equations import Equations, check_equations, map_layers, to_notebook
from jaxgru.weights.errors import WeightsError, WeightsWarning, about
from jaxgru.weights.reading import Contents, StrPath, read_all
from jaxgru.weights.registry import find_writer
from jaxgru.weights.results import deliver, pick, sound, warn

__all__ = [
    "Contents",
    "Equations",
    "WeightsError",
    "WeightsWarning",
    "load",
    "load_all",
    "read",
    "read_all",
    "save",
]


def load(
    path: StrPath,
    *,
    layer: str | None = None,
    equations: Equations = "keras",
    assume: Mapping[str, Any] | None = None,
    external_data: bool = False,
) -> Any:
    """Return a GRU in a file, as JAX arrays of the file's own type.

    The format is found from the content: npz, safetensors, msgpack, Keras' ``.keras``,
    ``.weights.h5`` and older HDF5 files, PyTorch's archives, ONNX (docs/formats.md lists them all,
    with what each leaves out). A file is never trusted: nothing in it is run, and before anything
    is read its arrays are refused beyond 64 MiB or 32 times the file's size, whichever is more.

    Args:
        path: the file.
        layer: the name of the GRU, needed if the file holds several. Names joined by ``+``, such
            as ``"gru+gru_1"``, give one net of GRUs of which each takes the outputs of the one
            before, and ``"*"`` that of all in the file; where a file has other layers between
            them that change the values, as a Keras model may have, that is refused.
        equations: what the weights are meant for. ``"keras"``, the equations of ``GRUParams``, is
            what a trained layer computes. ``"notebook"`` is for weights meant for
            ``h' = z * n + (1 - z) * h`` and ``n = tanh(x Wh + bh + ch + r * (h Uh))``: they are
            converted, by negating the z blocks and adding ``ch`` to ``bh``, so that ``gru`` gives
            the notebook's result. (The notebook's code has a slip in it, which these equations
            have not: see ``jaxgru.weights.equations``.)
        assume: what the file leaves out, by field: ``activation``, ``recurrent_activation``,
            ``reset_after``, ``merge`` (of two directions) and ``reverse`` (from the last step to
            the first). A field that is in the file must not differ.
        external_data: whether an ONNX model may keep its weights in other files, which must then
            be in the model's own folder.

    Returns:
        A ``GRUParams``; a ``Bidirectional`` or ``Backward`` of them for a GRU with another or one
        more direction; a tuple of layers for several of the file, or for one module with several.

    Raises:
        WeightsError: the file is no weights file or damaged, its arrays do not fit, no net can
            hold the GRU exactly, or layer names none; the message names the file, the array,
            what was found and what was expected.
        OSError: the file is missing or may not be read.
        ValueError: equations or a field of assume is unknown.
        ImportError: the format needs a library; the message names the extra to install.

    Warns:
        WeightsWarning: the file leaves a field out, and what was assumed; an array holds NaN or
            Inf; or the file is float64 and JAX's x64 mode is off, so that the weights were rounded
            to float32.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> jaxgru.load(path).kernel.shape
    (3, 15)

    Source: docs/formats.md names that of each format.
    """
    contents = read_all(path, equations=equations, assume=assume, external_data=external_data)
    with about(path):
        found = pick(contents.gathered, layer)
    return deliver(found, os.fspath(path), stacklevel=2)


def load_all(
    path: StrPath,
    *,
    equations: Equations = "keras",
    assume: Mapping[str, Any] | None = None,
    external_data: bool = False,
) -> dict[str, Any]:
    """Return every GRU in a file by its name, in the file's order.

    Arguments, errors and warnings are those of ``load``. One GRU that no net can hold exactly is
    an error here: ``load`` with the name of another passes it over.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> list(jaxgru.load_all(path))
    ['gru']

    Source: as in ``load``.
    """
    contents = read_all(path, equations=equations, assume=assume, external_data=external_data)
    with about(path):
        found = {name: sound(contents.gathered, name) for name in contents.gathered}
    nets = {}
    for name, one in found.items():  # not a comprehension: a warning would point at that
        nets[name] = deliver(one, f"{os.fspath(path)}: {name}", stacklevel=2)
    return nets


def read(
    path: StrPath,
    *,
    layer: str | None = None,
    equations: Equations = "keras",
    assume: Mapping[str, Any] | None = None,
    external_data: bool = False,
) -> Any:
    """Return a GRU in a file, as NumPy arrays: ``load`` before it meets JAX's types.

    Float64 stays float64 here whether JAX's x64 mode is on or off, so this is the way from file
    to file. Arguments, errors and warnings are those of ``load``.
    """
    contents = read_all(path, equations=equations, assume=assume, external_data=external_data)
    with about(path):
        found = pick(contents.gathered, layer)
    warn(found, os.fspath(path), [], stacklevel=2)
    return found.net


def save(
    net: Net, path: StrPath, *, format: str | None = None, equations: Equations = "keras"
) -> None:
    """Write a net to a file, in the format of its name's ending.

    =================  ======================  =====================================================
    ending             format                  holds
    =================  ======================  =====================================================
    ``.safetensors``   ``safetensors``         any net, to the bit, with all that it is made of
    ``.npz``           ``npz``                 one layer with tanh and sigmoid, as Keras' arrays
    ``.onnx``          ``onnx``                a model with GRU nodes
    ``.keras``         ``keras``               a Keras model of the layers; needs Keras
    ``.weights.h5``    ``keras-h5``            the weights of that model; needs Keras
    (by name)          ``torch-safetensors``   what ``torch.nn.GRU`` loads, strictly
    =================  ======================  =====================================================

    What ``load`` then reads, with the same ``equations``, is equal to the bit. The one exception
    in form, though not in value: a bias that is None comes back as zeros where the format has two.
    A file already there is replaced only once the new one is complete.

    Args:
        net: a ``GRUParams``, ``Bidirectional``, ``Backward``, or a tuple or list of them.
        path: the file to write.
        format: the name of the format, where the ending belongs to none or to another.
        equations: what the written weights are meant for, as in ``load``.

    Raises:
        WeightsError: the format or the equations cannot hold the net exactly, with the reason.
            The notebook's equations hold only ``reset_after=True``, and no recurrent bias of the
            candidate.
        OSError: the file cannot be written.
        ValueError: format or equations is unknown, or the arrays of ``net`` do not fit together.
        ImportError: the format needs a library; the message names the extra to install.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> jaxgru.save(params, path)
    >>> bool((jaxgru.load(path).kernel == params.kernel).all())
    True

    Source: docs/formats.md names that of each format.
    """
    check_equations(equations)
    check_net(net)
    net = jax.tree.map(np.asarray, net)
    with about(f"{os.fspath(path)} was not written"):
        write = find_writer(path, format)
        if equations == "notebook":
            net = map_layers(to_notebook, net)
        with replacing(path) as temporary:
            write(net, Path(temporary))

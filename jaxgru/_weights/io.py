"""Loading weights from files and saving them, as NumPy or JAX arrays."""

import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxgru._atomic import replacing
from jaxgru._net import Net, map_layers
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import check_stackable
from jaxgru._weights.defaults import Assume, check_assume
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.equations import Equations, check_equations, to_notebook
from jaxgru._weights.errors import WeightsError, WeightsWarning, prefix_errors
from jaxgru._weights.into import arrays_with, replaced
from jaxgru._weights.reading import Contents, StrPath, opened, read_all
from jaxgru._weights.registry import find_writer, format_of_suffix
from jaxgru._weights.results import LoadedGRU, every, pick, to_jax_and_warn, warn
from jaxgru._weights.whole import named
from jaxgru.model import Model

__all__ = [
    "Contents",
    "Equations",
    "WeightsError",
    "WeightsWarning",
    "load",
    "load_all",
    "load_layer",
    "read",
    "read_all",
    "save",
]


def load(
    path: StrPath,
    *,
    layer: str | None = None,
    equations: Equations = "keras",
    assume: Assume | None = None,
    override: Assume | None = None,
    external_data: bool = False,
) -> Net:
    """Return a GRU in a file, as JAX arrays of the dtype in the file.

    The format is detected by the content: npz, safetensors, msgpack, Keras' ``.keras``,
    ``.weights.h5`` and older HDF5 files, PyTorch's archives, ONNX and others (docs/formats.md lists
    them all). Files are untrusted: no code in them is run, and their arrays may take at most 64 MiB
    or 32 times the size of the file, whichever is more.

    Args:
        path: the file.
        layer: the name of the GRU, required if the file has several. Names joined by ``+``, such as
            ``"gru+gru_1"``, select a stack in which the outputs of each GRU are the inputs of the
            next, and ``"*"`` selects a stack of all GRUs. It is an error if other layers of a
            Keras model change the values between them.
        equations: the equations of the weights. ``"keras"``, those of ``GRUParams``, is for trained
            layers. ``"notebook"`` is for weights of ``h' = z * n + (1 - z) * h`` and
            ``n = tanh(x Wh + bh + ch + r * (h Uh))``. These weights are converted, by negating the
            z blocks and adding ``ch`` to ``bh``, so that ``gru`` returns the results of these
            equations. (The code of the notebook differs from its equations by a mistake, see
            ``jaxgru._weights.equations``.)
        assume: values of fields that are missing in the file: ``activation``,
            ``recurrent_activation``, ``reset_after``, ``merge`` (of two directions) and ``reverse``
            (from the last step to the first). They must not contradict the file. ``subclass="gru"``
            means that a custom subclass computes the same as Keras' GRU. ``source``, such as
            ``"keras"``, names the library of arrays whose names do not identify it.
        override: values of these fields that replace those of the file in every layer, for a file
            that is known to be wrong.
        external_data: whether an ONNX model may have weights in other files in its folder.

    Returns:
        A ``GRUParams``; a ``Bidirectional`` for a bidirectional GRU, a ``Backward`` for a backward
        one; a tuple of layers for several GRUs, or for a module with several layers.

    Raises:
        WeightsError: the file is not a weights file or is damaged, its arrays do not fit together,
            no net represents the GRU exactly, or there is no such layer. The message has the file,
            the array, the value and the expected value.
        OSError: the file is missing or cannot be read.
        ValueError: equations or a field of assume or override is unknown.
        ImportError: the format needs a library; the message names the extra to install.

    Warns:
        WeightsWarning: a field is missing in the file and a value was assumed; override contradicts
            the file; an array contains NaN or Inf; or the weights are float64 and were rounded to
            float32, because JAX's x64 mode is off.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> jaxgru.load(path).kernel.shape
    (3, 15)

    Source: docs/formats.md names that of each format.
    """
    options: Any = {"assume": assume, "override": override, "external_data": external_data}
    found = _picked(path, layer, equations=equations, **options)
    return to_jax_and_warn(found, os.fspath(path), stacklevel=2)


def load_layer(
    path: StrPath,
    *,
    layer: str | None = None,
    equations: Equations = "keras",
    assume: Assume | None = None,
    override: Assume | None = None,
    external_data: bool = False,
) -> GRUParams:
    """Return a GRU in a file that is a single forward layer, as ``load`` returns it.

    Arguments, warnings and further errors are those of ``load``.

    Raises:
        WeightsError: the GRU has several layers or directions, or runs backward.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> jaxgru.load_layer(path).hidden_size
    5

    Source: as in ``load``.
    """
    options: Any = {"assume": assume, "override": override, "external_data": external_data}
    found = _picked(path, layer, equations=equations, **options)
    if not isinstance(found.net, GRUParams):
        of = f" of {len(found.net)}" if isinstance(found.net, Sequence) else ""
        raise WeightsError(
            f"{os.fspath(path)}: the GRU is a {type(found.net).__name__}{of}: expected one forward "
            "layer; jaxgru.load returns any net"
        )
    return cast("GRUParams", to_jax_and_warn(found, os.fspath(path), stacklevel=2))


def load_all(
    path: StrPath,
    *,
    equations: Equations = "keras",
    assume: Assume | None = None,
    override: Assume | None = None,
    external_data: bool = False,
) -> dict[str, Net]:
    """Return all GRUs in a file by name, in the order of the file.

    Arguments, errors and warnings are those of ``load``. A GRU that no net represents exactly is an
    error, but ``load`` can still return the others.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.npz")
    >>> jaxgru.save(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> list(jaxgru.load_all(path))
    ['gru']

    Source: as in ``load``.
    """
    options: Any = {"assume": assume, "override": override, "external_data": external_data}
    contents = read_all(path, equations=equations, **options)
    with prefix_errors(path):
        found = every(contents.gathered)
    nets = {}
    for name, one in found.items():  # not a comprehension, which warnings would point at
        nets[name] = to_jax_and_warn(one, f"{os.fspath(path)}: {name}", stacklevel=2)
    return nets


def read(path: StrPath, *, layer: str | None = None, **options: Any) -> Net:
    """Return a GRU in a file, as NumPy arrays.

    Unlike ``load``, it never rounds float64, whether JAX's x64 mode is on or off. Use it to convert
    files. Arguments, errors and warnings are those of ``load``.
    """
    found = _picked(path, layer, **options)
    warn(found, os.fspath(path), [], stacklevel=2)
    return found.net


def _picked(path: StrPath, layer: str | None, **options: Any) -> LoadedGRU:
    contents = read_all(path, **options)
    with prefix_errors(path):
        return pick(contents.gathered, layer)


def save(
    net: Net | Model | Mapping[str, ArrayLike],
    path: StrPath,
    *,
    format: str | None = None,
    equations: Equations = "keras",
    into: StrPath | None = None,
    layer: str | None = None,
    assume: Assume | None = None,
    dtype: Literal["file"] | None = None,
) -> None:
    """Write a net to a file, in the format of its suffix, or into the file that it came from.

    =================  ======================  =====================================================
    suffix             format                  contents
    =================  ======================  =====================================================
    ``.safetensors``   ``safetensors``         any net with its structure
    ``.npz``           ``npz``                 one layer with tanh and sigmoid, as Keras' arrays
    ``.onnx``          ``onnx``                a model with GRU nodes
    ``.keras``         ``keras``               a Keras model of the layers; needs Keras
    ``.weights.h5``    ``keras-h5``            the weights of that model; needs Keras
    (by ``format``)    ``torch-safetensors``   a state dict of ``torch.nn.GRU``
    =================  ======================  =====================================================

    ``load`` with the same ``equations`` returns bit-for-bit identical weights, except that a bias
    of None is loaded as zeros from a format with two biases. An existing file is replaced once the
    new one is complete.

    Args:
        net: a ``GRUParams``, ``Bidirectional``, ``Backward``, or a tuple or list of them.
        path: the file to write.
        format: the name of the format; by default that of the suffix.
        equations: the equations of the written weights, as in ``load``.
        into: a file with a GRU, called ``layer``, of the structure and sizes of the net. ``path``
            becomes a copy of this file with the arrays of that GRU replaced and everything else
            unchanged: configuration, names, other layers, optimizer. It may be ``path`` itself. For
            a ``jaxgru.model.Model``, a file that ``jaxgru.load_model`` reads; for a dict of arrays
            by name, one that ``jaxgru.load_arrays`` reads. Supported are ``.keras``, ``.h5`` and
            ``.weights.h5`` (with h5py), ONNX, archives of ``torch.save``, safetensors, ``.npz`` and
            MessagePack.
        layer: with ``into``, as in ``load``.
        assume: with ``into``: values of fields that are missing in the file, as in ``load``.
        dtype: with ``into``: "file" rounds numbers to the dtypes in the file. By default, a number
            that does not fit the dtype in the file exactly is an error.

    Raises:
        WeightsError: the format, the equations or the GRU in ``into`` cannot represent the net
            exactly; the message has the reason. The notebook's equations support only
            ``reset_after=True``, without a recurrent bias of the candidate.
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
    if into is not None:
        if format is not None or equations != "keras":
            raise ValueError("format or equations is given with into: expected into only")
        _save_into(net, path, into, layer, check_assume(assume), rounds=dtype == "file")
        return
    if layer is not None or assume is not None or dtype is not None:
        raise ValueError("layer, assume or dtype is given without into: expected into=, a file")
    if isinstance(net, Model | Mapping):
        raise WeightsError(
            f"net is a {type(net).__name__}: expected into=, the file of the whole model, or one "
            "of its layers"
        )
    check_stackable(net)
    arrays: Net = jax.tree.map(np.asarray, net)
    with prefix_errors(f"{os.fspath(path)} was not written"):
        write = find_writer(path, format)
        if equations == "notebook":
            arrays = map_layers(lambda layer: to_notebook(layer.params), arrays)
        with replacing(path) as temporary:
            write(arrays, Path(temporary))


def _save_into(
    net: Net | Model | Mapping[str, ArrayLike],
    path: StrPath,
    into: StrPath,
    layer: str | None,
    assume: Mapping[str, Any],
    *,
    rounds: bool,
) -> None:
    if isinstance(net, Model | Mapping) and layer is not None:
        raise ValueError(f"layer is given with a {type(net).__name__}: expected none")
    with opened(into) as (name, stored):

        def read(arrays: Arrays) -> Any:
            if not isinstance(net, Model):
                return pick(stored.find(arrays, assume), layer).net
            if stored.model is None:
                raise WeightsError(f"it is a file of format {name}: expected a whole Keras model")
            return stored.model(arrays, assume).net

        if stored.rewrite is None:
            raise WeightsError(
                f"it is of format {name}, which is not written into: {stored.instead}"
            )
        if format_of_suffix(suffix := Path(path).suffix.lower()) not in (name, None):
            raise WeightsError(
                f"it is of format {name}, and the name of the copy ends in {suffix!r}: expected "
                f"{Path(into).suffix!r}"
            )
        if isinstance(net, Mapping):
            changed = replaced(stored.arrays, named(stored), net, rounds=rounds)
        else:
            new = jax.tree.map(np.asarray, net)
            changed = arrays_with(read, stored.arrays, new, rounds=rounds)
        with replacing(path) as temporary:
            stored.rewrite(changed, Path(temporary))
        others = [each for each in stored.arrays if "optimizer" in each.lower()]
    if others:
        warnings.warn(
            f"{os.fspath(path)}: its optimizer state belongs to the weights before the change: "
            "compile the model again before further training",
            WeightsWarning,
            stacklevel=3,
        )

"""The conversion of ONNX models, in files and in memory."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._optional import need
from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.defaults import Assume, check_assume, overridden
from jaxgru._weights.dtypes import Arrays, OnAccess, Unread, check_floats
from jaxgru._weights.errors import WeightsError, damaged, shown
from jaxgru._weights.formats.onnx.models import gather
from jaxgru._weights.formats.onnx.tensors import DTYPES, External, to_array, to_tensor
from jaxgru._weights.formats.onnx.wire import begins_model, check_fields
from jaxgru._weights.formats.onnx.writing import Interface, to_model
from jaxgru._weights.limits import Budget
from jaxgru._weights.results import GRUsByName, pick, to_jax_and_warn

if TYPE_CHECKING:
    import onnx

# The fields of a tensor with its numbers.
_NUMBERS = ("float_data", "double_data", "int32_data", "int64_data", "uint64_data", "raw_data")
# The limit of the parsing library.
_LARGEST = 2**31 - 1


def recognizes(look: FileProbe) -> bool:
    """Return whether a file is an ONNX model."""
    return begins_model(look.head)


def read(source: Source) -> Stored:
    """Return the initializers of an ONNX model, and how the GRUs are found by their nodes.

    A model by jaxgru has the structure of the net in its metadata, and is one net.

    Raises:
        WeightsError: the model is damaged, contradicts itself, or has no GRU node.
        ImportError: onnx is not installed.
    """
    onnx = need("onnx", "onnx", "reading ONNX models")
    if source.size > _LARGEST:
        raise WeightsError(f"it has {source.size} bytes: expected at most {_LARGEST} in a model")
    model, size, folder = _parsed(onnx, source), source.size, source.data_folder

    def find_grus(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
        return gather(model, size, assume, folder, arrays)

    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    external, counted = External(folder, Budget(size)), set[str]()

    def read_tensor(name: str) -> NDArray[Any]:
        # To read one again costs nothing.
        again = name in counted
        counted.add(name)
        return to_array(tensors[name], External(folder, Budget(size)) if again else external)

    def described(name: str) -> Unread:
        tensor = tensors[name]
        dtype = DTYPES.get(tensor.data_type)
        kind = f"number {tensor.data_type} of ONNX" if dtype is None else dtype.name
        return Unread(tuple(tensor.dims), kind, functools.partial(read_tensor, name))

    def rewrite(arrays: Mapping[str, NDArray[Any]], path: Path) -> None:
        new = onnx.ModelProto.FromString(model.SerializeToString())
        for tensor in new.graph.initializer:
            if tensor.name in arrays:
                if tensor.external_data:
                    raise WeightsError(
                        f"{shown(tensor.name)} has its data in another file: expected it in the "
                        "model"
                    )
                changed = to_tensor(onnx, tensor.name, arrays[tensor.name])
                for field in _NUMBERS:
                    tensor.ClearField(field)
                tensor.raw_data = changed.raw_data
        path.write_bytes(new.SerializeToString())

    return Stored(OnAccess(tensors, described), find_grus, rewrite=rewrite)


def write(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as an ONNX model with the default inputs and outputs."""
    path.write_bytes(to_model(net, Interface()).SerializeToString())


def _parsed(onnx: Any, source: Source) -> Any:
    content = source.file.read(source.size)
    check_fields(content, onnx.ModelProto.DESCRIPTOR)
    decode_error = need("google.protobuf.message", "onnx", "reading ONNX models").DecodeError
    with damaged("the model is damaged", decode_error):
        return onnx.ModelProto.FromString(content)


def from_onnx(
    model: "onnx.ModelProto | onnx.GraphProto | onnx.NodeProto",
    *,
    initializers: Mapping[str, ArrayLike] | None = None,
    layer: str | None = None,
    assume: Assume | None = None,
    override: Assume | None = None,
) -> Net:
    """Return the net of a GRU node, or of a model that has one, as JAX arrays.

    Args:
        model: a ``ModelProto``, a ``GraphProto``, or a ``NodeProto`` whose operator is GRU.
        initializers: the weights of a ``NodeProto``, arrays by the names of its inputs:
            W ``(D, 3H, I)``, R ``(D, 3H, H)`` and B ``(D, 6H)``, for D directions.
        layer: the name of the node, required if a model has several, see ``jaxgru.load``.
        assume: the ``merge`` of two directions, which a node does not include, as in
            ``jaxgru.load``.
        override: values that replace those of the node, as in ``jaxgru.load``.

    Returns:
        The net: a ``GRUParams``; a ``Backward`` for the direction "reverse"; a ``Bidirectional``
        for "bidirectional"; the whole net for a model by jaxgru.

    Raises:
        WeightsError: there is no GRU node, there are several and ``layer`` is not given, no net
            represents the GRU exactly, or weights are not in the model.
        ImportError: onnx is not installed.

    Warns:
        WeightsWarning: a field was assumed; the model has constant initial states; weights are NaN
            or Inf; float64 was rounded, because JAX's x64 mode is off.

    >>> import jax, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> bool((jaxgru.from_onnx(jaxgru.to_onnx(params)).kernel == params.kernel).all())
    True

    Source: ONNX's operator GRU, as implemented by ONNX Runtime.
    """
    onnx = need("onnx", "onnx", "from_onnx")
    checked = check_assume(assume, override)
    whole = _as_model(onnx, model, initializers)
    encode_error = need("google.protobuf.message", "onnx", "from_onnx").EncodeError
    try:
        size = whole.ByteSize()
    except encode_error:
        raise WeightsError("the model is beyond 2 GB: expected less, as protobuf allows") from None
    gathered = overridden(gather(whole, size, checked), checked)
    return to_jax_and_warn(pick(gathered, layer), "ONNX model", stacklevel=2)


def to_onnx(
    net: Net,
    *,
    batch_first: bool = True,
    lengths: bool = False,
    initial_states: bool = False,
    opset: int | None = None,
) -> "onnx.ModelProto":
    """Return an ONNX model of GRU nodes that is equivalent to ``jaxgru.gru``.

    The inputs are ``x (batch, time, I)`` and the optional ones below. The outputs are ``y (batch,
    time, O)``, or ``y_forward`` and ``y_backward`` if a merge is None, and for each layer the last
    state ``h (batch, H)``. In a net of several layers, the names of states end with the position:
    ``h_0_forward`` is that of ``net[0].forward``. Batch and time may have any size of at least 1.
    (At 0, ONNX Runtime 1.32 ends the process.)

    In float32, the outputs of ONNX Runtime are within 1e-5 of those of jaxgru. It computes float16
    models in float32 and rounds the outputs of each layer, with an error of at most 2.4e-4 for
    states within 1. On a CPU, ONNX Runtime 1.32 has no GRU for float64 or bfloat16, although such a
    model is valid.

    Args:
        net: the net.
        batch_first: whether x and y are ``(batch, time, ...)`` instead of ``(time, batch, ...)``.
        lengths: whether there is an input ``lengths (batch,)`` of int32, 1 to time. At later steps
            y is zero, as with ``jaxgru.gru(..., zero_masked=True)``.
        initial_states: whether there is an input ``initial_h (batch, H)`` for each layer, named
            like the last state; otherwise the initial states are zero.
        opset: the version of ONNX's operators, 14 or later, 22 or later for bfloat16; None: the
            earliest that supports the net.

    Returns:
        A ``ModelProto`` that passes ``onnx.checker``; ``onnx.save`` writes it. The structure of the
        net is in the metadata, so that ``jaxgru.load`` and ``from_onnx`` return a bit-for-bit
        identical net.

    Raises:
        WeightsError: ONNX's GRU lacks an activation of the net (hard_tanh, relu6, selu,
            exponential, silu, gelu), the arrays have several dtypes, clip or a parameter of an
            activation is not exact in float32 for float64 weights, or opset is not supported.
        ValueError: the layers of the net do not fit together.
        ImportError: onnx is not installed.

    >>> import jax, jaxgru
    >>> model = jaxgru.to_onnx(jaxgru.init(jax.random.key(0), 3, 5))
    >>> [value.name for value in (*model.graph.input, *model.graph.output)]
    ['x', 'y', 'h']

    Source: ONNX's operator GRU, as implemented by ONNX Runtime.
    """
    return to_model(
        jax.tree.map(np.asarray, net), Interface(batch_first, lengths, initial_states, opset)
    )


def _as_model(onnx: Any, model: Any, initializers: Mapping[str, ArrayLike] | None) -> Any:
    if isinstance(model, onnx.NodeProto):
        arrays = {name: np.asarray(array) for name, array in (initializers or {}).items()}
        check_floats(arrays)
        tensors = [to_tensor(onnx, name, array) for name, array in arrays.items()]
        return onnx.ModelProto(graph=onnx.GraphProto(node=[model], initializer=tensors))
    if initializers is not None:
        raise WeightsError(
            f"initializers are given with a {type(model).__name__}: expected them for a NodeProto"
        )
    if isinstance(model, onnx.GraphProto):
        return onnx.ModelProto(graph=model)
    if isinstance(model, onnx.ModelProto):
        return model
    raise WeightsError(
        f"model is a {type(model).__name__}: expected a ModelProto, GraphProto or NodeProto"
    )

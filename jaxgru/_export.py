"""Export of a net to a file that runs without jaxgru: ONNX, or StableHLO of jax.export."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgru._atomic import replacing
from jaxgru._checks import check_precision
from jaxgru._net import Net, check_net, map_layers, output_size, unroll
from jaxgru._optional import need
from jaxgru._recurrence.layer import Precision
from jaxgru._sequence import gru
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.onnx.format import to_onnx
from jaxgru.streaming import state_dtype

ENDINGS = {"onnx": ".onnx", "stablehlo": ".stablehlo"}
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

_Shape = tuple[str | int, ...]


class Signature(NamedTuple):
    """The inputs and outputs of an exported net.

    Args:
        inputs: shapes by name, in order, such as ``{"x": ("batch", "time", 6)}``. A name in a shape
            means any size of at least 1.
        outputs: likewise.
        dtype: the dtype of all arrays except ``lengths``, which is int32.
    """

    inputs: dict[str, _Shape]
    outputs: dict[str, _Shape]
    dtype: np.dtype[Any]  # Any: of every floating-point type


def export(
    net: Net,
    path: str | os.PathLike[str],
    *,
    format: str | None = None,
    streaming: bool = False,
    lengths: bool = False,
    time_major: bool = False,
    platforms: Sequence[str] = ("cpu",),
    precision: Precision = "highest",
) -> Signature:
    """Write a net to a file that computes ``ys, h = jaxgru.gru(net, xs)`` without jaxgru.

    =================  =============  ==============================================================
    suffix             format         runs in
    =================  =============  ==============================================================
    ``.onnx``          ``onnx``       ONNX Runtime, and any other runtime with GRU nodes
    ``.stablehlo``     ``stablehlo``  ``jax.export.deserialize(content).call(x)``; needs JAX alone
    =================  =============  ==============================================================

    The inputs are plain arrays, in this order: ``x (batch, time, I)``; with ``lengths``,
    ``lengths (batch,)`` of int32; with ``streaming``, a first state ``initial_h (batch, H)`` for
    each layer. The outputs are ``y (batch, time, O)``, or ``y_forward`` and ``y_backward`` if a
    merge is None, and a last state ``h (batch, H)`` for each layer. In a net of several layers the
    names of states end with the position: ``h_0_forward`` is that of ``net[0].forward``. Batch and
    time may have any size of at least 1. (At 0, ONNX Runtime 1.32 ends the process.) An existing
    file is replaced once the new one is complete.

    Args:
        net: a ``GRUParams``, ``Bidirectional``, ``Backward``, or a tuple or list of them.
        path: the file to write.
        format: "onnx" or "stablehlo"; by default that of the suffix.
        streaming: whether the first states are inputs; otherwise they are zeros. The last states
            of one chunk are the first states of the next.
        lengths: whether there is an input of lengths, 1 to time. At later steps y is zero, as with
            ``jaxgru.gru(..., lengths=lengths, zero_masked=True)``.
        time_major: whether x and y are ``(time, batch, ...)``.
        platforms: StableHLO only: the platforms that the program is lowered for: any of "cpu",
            "cuda", "rocm" and "tpu". They need not be present.
        precision: StableHLO only: the precision of the matrix products, as in ``jaxgru.gru``. None
            is JAX's default, which on GPUs and TPUs rounds factors to TF32 or bfloat16 and is
            faster.

    Returns:
        The names, shapes and dtype of inputs and outputs. The dtype is that of the weights; for
        StableHLO with half-precision weights it is float32.

    Raises:
        WeightsError: the suffix is unknown, or ONNX's GRU cannot represent the net, see
            ``to_onnx``.
        ValueError: the layers do not fit together, streaming is given for a net with both
            directions, format, platforms or precision is unknown, or one of the last two is given
            for ONNX.
        OSError: the file cannot be written.
        ImportError: onnx, or flatbuffers for StableHLO, is not installed.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "net.stablehlo")
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> jaxgru.export(net, path).outputs
    {'y': ('batch', 'time', 5), 'h': ('batch', 5)}
    >>> y, h = jax.export.deserialize(path.read_bytes()).call(jax.numpy.ones((2, 7, 3)))
    >>> y.shape, h.shape
    ((2, 7, 5), (2, 5))

    Source: ONNX's operator GRU; JAX's documentation of ``jax.export``.
    """
    check_net(net)
    check_precision(precision)
    if streaming and len({layer.reverse for layer in unroll(net)}) > 1:
        raise ValueError(
            "streaming is True for a bidirectional net: expected forward layers only, because a "
            "backward layer starts at the end of the sequence"
        )
    net = jax.tree.map(np.asarray, net)
    chosen = _format(path, format)
    signature = _signature(net, chosen, streaming, lengths, time_major)
    if chosen == "onnx":
        given = {"platforms": (tuple(platforms), ("cpu",)), "precision": (precision, "highest")}
        for name, (value, default) in given.items():
            if value != default:
                raise ValueError(
                    f"{name} is {value!r} for an ONNX model: expected None, because the ONNX "
                    "runtime chooses it"
                )
        options = {"batch_first": not time_major, "lengths": lengths, "initial_states": streaming}
        content = to_onnx(net, **options).SerializeToString()
    else:
        content = _stablehlo(net, signature, lengths, time_major, platforms, precision)
    with replacing(path) as temporary:
        Path(temporary).write_bytes(content)
    return signature


def _format(path: str | os.PathLike[str], format: str | None) -> str:
    if format is not None:
        if format not in ENDINGS:
            raise ValueError(f"format is {format!r}: expected {' or '.join(ENDINGS)}")
        return format
    suffix = Path(path).suffix
    for name, ending in ENDINGS.items():
        if suffix.lower() == ending:
            return name
    raise WeightsError(
        f"{os.fspath(path)} was not written: its suffix is {suffix!r}: expected "
        f"{' or '.join(ENDINGS.values())}"
    )


def _signature(
    net: Net, format: str, streaming: bool, lengths: bool, time_major: bool
) -> Signature:
    inputs, outputs = check_net(net)

    def sequence(size: int) -> _Shape:
        return ("time", "batch", size) if time_major else ("batch", "time", size)

    states: dict[str, _Shape] = {
        f"h{layer.suffix}": ("batch", layer.params.hidden_size) for layer in unroll(net)
    }
    given = {"x": sequence(inputs)}
    if lengths:
        given["lengths"] = ("batch",)
    if streaming:
        given |= {f"initial_{name}": shape for name, shape in states.items()}
    pair = outputs is None
    size = output_size(net) // 2 if pair else output_size(net)
    names = ("y_forward", "y_backward") if pair else ("y",)
    # An ONNX operator has one dtype for all arrays. For a net with several, to_onnx raises an
    # error.
    dtype = jax.tree.leaves(net)[0].dtype if format == "onnx" else state_dtype(net)
    return Signature(given, {name: sequence(size) for name in names} | states, np.dtype(dtype))


def _stablehlo(
    net: Net,
    signature: Signature,
    lengths: bool,
    time_major: bool,
    platforms: Sequence[str],
    precision: Precision,
) -> bytes:
    """Return the serialized program, with the weights as constants."""
    need("flatbuffers", "stablehlo", "exporting StableHLO")  # JAX serializes with it
    from jax import export as jax_export  # imported here because the import is slow

    if not platforms or not {*platforms} <= {*PLATFORMS}:
        raise ValueError(f"platforms are {platforms!r}: expected some of {', '.join(PLATFORMS)}")

    def run(x: jax.Array, *rest: jax.Array) -> tuple[jax.Array, ...]:
        remaining = iter(rest)
        counts = next(remaining) if lengths else None
        # In the order of the signature.
        h0 = map_layers(lambda _: next(remaining, None), net)
        ys_and_h = gru(
            net,
            x,
            h0,
            lengths=counts,
            zero_masked=lengths,
            time_major=time_major,
            precision=precision,
            implementation="scan",
        )
        return tuple(jax.tree.leaves(ys_and_h))

    # The x64 mode of the process must not change the file.
    with jax.enable_x64(signature.dtype == np.float64):
        scope = jax_export.SymbolicScope()
        arguments = [
            jax.ShapeDtypeStruct(  # type: ignore[no-untyped-call]
                jax_export.symbolic_shape(", ".join(map(str, shape)) + ",", scope=scope),
                np.int32 if name == "lengths" else signature.dtype,
            )
            for name, shape in signature.inputs.items()
        ]
        exported = jax_export.export(jax.jit(run), platforms=list(dict.fromkeys(platforms)))(
            *arguments
        )
    return bytes(exported.serialize())

"""A layer as three arrays in a .npz file, as ``numpy.savez`` writes what Keras' GRU layer holds.

``np.savez(path, wMatrix=W, uMatrix=U, biases=b)`` with ``W, U, b = layer.get_weights()``:

============  =====================  ===========================================================
key           shape                  meaning
============  =====================  ===========================================================
``wMatrix``   ``(I, 3H)``            kernel, blocks z, r, h
``uMatrix``   ``(H, 3H)``            recurrent kernel, likewise
``biases``    ``(2, 3H)``            ``reset_after=True``; row 0 input side, row 1 state side
``biases``    ``(3H,)``              ``reset_after=False``; one bias
============  =====================  ===========================================================

The format holds nothing else, so the activations are tanh and sigmoid. ``read`` gives NumPy
arrays to the bit; ``write`` refuses what would not come back equal in value.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgru.layers import Net
from jaxgru.params import GRUParams
from jaxgru.weights.assume import Settling
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.found import UNNAMED, Found, Gathered, Source
from jaxgru.weights.safe_npz import read_arrays
from jaxgru.weights.single import only_layer
from jaxgru.weights.zips import MAGIC

if TYPE_CHECKING:
    from jaxgru.weights.formats import Look

KEYS = ("wMatrix", "uMatrix", "biases")


def recognises(look: "Look") -> bool:
    """Tell whether a file is a zip archive, as every .npz file is."""
    return look.head.startswith(MAGIC)


def read(source: Source) -> Gathered:
    """Return the weights in an open .npz file.

    Raises:
        WeightsError: the file is damaged, or an array is missing, unknown, of another type than
            float16, float32 or float64, or of a shape that does not fit.
    """
    arrays = read_arrays(source.file, KEYS)
    kernel, recurrent_kernel, biases = (arrays[key] for key in KEYS)
    _check_shapes(kernel.shape, recurrent_kernel.shape, biases.shape)
    reset_after = biases.ndim == 2
    settling = Settling(source.assume)
    params = GRUParams(
        kernel=kernel,
        recurrent_kernel=recurrent_kernel,
        bias=biases[0] if reset_after else biases,
        recurrent_bias=biases[1] if reset_after else None,
        reset_after=settling.pick("reset_after", reset_after),
        activation=source.assume.get("activation", "tanh"),
        recurrent_activation=source.assume.get("recurrent_activation", "sigmoid"),
    )
    return {UNNAMED: Found(params)}


def write(net: Net, path: Path) -> None:
    """Write a net of one layer, given as NumPy arrays.

    A bias that is None is written as zeros, as the format has no other way to say so.

    Raises:
        WeightsError: the format cannot hold this net.
    """
    params = only_layer(net, "npz")
    for field, default in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if getattr(params, field) != default:
            raise WeightsError(
                f"{field} is {getattr(params, field)!r}: expected {default!r}, as npz holds no "
                "activations"
            )
    if params.clip is not None:
        raise WeightsError(f"clip is {params.clip!r}: expected None, as npz holds no clip")
    for field in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        value = getattr(params, field)
        if value is not None and value.dtype not in (np.float16, np.float32, np.float64):
            raise WeightsError(
                f"{field} has dtype {value.dtype}: expected float16, float32 or float64, as npz "
                "holds no other; convert it first, with astype"
            )
    biases = _two_biases(params) if params.reset_after else _one_bias(params)
    with open(path, "wb") as file:  # np.savez would add an ending to a path
        np.savez(file, wMatrix=params.kernel, uMatrix=params.recurrent_kernel, biases=biases)


def _check_shapes(w: tuple[int, ...], u: tuple[int, ...], b: tuple[int, ...]) -> None:
    if len(u) != 2 or u[1] != 3 * u[0]:
        raise WeightsError(f"uMatrix has shape {u}: expected (H, 3H), for H units")
    units = u[0]
    if len(w) != 2 or w[1] != 3 * units:
        raise WeightsError(
            f"wMatrix has shape {w}: expected (I, {3 * units}), for I inputs and the {units} units "
            "of uMatrix"
        )
    if b not in ((2, 3 * units), (3 * units,)):
        raise WeightsError(
            f"biases has shape {b}: expected (2, {3 * units}) for reset_after=True or "
            f"({3 * units},) for reset_after=False, for the {units} units of uMatrix"
        )


def _two_biases(params: GRUParams) -> Any:
    return np.stack([_or_zeros(params.bias, params), _or_zeros(params.recurrent_bias, params)])


def _one_bias(params: GRUParams) -> Any:
    bias, recurrent_bias = (
        _or_zeros(value, params) for value in (params.bias, params.recurrent_bias)
    )
    # Both are added outside the reset gate, so one bias can say it, but a sum may be rounded.
    if np.any((bias != 0) & (recurrent_bias != 0)):
        raise WeightsError(
            "bias and recurrent_bias are both non-zero with reset_after=False: expected one, as "
            "npz holds one; add them up first if rounding the sum is well"
        )
    return np.where(recurrent_bias != 0, recurrent_bias, bias)


def _or_zeros(bias: Any, params: GRUParams) -> Any:
    return np.zeros(3 * params.hidden_size, params.dtype) if bias is None else bias

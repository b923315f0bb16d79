"""Weights in a .npz file: one layer as three arrays, or what a library's parameters are called.

``np.savez(path, wMatrix=W, uMatrix=U, biases=b)`` with ``W, U, b = layer.get_weights()`` of Keras'
GRU layer is the form that is written:

============  =====================  ===========================================================
key           shape                  meaning
============  =====================  ===========================================================
``wMatrix``   ``(I, 3H)``            kernel, blocks z, r, h
``uMatrix``   ``(H, 3H)``            recurrent kernel, likewise
``biases``    ``(2, 3H)``            ``reset_after=True``; row 0 input side, row 1 state side
``biases``    ``(3H,)``              ``reset_after=False``; one bias
============  =====================  ===========================================================

It holds nothing else, so the activations are tanh and sigmoid. A file without any of these keys is
read by its arrays' names, as the libraries have them (``jaxgru.weights.libraries``).
``read`` gives NumPy arrays to the bit; ``write`` refuses what would not come back equal in value.
"""

from pathlib import Path
from typing import Any

import numpy as np

from jaxgru.net import Backward, Net
from jaxgru.params import GRUParams
from jaxgru.weights.contract import Look, Source
from jaxgru.weights.conventions import both_biases, check_variant, one_bias, only_layer
from jaxgru.weights.dtypes import check_floats
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.npz_arrays import plain, read_arrays
from jaxgru.weights.formats.zip import MAGIC
from jaxgru.weights.libraries import find
from jaxgru.weights.results import UNNAMED, Found, Gathered
from jaxgru.weights.unspecified import Settling

KEYS = ("wMatrix", "uMatrix", "biases")


def recognises(look: Look) -> bool:
    """Tell whether a file is a zip archive, as every .npz file is."""
    return look.head.startswith(MAGIC)


def read(source: Source) -> Gathered:
    """Return the GRUs in an open .npz file.

    Raises:
        WeightsError: the file is damaged or holds no GRU; or an array of the three is missing, of
            another type than float16, float32 or float64, or of a shape that does not fit, or
            there are others beside them.
    """
    arrays: dict[str, Any] = read_arrays(source)
    if not arrays.keys() & set(KEYS):
        return find(arrays, source.assume)
    _check_keys(list(arrays))
    for key in KEYS:
        check_floats({key: arrays[key]})
    kernel, recurrent_kernel, biases = (arrays[key] for key in KEYS)
    _check_shapes(kernel.shape, recurrent_kernel.shape, biases.shape)
    reset_after = biases.ndim == 2
    params = GRUParams(
        kernel=kernel,
        recurrent_kernel=recurrent_kernel,
        bias=biases[0] if reset_after else biases,
        recurrent_bias=biases[1] if reset_after else None,
        reset_after=Settling(source.assume).pick("reset_after", reset_after),
        activation=source.assume.get("activation", "tanh"),
        recurrent_activation=source.assume.get("recurrent_activation", "sigmoid"),
    )
    return {UNNAMED: Found(Backward(params) if source.assume.get("reverse") else params)}


def write(net: Net, path: Path) -> None:
    """Write a net of one layer, given as NumPy arrays.

    A bias that is None is written as zeros, as the format has no other way to say so.

    Raises:
        WeightsError: the format cannot hold this net.
    """
    params = only_layer(net, "npz")
    check_variant(params, "npz")
    for field in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        value = getattr(params, field)
        if value is not None and value.dtype not in (np.float16, np.float32, np.float64):
            raise WeightsError(
                f"{field} has dtype {value.dtype}: expected float16, float32 or float64, as npz "
                "holds no other; convert it first, with astype"
            )
    bias, recurrent_bias = both_biases(params)
    if params.reset_after:
        biases = np.stack([bias, recurrent_bias])
    else:  # both are added outside the reset gate, so that one can say it
        biases = one_bias(bias, recurrent_bias, "npz")
    with open(path, "wb") as file:  # np.savez would add an ending to a path
        np.savez(file, wMatrix=params.kernel, uMatrix=params.recurrent_kernel, biases=biases)


def _check_keys(names: list[str]) -> None:
    wrong = {
        "missing": [key for key in KEYS if key not in names],
        "unknown": [plain(name) for name in sorted(set(names) - set(KEYS))[:5]],
    }
    found = [f"{', '.join(some)} is {what}" for what, some in wrong.items() if some]
    if found:
        raise WeightsError(f"{', and '.join(found)}: expected exactly {', '.join(KEYS)}")


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

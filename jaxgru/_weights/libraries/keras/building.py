"""Building Keras layers for a net, and using Keras without changing global settings."""

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import jax
from jax.dtypes import canonicalize_dtype

from jaxgru._net import MERGES, Net, parts
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import Capabilities, Layer, arrays_of, has_bias
from jaxgru._weights.dtypes import check_floats
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries.keras.arrays import to_arrays
from jaxgru._weights.libraries.keras.config import keras_names


def keras_layers(keras: Any, net: Net) -> list[Layer]:
    """Return the layers of a net, each of which fits a Keras layer."""
    known = tuple(keras_names(keras.__version__))
    fields = {"clip": (None,), "activation": known, "recurrent_activation": known}
    holder = Capabilities(
        f"Keras {keras.__version__}", fields, merges=MERGES, has_backward=True, has_stacks=True
    )
    layers = holder.layers(net)
    for layer in layers:
        for params in layer.sides.values():
            _check_dtype(keras, params)
    return layers


def build_layer(
    keras: Any,
    layer: Layer,
    *,
    name: str | None,
    return_sequences: bool,
    return_state: bool = False,
) -> Any:
    """Return a built Keras layer with the weights of a layer of ``keras_layers``."""
    options = {"return_sequences": return_sequences, "return_state": return_state}
    kind, *_ = parts(layer.net)
    if kind == "bidirectional":
        forward, backward = layer.net.forward, layer.net.backward
        built = keras.layers.Bidirectional(
            _new_gru(keras, forward, "gru", options),
            backward_layer=_new_gru(keras, backward, "backward_gru", options, go_backwards=True),
            merge_mode=layer.net.merge,
            name=name,
            dtype=forward.dtype.name,
        )
        built.build((None, None, forward.input_size))
        # Keras has replaced the forward layer with a new one.
        _fill(keras, built.forward_layer, forward)
        _fill(keras, built.backward_layer, backward)
        return built
    is_backward = kind == "backward"
    if is_backward and return_sequences:
        raise WeightsError(
            f"{layer.place} is a Backward, whose outputs are in the order of the input: expected a "
            "forward net, or return_sequences=False, because Keras' go_backwards returns its "
            "outputs last step first"
        )
    (params,) = layer.sides.values()
    built = _new_gru(keras, params, name, options, go_backwards=is_backward)
    built.build((None, None, params.input_size))
    _fill(keras, built, params)
    return built


def _new_gru(
    keras: Any,
    params: GRUParams,
    name: str | None,
    options: dict[str, bool],
    *,
    go_backwards: bool = False,
) -> Any:
    names: dict[Any, str] = {**keras_names(keras.__version__)}
    return keras.layers.GRU(
        params.hidden_size,
        activation=names[params.activation],
        recurrent_activation=names[params.recurrent_activation],
        use_bias=has_bias(params),
        reset_after=params.reset_after,
        go_backwards=go_backwards,
        # The initializers of Keras take time and do not support half precision.
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        dtype=params.dtype.name,
        name=name,
        **options,
    )


def _fill(keras: Any, layer: Any, params: GRUParams) -> None:
    # A new model of this configuration should use the initializers of Keras.
    layer.cell.kernel_initializer = keras.initializers.GlorotUniform()
    layer.cell.recurrent_initializer = keras.initializers.Orthogonal()
    layer.cell.set_weights(to_arrays(params))


def _check_dtype(keras: Any, params: GRUParams) -> None:
    check_floats(arrays_of(params))
    if keras.config.backend() == "jax" and params.dtype != canonicalize_dtype(params.dtype):
        raise WeightsError(
            "the layer has float64 weights, which Keras' JAX backend rounds: expected "
            'jax.config.update("jax_enable_x64", True) before'
        )


@contextlib.contextmanager
def using_keras(purpose: str) -> Iterator[Any]:
    """Yield Keras, and restore the settings of the caller after the block.

    Keras chooses its backend at the first import: JAX, unless ``KERAS_BACKEND`` is set. It requires
    the default promotion of JAX, draws seeds from ``random`` at its import and for each
    initializer, and converts variables to NumPy arrays in a way that NumPy 2 warns about.
    ``purpose`` is the feature that needs Keras, for the error.
    """
    state = random.getstate()
    try:
        with (
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            yield _import_keras(purpose)
    finally:
        random.setstate(state)


def _import_keras(purpose: str) -> Any:
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        keras = need("keras", "keras", purpose)
    else:
        os.environ["KERAS_BACKEND"] = "jax"
        try:
            keras = need("keras", "keras", purpose)
        finally:
            del os.environ["KERAS_BACKEND"]
    version = str(keras.__version__)
    if int(version.partition(".")[0]) < 3:
        raise ImportError(
            f'{purpose} needs Keras 3, and {version} is installed: pip install "jaxgru[keras]"'
        )
    return keras

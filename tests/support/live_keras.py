"""Keras layers of every variant, and the files that Keras makes of them: the oracle of its formats.

Keras is imported on the first call; who calls skips the test before where it is not installed.
"""

import functools
import warnings

import jax
import numpy as np

INPUTS, UNITS, STEPS = 3, 4, 50


def variants():
    """Return the names of all variants."""
    return [*USUAL, *ACTIVATIONS]


def build(variant, key, dtype="float32"):
    """Return a built layer with random weights, biases included, that gives whole sequences."""
    if variant in USUAL:
        layer = USUAL[variant](dtype)
    else:
        activation, recurrent_activation = variant.split(", ")
        layer = gru(dtype, activation=activation, recurrent_activation=recurrent_activation)
    layer.build((None, None, INPUTS))
    randomise(layer, key)
    return layer


def randomise(layer, key):
    """Give a layer, or a model, random weights."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    # Gates away from 1/2, yet no blow-up within a few steps where activations are unbounded.
    layer.set_weights(
        [(0.25 * random.standard_normal(w.shape)).astype(w.dtype) for w in weights(layer)]
    )


def weights(layer):
    """Return what ``get_weights`` gives, which has NumPy 2 warn."""
    return [_keras().ops.convert_to_numpy(variable.value) for variable in layer.weights]


def inputs(key):
    """Return sequences of standard normal numbers, (2, 50, 3)."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return random.standard_normal((2, STEPS, INPUTS)).astype(np.float32)


def outputs(layer, xs):
    """Return a layer's outputs as ``jaxgru.gru`` gives those of its net."""
    ys = layer(xs)
    if isinstance(ys, list | tuple):
        return tuple(np.asarray(y) for y in ys)
    # Keras gives those of a backward layer last step first.
    return np.flip(ys, axis=1) if getattr(layer, "go_backwards", False) else np.asarray(ys)


def model_of(*layers):
    """Return a model of one layer after another."""
    xs = _keras().Input((None, INPUTS), dtype=layers[0].compute_dtype)
    return _keras().Model(xs, functools.reduce(lambda ys, layer: layer(ys), layers, xs))


def write(model, path):
    """Write a model to a file, ``.keras`` or ``.weights.h5``."""
    save = model.save_weights if str(path).endswith(".weights.h5") else model.save
    with warnings.catch_warnings():  # as in weights
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        save(path)


def gru(dtype="float32", **options):
    """Return a new GRU layer."""
    # Zeros: random numbers follow, and Keras' own cannot be drawn in half precision.
    options = {"return_sequences": True, "recurrent_initializer": "zeros"} | options
    return _keras().layers.GRU(UNITS, dtype=dtype, **options)


def _both(dtype, merge="concat", **options):
    return _keras().layers.Bidirectional(gru(dtype), merge_mode=merge, dtype=dtype, **options)


def _unlike(dtype):
    backward = gru(dtype, go_backwards=True, reset_after=False, activation="softsign")
    return _both(dtype, backward_layer=backward)


def _rnn(dtype, *cells):
    made = [
        _keras().layers.GRUCell(UNITS, dtype=dtype, recurrent_initializer="zeros", **options)
        for options in cells
    ]
    return _keras().layers.RNN(
        made[0] if len(made) == 1 else made, return_sequences=True, dtype=dtype
    )


# With the usual activations, but for one side.
USUAL = {
    "usual": gru,
    "no bias": functools.partial(gru, use_bias=False),
    "reset before": functools.partial(gru, reset_after=False),
    "reset before, no bias": functools.partial(gru, reset_after=False, use_bias=False),
    "go_backwards": functools.partial(gru, go_backwards=True),
    "RNN of a cell": lambda dtype: _rnn(dtype, {}),
    "RNN of cells": lambda dtype: _rnn(dtype, {}, {"reset_after": False}),
    "concat": _both,
    "sum": functools.partial(_both, merge="sum"),
    "mul": functools.partial(_both, merge="mul"),
    "ave": functools.partial(_both, merge="ave"),
    "pair": functools.partial(_both, merge=None),
    "unlike directions": _unlike,
}

# Those that Keras 3 has by the same names. A layer's two are unlike, so that neither is taken for
# the other.
_NAMES = [
    "tanh", "sigmoid", "hard_sigmoid", "hard_tanh", "relu", "relu6", "leaky_relu", "elu", "selu",
    "softplus", "softsign", "exponential", "linear", "silu", "gelu",
]  # fmt: skip
ACTIVATIONS = [
    f"{activation}, {gates}"
    for activation, gates in zip(_NAMES, _NAMES[5:] + _NAMES[:5], strict=True)
]


def _keras():
    import keras

    return keras

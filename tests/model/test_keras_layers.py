"""The layers of ``jaxgru.model`` against Keras', in models with random weights.

Tolerance: 1e-5 of the scale of the predictions, as both compute in float32 in other orders.
"""

import json
import warnings

import jax
import numpy as np
import pytest

from jaxgru._weights.defaults import Fields
from jaxgru._weights.libraries.keras.building import using_keras
from jaxgru._weights.libraries.keras.config import model_of
from jaxgru._weights.libraries.keras.models import build_model
from jaxgru._weights.libraries.keras.objects import from_keras

pytestmark = [pytest.mark.live, pytest.mark.filterwarnings("ignore:__array__ implementation")]
keras = pytest.importorskip("keras")


def _layers():
    L = keras.layers

    def gru(**o):
        return L.GRU(5, return_sequences=True, **o)

    return {
        "dense": [gru(), L.Dense(4, "relu"), L.Dense(3, activation="softmax", use_bias=False)],
        "time distributed": [
            gru(),
            L.TimeDistributed(L.Dense(4, "gelu")),
            L.TimeDistributed(L.LayerNormalization()),
        ],
        "masking": [L.Masking(0.5), gru(), L.Dense(2), L.GlobalAveragePooling1D()],
        "masked last state": [L.Masking(0.5), L.GRU(4)],
        "masked both directions": [
            L.Masking(0.5),
            L.Bidirectional(gru(), "sum"),
            L.Bidirectional(L.GRU(3)),
        ],
        "masked backward": [L.Masking(0.5), gru(go_backwards=True), L.Dense(2)],
        "masked zero output": [L.Masking(0.5), gru(zero_output_for_mask=True), L.Dense(2)],
        "cells": [L.RNN([L.GRUCell(4), L.GRUCell(3)], return_sequences=True), L.Dense(2)],
        "normalization": [
            L.BatchNormalization(epsilon=0.01),
            gru(),
            L.BatchNormalization(scale=False),
            L.LayerNormalization(center=False, epsilon=1e-4),
        ],
        "normalized vector": [L.GRU(4), L.BatchNormalization(center=False), L.LayerNormalization()],
        "convolution": [
            L.Conv1D(4, 3, padding="same", activation="relu"),
            L.MaxPooling1D(2, padding="same"),
            L.Conv1D(6, 3, padding="causal", dilation_rate=2, groups=2, use_bias=False),
            gru(),
        ],
        "strided convolution": [
            L.Conv1D(4, 4, strides=2, padding="same"),
            L.MaxPooling1D(3, 2),
            gru(),
            L.GlobalMaxPooling1D(),
        ],
        "masked convolution": [L.Masking(0.5), L.Conv1D(4, 3), gru()],
        "shapes": [
            L.GRU(6),
            L.Reshape((3, -1)),
            gru(),
            L.Flatten(),
            L.RepeatVector(3),
            gru(),
            L.GlobalAveragePooling1D(keepdims=True),
        ],
        "activation layers": [
            gru(),
            L.ReLU(0.6, 0.1, 0.05),
            L.LeakyReLU(0.2),
            L.ELU(),
            L.PReLU(shared_axes=[1]),
            L.Activation("tanh"),
            L.Softmax(),
        ],
        "nothing": [
            L.Dropout(0.3),
            L.SpatialDropout1D(0.2),
            gru(dropout=0.2, recurrent_dropout=0.1),
            L.GaussianNoise(0.1),
            L.GaussianDropout(0.1),
            L.AlphaDropout(0.2),
            L.ActivityRegularization(),
            L.Identity(),
        ],
    }


def _randomized(model, seed=0):
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        # Of the size that trained weights have: large ones make a GRU chaotic.
        scale = 1 / np.sqrt(max(weight.shape[0] if len(weight.shape) > 1 else 4, 4))
        drawn = rng.normal(size=weight.shape, scale=scale).astype("f4")
        weight.assign(np.abs(drawn) + 0.1 if "variance" in weight.name else drawn)
    return model


def _arrays(layer, prefix=""):
    found = {}
    for inner in getattr(layer, "layers", []):
        found |= _arrays(inner, f"{prefix}{inner.name}/")
    if not found:
        found = {f"{prefix}{w.name}": np.asarray(w) for w in layer.weights}
    return found


def _loaded(model):
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    nets = {}

    def grus(outer, prefix):
        for layer in outer.layers:
            if hasattr(layer, "layers"):
                grus(layer, f"{prefix}{layer.name}/")
            elif isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    nets[prefix + layer.name] = from_keras(layer)

    grus(model, "")
    return build_model(
        model_of(config), nets.__getitem__, _arrays(model), keras.__version__, Fields({})
    )


@pytest.mark.parametrize("name", _layers())
def test_a_chain_predicts_as_keras_does(name):
    xs = np.random.default_rng(1).normal(size=(3, 6, 4)).astype("f4")
    xs[0, 4:] = xs[1, 0] = xs[1, 2] = 0.5  # masked, where there is a Masking
    with using_keras("test"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = _randomized(keras.Sequential([keras.Input((6, 4)), *_layers()[name]]))
        want = np.asarray(model(xs))
    ours = _loaded(model)
    got = jax.jit(ours)(xs)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())
    np.testing.assert_allclose(ours(xs[1]), want[1], rtol=0, atol=1e-5 * np.abs(want).max())

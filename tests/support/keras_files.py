"""Whole models in Keras' files, made without Keras: its layout, with random weights.

Of the groups, Keras names one for each layer by its class: ``layers/gru/cell``.
"""

import golden_keras
import numpy as np
from golden_keras import gru_config, layer_config

INPUTS, UNITS, WORDS, CLASSES = 3, 4, 9, 3


def draw(seed, *shapes):
    """Return random arrays in float32."""
    random = np.random.default_rng(seed)
    return [random.normal(size=shape, scale=0.5).astype(np.float32) for shape in shapes]


def write_regressor(path, outputs=2):
    """Write Masking, a GRU of every step and a Dense; return the arrays of both."""
    content = {
        "layers/gru/cell": golden_keras.arrays(0),
        "layers/dense": draw(1, (UNITS, outputs), (outputs,)),
    }
    layers = [
        _input([None, None, INPUTS], "float32"),
        layer_config("Masking", "masking", mask_value=0.0),
        gru_config("encoder"),
        layer_config("Dense", "readout", units=outputs, activation="linear", use_bias=True),
    ]
    golden_keras.write_keras(path, layers, content, class_name="Sequential")
    return content


def write_classifier(path, activation="softmax", classes=CLASSES):
    """Write Embedding with a mask, the last state of a GRU and a Dense; return the arrays."""
    content = {
        "layers/embedding": draw(2, (WORDS, INPUTS)),
        "layers/gru/cell": golden_keras.arrays(3),
        "layers/dense": draw(4, (UNITS, classes), (classes,)),
    }
    layers = [
        _input([None, None], "int32"),
        layer_config("Embedding", "words", input_dim=WORDS, output_dim=INPUTS, mask_zero=True),
        gru_config("summary", return_sequences=False),
        layer_config("Dense", "out", units=classes, activation=activation, use_bias=True),
    ]
    golden_keras.write_keras(path, layers, content, class_name="Sequential")
    return content


def _input(shape, dtype):
    return layer_config("InputLayer", "input_layer", batch_shape=shape, dtype=dtype)

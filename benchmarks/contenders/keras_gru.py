"""Keras on JAX: ``keras.layers.GRU`` and ``keras.layers.GRUCell``, without state, in ``jax.jit``.

The ``unroll`` of the layer unrolls all steps, which is too slow for these lengths, so it is off.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "jax")  # read once, when keras is imported

import jax
import keras
import numpy as np

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Array, Shape, Weights


class Keras(JaxContender):
    """``stateless_call``, as in the training step of Keras on JAX."""

    def __init__(self) -> None:
        if keras.config.backend() != "jax":
            raise ValueError(f"keras runs on {keras.config.backend()}: set KERAS_BACKEND=jax")

    def weights(self, weights: Weights) -> list[Array]:
        biases = np.stack([weights.bias, weights.recurrent_bias])
        return [weights.kernel, weights.recurrent_kernel, biases]

    def layer(self, shape: Shape) -> Apply:
        layer = keras.layers.GRU(shape.units, return_sequences=True)
        layer.build((shape.batch, shape.time, shape.inputs))
        rest = [variable.value for variable in layer.non_trainable_variables]

        def apply(weights: list[Array], h: jax.Array, xs: jax.Array) -> jax.Array:
            return layer.stateless_call(weights, rest, xs, initial_state=[h])[0]

        return apply

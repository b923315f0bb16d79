"""Keras on JAX: ``keras.layers.GRU`` called without state inside ``jax.jit``."""

import os
from collections.abc import Callable

os.environ.setdefault("KERAS_BACKEND", "jax")  # read once, when keras is imported

import jax
import keras
import numpy as np

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Array, Shape, Weights


class Keras(JaxContender):
    """``stateless_call``, as in Keras' own training step on JAX."""

    name = "keras-jax"

    def weights(self, weights: Weights) -> list[Array]:
        """See Contender."""
        biases = np.stack([weights.bias, weights.recurrent_bias])
        return [weights.kernel, weights.recurrent_kernel, biases]

    def layer(self, shape: Shape) -> Callable[[list[Array], jax.Array], jax.Array]:
        """See JaxContender."""
        layer = keras.layers.GRU(shape.units, return_sequences=True)
        layer.build((shape.batch, shape.time, shape.inputs))
        rest = [variable.value for variable in layer.non_trainable_variables]
        return lambda weights, xs: layer.stateless_call(weights, rest, xs)[0]

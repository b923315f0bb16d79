"""Flax Linen: ``nn.RNN(nn.GRUCell)``."""

from typing import Any

import jax
from flax import linen as nn

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Shape, Weights, blocks


class FlaxLinen(JaxContender):
    """Its cell has six products per step, one for each gate and side."""

    def weights(self, weights: Weights) -> dict[str, Any]:
        bias_z, bias_r, bias_n = blocks(weights.bias)
        hidden_z, hidden_r, hidden_n = blocks(weights.recurrent_bias)
        input_z, input_r, input_n = blocks(weights.kernel)
        state_z, state_r, state_n = blocks(weights.recurrent_kernel)
        return {
            "iz": {"kernel": input_z, "bias": bias_z + hidden_z},
            "ir": {"kernel": input_r, "bias": bias_r + hidden_r},
            "in": {"kernel": input_n, "bias": bias_n},
            "hz": {"kernel": state_z},
            "hr": {"kernel": state_r},
            "hn": {"kernel": state_n, "bias": hidden_n},
        }

    def layer(self, shape: Shape) -> Apply:
        rnn = nn.RNN(nn.GRUCell(shape.units), unroll=self.unroll)

        def apply(weights: dict[str, Any], h: jax.Array, xs: jax.Array) -> jax.Array:
            return rnn.apply({"params": {"cell": weights}}, xs, initial_carry=h)

        return apply

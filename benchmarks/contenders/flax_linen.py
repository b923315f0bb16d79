"""Flax Linen: ``nn.RNN(nn.GRUCell)``."""

from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights, blocks


class FlaxLinen(JaxContender):
    """Six products a step, one for each gate and side, as its cell has them."""

    name = "flax linen"

    def weights(self, weights: Weights) -> dict[str, Any]:
        """See Contender."""
        bias_z, bias_r, bias_n = blocks(weights.bias)
        hidden_z, hidden_r, hidden_n = blocks(weights.recurrent_bias)
        from_input = dict(zip("zrn", blocks(weights.kernel), strict=True))
        from_state = dict(zip("zrn", blocks(weights.recurrent_kernel), strict=True))
        return {
            "iz": {"kernel": from_input["z"], "bias": bias_z + hidden_z},
            "ir": {"kernel": from_input["r"], "bias": bias_r + hidden_r},
            "in": {"kernel": from_input["n"], "bias": bias_n},
            "hz": {"kernel": from_state["z"]},
            "hr": {"kernel": from_state["r"]},
            "hn": {"kernel": from_state["n"], "bias": hidden_n},
        }

    def layer(self, shape: Shape) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
        """See JaxContender."""
        rnn = nn.RNN(nn.GRUCell(shape.units))
        return lambda weights, xs: rnn.apply({"params": {"cell": weights}}, xs)

"""Flax NNX: ``nnx.RNN(nnx.GRUCell)``."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights, blocks, reset_first


class FlaxNnx(JaxContender):
    """The functional form, split and merged: ``nnx.jit`` would cost more at each call."""

    name = "flax nnx"
    candidate_bias = False

    def weights(self, weights: Weights) -> dict[str, Any]:
        """See Contender."""
        update, reset, candidate = blocks(weights.recurrent_bias)
        outside = np.concatenate([update, reset, np.zeros_like(candidate)])
        return {
            "dense_i": {
                "kernel": reset_first(weights.kernel),
                "bias": reset_first(weights.bias + outside),
            },
            "dense_h": {"kernel": reset_first(weights.recurrent_kernel)},
        }

    def layer(self, shape: Shape) -> Callable[[dict[str, Any], jax.Array], jax.Array]:
        """See JaxContender."""
        rnn = nnx.RNN(nnx.GRUCell(shape.inputs, shape.units, rngs=nnx.Rngs(0)), rngs=False)
        graph, state = nnx.split(rnn, nnx.Param)

        def apply(weights: dict[str, Any], xs: jax.Array) -> jax.Array:
            filled = jax.tree.map(lambda leaf: leaf, state)
            nnx.replace_by_pure_dict(filled, {"cell": weights})
            h0 = jnp.zeros((shape.batch, shape.units), xs.dtype)
            return nnx.merge(graph, filled)(xs, initial_carry=h0)

        return apply

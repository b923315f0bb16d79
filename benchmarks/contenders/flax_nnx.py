"""Flax NNX: ``nnx.RNN(nnx.GRUCell)``."""

from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Shape, Weights, blocks, reset_first


class FlaxNnx(JaxContender):
    """The functional form, split and merged, because ``nnx.jit`` has more overhead per call."""

    candidate_bias = False

    def weights(self, weights: Weights) -> dict[str, Any]:
        update, reset, candidate = blocks(weights.recurrent_bias)
        outside = np.concatenate([update, reset, np.zeros_like(candidate)])
        return {
            "dense_i": {
                "kernel": reset_first(weights.kernel),
                "bias": reset_first(weights.bias + outside),
            },
            "dense_h": {"kernel": reset_first(weights.recurrent_kernel)},
        }

    def layer(self, shape: Shape) -> Apply:
        def apply(weights: dict[str, Any], h: jax.Array, xs: jax.Array) -> jax.Array:
            rnn = nnx.RNN(_filled_cell(shape, weights), unroll=self.unroll, rngs=False)
            return rnn(xs, initial_carry=h)

        return apply


def _filled_cell(shape: Shape, weights: dict[str, Any]) -> nnx.GRUCell:
    # Runs only while JAX traces.
    cell = nnx.eval_shape(lambda: nnx.GRUCell(shape.inputs, shape.units, rngs=nnx.Rngs(0)))
    graph, state = nnx.split(cell)
    nnx.replace_by_pure_dict(state, weights)
    return nnx.merge(graph, state)

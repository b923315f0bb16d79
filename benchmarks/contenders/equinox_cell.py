"""Equinox: ``eqx.nn.GRUCell``, scanned over time and mapped over the batch."""

import equinox as eqx
import jax
import numpy as np
from jax import lax

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Shape, Weights, blocks, reset_first


class Equinox(JaxContender):
    """The cell takes one example, as in its documentation; ``jax.vmap`` adds the batch."""

    def weights(self, weights: Weights) -> eqx.nn.GRUCell:
        update, reset, candidate = blocks(weights.recurrent_bias)
        outside = np.concatenate([update, reset, np.zeros_like(candidate)])
        (inputs, _), (units, _) = weights.kernel.shape, weights.recurrent_kernel.shape
        return eqx.tree_at(
            lambda cell: (cell.weight_ih, cell.weight_hh, cell.bias, cell.bias_n),
            eqx.nn.GRUCell(inputs, units, key=jax.random.key(0)),
            (
                reset_first(weights.kernel).T,
                reset_first(weights.recurrent_kernel).T,
                reset_first(weights.bias + outside),
                candidate,
            ),
        )

    def layer(self, shape: Shape) -> Apply:
        def one_sequence(cell: eqx.nn.GRUCell, h: jax.Array, xs: jax.Array) -> jax.Array:
            def body(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                h = cell(x, h)
                return h, h

            return lax.scan(body, h, xs, unroll=self.unroll)[1]

        return jax.vmap(one_sequence, in_axes=(None, 0, 0))

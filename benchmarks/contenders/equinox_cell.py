"""Equinox: ``eqx.nn.GRUCell``, scanned over time and mapped over the batch."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights, blocks, reset_first


class Equinox(JaxContender):
    """The cell takes one example, as its documentation shows; the batch is ``jax.vmap``'s."""

    name = "equinox"

    def weights(self, weights: Weights) -> eqx.nn.GRUCell:
        """See Contender."""
        inputs, units = weights.kernel.shape[0], weights.recurrent_kernel.shape[0]
        update, reset, candidate = blocks(weights.recurrent_bias)
        outside = jnp.concatenate([update, reset, jnp.zeros(units, jnp.float32)])
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

    def layer(self, shape: Shape) -> Callable[[eqx.nn.GRUCell, jax.Array], jax.Array]:
        """See JaxContender."""

        def one_sequence(cell: eqx.nn.GRUCell, xs: jax.Array) -> jax.Array:
            def body(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                h = cell(x, h)
                return h, h

            return lax.scan(body, jnp.zeros(cell.hidden_size, xs.dtype), xs)[1]

        return jax.vmap(one_sequence, in_axes=(None, 0))

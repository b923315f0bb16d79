"""jaxgru, without options."""

from collections.abc import Callable

import jax

import jaxgru
from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights

Apply = Callable[[jaxgru.GRUParams, jax.Array, jax.Array], jax.Array]


class Jaxgru(JaxContender):
    """``jaxgru.gru`` and ``jaxgru.gru_cell``."""

    def weights(self, weights: Weights) -> jaxgru.GRUParams:
        """See Contender."""
        return jaxgru.GRUParams(*weights)

    def layer(self, shape: Shape) -> Apply:
        """See JaxContender."""
        return lambda params, h, xs: jaxgru.gru(params, xs, h)[0]

    def cell(self, shape: Shape) -> Apply:
        """See JaxContender."""
        return jaxgru.gru_cell

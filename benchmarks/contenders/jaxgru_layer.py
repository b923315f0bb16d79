"""jaxgru: the contender this project enters."""

from collections.abc import Callable

import jax

import jaxgru
from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights


class Jaxgru(JaxContender):
    """``jaxgru.gru`` as it is called without any option."""

    name = "jaxgru"

    def weights(self, weights: Weights) -> jaxgru.GRUParams:
        """See Contender."""
        return jaxgru.GRUParams(*weights)

    def layer(self, shape: Shape) -> Callable[[jaxgru.GRUParams, jax.Array], jax.Array]:
        """See JaxContender."""
        return lambda params, xs: jaxgru.gru(params, xs)[0]

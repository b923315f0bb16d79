"""Haiku: ``hk.GRU`` under ``hk.dynamic_unroll``."""

from collections.abc import Callable

import haiku as hk
import jax
import numpy as np

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Array, Shape, Weights, blocks


class Haiku(JaxContender):
    """The reset gate before the product, one bias, and an update gate of the other sign."""

    name = "haiku"
    reset_after = False
    time_major = True

    def weights(self, weights: Weights) -> dict[str, dict[str, Array]]:
        """See Contender."""

        def negate_update(weight: Array) -> Array:
            update, reset, candidate = blocks(weight)
            return np.concatenate([-update, reset, candidate], axis=-1)

        return {
            "gru": {
                "w_i": negate_update(weights.kernel),
                "w_h": negate_update(weights.recurrent_kernel),
                "b": negate_update(weights.bias + weights.recurrent_bias),
            }
        }

    def layer(self, shape: Shape) -> Callable[[hk.Params, jax.Array], jax.Array]:
        """See JaxContender."""

        def unroll(xs: jax.Array) -> jax.Array:
            core = hk.GRU(shape.units)
            return hk.dynamic_unroll(core, xs, core.initial_state(shape.batch))[0]

        apply = hk.without_apply_rng(hk.transform(unroll)).apply
        return lambda params, xs: apply(params, xs)

"""Haiku: ``hk.GRU`` under ``hk.dynamic_unroll``."""

import haiku as hk
import jax
import numpy as np

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Array, Shape, Weights, blocks


class Haiku(JaxContender):
    """The reset gate is before the product; one bias; a complemented update gate."""

    reset_after = False
    time_major = True

    def weights(self, weights: Weights) -> dict[str, dict[str, Array]]:
        return {
            "gru": {
                "w_i": _negate_update(weights.kernel),
                "w_h": _negate_update(weights.recurrent_kernel),
                "b": _negate_update(weights.bias + weights.recurrent_bias),
            }
        }

    def layer(self, shape: Shape) -> Apply:
        def states(h: jax.Array, xs: jax.Array) -> jax.Array:
            return hk.dynamic_unroll(hk.GRU(shape.units), xs, h, unroll=self.unroll)[0]

        return hk.without_apply_rng(hk.transform(states)).apply


def _negate_update(weight: Array) -> Array:
    update, reset, candidate = blocks(weight)
    return np.concatenate([-update, reset, candidate], axis=-1)

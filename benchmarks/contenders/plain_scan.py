"""The GRU that a user of JAX writes in ten lines: the textbook's step under ``lax.scan``."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contenders.contender import JaxContender
from benchmarks.problem import Shape, Weights


class PlainScan(JaxContender):
    """Both products inside the loop, derivative by JAX."""

    name = "plain scan"

    def weights(self, weights: Weights) -> Weights:
        """See Contender."""
        return weights

    def layer(self, shape: Shape) -> Callable[[Weights, jax.Array], jax.Array]:
        """See JaxContender."""

        def apply(weights: Weights, xs: jax.Array) -> jax.Array:
            def body(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                h = cell(weights, h, x)
                return h, h

            h0 = jnp.zeros((xs.shape[0], shape.units), xs.dtype)
            return jnp.swapaxes(lax.scan(body, h0, jnp.swapaxes(xs, 0, 1))[1], 0, 1)

        return apply


def cell(weights: Weights, h: jax.Array, x: jax.Array) -> jax.Array:
    """Return the state after one step."""
    xz, xr, xn = jnp.split(x @ weights.kernel + weights.bias, 3, axis=-1)
    hz, hr, hn = jnp.split(h @ weights.recurrent_kernel + weights.recurrent_bias, 3, axis=-1)
    z = jax.nn.sigmoid(xz + hz)
    r = jax.nn.sigmoid(xr + hr)
    n = jnp.tanh(xn + r * hn)
    return z * h + (1 - z) * n

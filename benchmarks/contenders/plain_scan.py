"""A GRU in ten lines of JAX: the textbook step under ``lax.scan``."""

import jax
import jax.numpy as jnp
from jax import lax

from benchmarks.contenders.contender import Apply, JaxContender
from benchmarks.problem import Shape, Weights


class PlainScan(JaxContender):
    """Both products in the loop, with the derivative by JAX."""

    def weights(self, weights: Weights) -> Weights:
        return weights

    def layer(self, shape: Shape) -> Apply:
        def apply(weights: Weights, h: jax.Array, xs: jax.Array) -> jax.Array:
            def body(h: jax.Array, x: jax.Array) -> tuple[jax.Array, jax.Array]:
                h = _step(weights, h, x)
                return h, h

            _, ys = lax.scan(body, h, jnp.swapaxes(xs, 0, 1), unroll=self.unroll)
            return jnp.swapaxes(ys, 0, 1)

        return apply


def _step(weights: Weights, h: jax.Array, x: jax.Array) -> jax.Array:
    xz, xr, xn = jnp.split(x @ weights.kernel + weights.bias, 3, axis=-1)
    hz, hr, hn = jnp.split(h @ weights.recurrent_kernel + weights.recurrent_bias, 3, axis=-1)
    z = jax.nn.sigmoid(xz + hz)
    r = jax.nn.sigmoid(xr + hr)
    n = jnp.tanh(xn + r * hn)
    return z * h + (1 - z) * n

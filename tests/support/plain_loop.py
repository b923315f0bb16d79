"""The oracle for derivatives: a scan over the oracle's own step.

JAX differentiates it through every operation, by no rule of jaxgru's.
"""

import functools

import jax
import jax.numpy as jnp
import net_oracle
import numpy as np
import oracle


def plain_loop(params, xs, h0, *, reverse=False):
    """Return the states (B, T, H) and the last state (B, H) for xs (B, T, I) and h0 (B, H)."""
    return plain_net(params, xs, h0, reverse=reverse)


def plain_net(
    net, xs, h0, *, valid=None, resets=None, reset_state=None, reverse=False, factors=None
):
    """Return what ``net_oracle.run`` returns, for JAX to differentiate; flags are NumPy's."""
    valid = np.ones(xs.shape[:2], bool) if valid is None else valid
    resets = np.zeros(xs.shape[:2], bool) if resets is None else resets
    layer = functools.partial(_layer, valid, resets)
    reset_state = h0 if reset_state is None else reset_state
    return net_oracle.walk(layer, net, xs, h0, reset_state, factors, reverse=reverse)


def weighted_loss(outputs, weights):
    """Return the sum of all outputs, each with a weight: a plain sum would hide swapped steps."""
    return sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True))


def _layer(valid, resets, params, xs, h0, reset_state, factors, reverse):
    factor = jnp.broadcast_to(jnp.asarray(factors.state, h0.dtype), h0.shape)

    @jax.vmap
    def step(h, x, factor):
        return oracle.cell(params, h, x, factor, xp=jnp)["h"]

    def body(h, at):
        x, valid, cut = at
        h = jnp.where(cut[:, None], reset_state, h)
        h = jnp.where(valid[:, None], step(h, x, factor), h)
        return h, h

    sequences = xs * factors.inputs, valid, _cuts(valid, resets, reverse)
    by_time = (jnp.swapaxes(array, 0, 1) for array in sequences)
    h, ys = jax.lax.scan(body, h0, tuple(by_time), reverse=reverse)
    return jnp.swapaxes(ys, 0, 1), h


def _cuts(valid, resets, reverse):
    """Return where the state starts anew: at the first step of an episode in the order of running.

    Backwards that is the last step that counts before the first one of the next episode.
    """
    cuts = np.zeros_like(valid)
    for row, steps in enumerate(map(np.flatnonzero, valid)):
        begins = resets[row, steps]
        at = steps[:-1][begins[1:]] if reverse else steps[begins]
        cuts[row, at] = True
    return cuts

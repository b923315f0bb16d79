"""The oracle for derivatives of nets: the oracle's steps in a loop, for autograd to differentiate.

It is NumPy in double precision, and shares nothing with JAX but the structures of arrays.
"""

import functools

import autograd
import autograd.numpy as np
import jax
import net_oracle
import oracle


def plain_loop(
    net, xs, h0, *, valid=None, resets=None, reset_state=None, reverse=False, factors=None
):
    """Return what ``net_oracle.run`` returns."""
    valid = np.ones(xs.shape[:2], bool) if valid is None else valid
    resets = np.zeros(xs.shape[:2], bool) if resets is None else resets
    layer = functools.partial(_layer, valid, resets)
    reset_state = jax.tree.map(lambda h: 0.0 * h, h0) if reset_state is None else reset_state
    return net_oracle.walk(layer, net, xs, h0, reset_state, factors, reverse=reverse)


def gradient(function, arguments, weights):
    """Return the gradient of the sum of all outputs, each times its number in ``weights``."""
    leaves, structure = jax.tree.flatten(arguments)
    loss = _loss(function, structure)
    return structure.unflatten(autograd.grad(loss)(leaves, jax.tree.leaves(weights)))


def derivatives(function, arguments, direction, weights):
    """Return what ``second_order.to_second_order`` returns, without the outputs."""
    leaves, structure = jax.tree.flatten(arguments)
    direction = jax.tree.leaves(direction)
    weights, outputs_structure = jax.tree.flatten(weights)
    loss = _loss(function, structure)

    def slope(leaves, weights):
        return _inner(autograd.grad(loss)(leaves, weights), direction)

    # The loss is linear in its weights, so the tangents of the outputs are the slope's gradient.
    second, tangents = autograd.grad(slope, (0, 1))(leaves, weights)
    return {
        "gradient": structure.unflatten(autograd.grad(loss)(leaves, weights)),
        "tangents": outputs_structure.unflatten(tangents),
        "second": structure.unflatten(second),
    }


def _loss(function, structure):
    def loss(leaves, weights):
        outputs = jax.tree.leaves(function(structure.unflatten(leaves)))
        # autograd warns of a loss that depends on nothing, as that of no steps from no state.
        return _inner(outputs, weights) + 0.0 * _inner(leaves, leaves)

    return loss


def _inner(arrays, others):
    return sum(np.sum(one * other) for one, other in zip(arrays, others, strict=True))


def _layer(valid, resets, params, xs, h0, reset_state, factors, reverse):
    rows, steps, _ = xs.shape
    xs, cuts = xs * factors.inputs, _cuts(valid, resets, reverse)
    h, ys = h0, []
    for t in reversed(range(steps)) if reverse else range(steps):
        h = np.where(cuts[:, t, None], reset_state, h)
        moved = oracle.cell(params, h, xs[:, t], factors.state, xp=np)["h"]
        h = np.where(valid[:, t, None], moved, h)
        ys.append(h)
    if not steps:
        return np.zeros((rows, 0, params.hidden_size)), h
    return np.stack(ys[::-1] if reverse else ys, axis=1), h


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

"""What dropout draws, found from outside: by nets whose states are what enters their products."""

import jax
import jax.numpy as jnp
import nets
import numpy as np
from net_oracle import Factors

import jaxgru


def factors(net, rows, steps, key, *, dropout, recurrent_dropout):
    """Return the ``Factors`` of each layer, in the structure of the net, for (rows, steps) of xs.

    Every state of the probing nets is 1, and so is every input, but for a first unit that adds one
    number as it enters the product. Of each sequence one step at a time counts.
    """
    layers, structure = jax.tree.flatten(net, is_leaf=nets.is_layer)
    rows_of = [layer.input_size + layer.hidden_size for layer in layers]
    kernels, recurrent_kernels = [], []
    for i, layer in enumerate(layers):
        joint = np.zeros((sum(rows_of), rows_of[i], 3 * layer.hidden_size))
        own = np.arange(rows_of[i])
        joint[sum(rows_of[:i]) + own, own, 2 * layer.hidden_size] = 1
        kernels.append(joint[:, : layer.input_size])
        recurrent_kernels.append(joint[:, layer.input_size :])

    def first_units(kernels, recurrent_kernels, step):
        probe = structure.unflatten(
            jaxgru.GRUParams(
                jnp.asarray(kernel),
                jnp.asarray(recurrent_kernel),
                # The update gate shut, the reset gate open, the candidate 1.
                bias=jnp.repeat(jnp.array([-100.0, 100.0, 1.0]), len(recurrent_kernel)),
                activation="linear",
            )
            for kernel, recurrent_kernel in zip(kernels, recurrent_kernels, strict=True)
        )
        xs = jnp.ones((rows, steps, layers[0].input_size))
        h0 = jax.tree.map(lambda layer: jnp.ones(layer.hidden_size), net, is_leaf=nets.is_layer)
        mask = jnp.broadcast_to(jnp.arange(steps) == step, (rows, steps))
        drop = {"dropout": dropout, "recurrent_dropout": recurrent_dropout, "key": key}
        _, h = jaxgru.gru(probe, xs, h0, mask=mask, **drop)
        return jnp.stack([leaf[:, 0] for leaf in jax.tree.leaves(h)])

    every_step = jax.vmap(first_units, (None, None, 0))
    every_number = jax.vmap(every_step, (0, 0, None))
    every_number = jax.jit(every_number)
    arrays = jax.tree.map(jnp.asarray, (kernels, recurrent_kernels, np.arange(steps)))
    entered = np.asarray(every_number(*arrays)) - 1  # (numbers, steps, layers, rows)

    found = []
    for i, layer in enumerate(layers):
        own = entered[sum(rows_of[:i]) :][: rows_of[i], :, i]
        inputs, state = np.split(np.moveaxis(own, 0, -1), [layer.input_size], axis=-1)
        rate = getattr(dropout, "rate", dropout)
        found.append(
            Factors(_exact(np.swapaxes(inputs, 0, 1), rate), _exact(state[0], recurrent_dropout))
        )
    return structure.unflatten(found)


def _exact(found, rate):
    """Return numbers that were dropped, left alone or scaled up, without what rounding added."""
    options = np.array([0, 1, 1 / (1 - rate)])
    return options[np.abs(found[..., None] - options).argmin(axis=-1)]

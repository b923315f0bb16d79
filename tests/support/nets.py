"""Nets for the tests, of 3 inputs, by name, and random states for them."""

import functools

import cases
import jax
import numpy as np

import jaxgru


def random_net(key, name, dtype=np.float32):
    """Return a net with random weights and biases."""
    make = functools.partial(cases.random_params, dtype=dtype)
    keys = iter(jax.random.split(key, 8))

    def both(inputs, units, merge="concat", **variant):
        sides = (make(next(keys), inputs, units, **variant) for _ in range(2))
        return jaxgru.Bidirectional(*sides, merge)

    def layer(inputs, units, **variant):
        return make(next(keys), inputs, units, **variant)

    build = {
        "layer": lambda: layer(3, 4),
        "reset before": lambda: layer(3, 4, reset_after=False),
        "stack": lambda: (layer(3, 4), layer(4, 2, reset_after=False)),
        "concat": lambda: both(3, 4),
        "sum": lambda: both(3, 4, "sum"),
        "mul": lambda: both(3, 4, "mul"),
        "ave": lambda: both(3, 4, "ave"),
        "pair": lambda: both(3, 4, None),
        "bidirectional stack": lambda: [both(3, 4), both(8, 4, "sum"), layer(4, 2)],
        "stacks in both directions": lambda: jaxgru.Bidirectional(
            (layer(3, 4), layer(4, 4)), [layer(3, 2), both(2, 2)]
        ),
        "backward": lambda: jaxgru.Backward(layer(3, 4)),
        "backward among others": lambda: (
            layer(3, 4),
            jaxgru.Backward((layer(4, 2), both(2, 2))),
        ),
    }
    return build[name]()


NAMES = [
    "layer",
    "reset before",
    "stack",
    "concat",
    "sum",
    "mul",
    "ave",
    "pair",
    "bidirectional stack",
    "stacks in both directions",
    "backward",
    "backward among others",
]


def random_state(key, net, batch):
    """Return a random state of the net's structure, (*batch, H) for each layer."""
    layers, structure = jax.tree.flatten(net, is_leaf=is_layer)
    keys = jax.random.split(key, len(layers))
    return structure.unflatten(
        [
            cases.random_inputs(k, (*batch, layer.hidden_size), layer.dtype)
            for k, layer in zip(keys, layers, strict=True)
        ]
    )


def is_layer(node):
    """Tell a layer from a structure of layers."""
    return isinstance(node, jaxgru.GRUParams)

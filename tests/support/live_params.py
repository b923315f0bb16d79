"""What the JAX libraries' layers have in common as oracles: random parameters, a loop, files."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np


def random_like(key, tree):
    """Return a tree of random arrays in the shapes of another: gates away from 1/2, 0 and 1."""
    leaves, structure = jax.tree.flatten(tree)
    keys = jax.random.split(key, len(leaves))
    pairs = zip(keys, leaves, strict=True)
    drawn = [0.5 * jax.random.normal(key, leaf.shape, leaf.dtype) for key, leaf in pairs]
    return jax.tree.unflatten(structure, drawn)


def scan(step, xs, units):
    """Return the states of ``step(h, x) -> h`` over ``xs (batch, time, inputs)`` from zeros."""

    def body(h, x):
        h = step(h, x)
        return h, h

    start = jnp.zeros((xs.shape[0], units), xs.dtype)
    return jax.lax.scan(body, start, xs.swapaxes(0, 1))[1].swapaxes(0, 1)


def flat(tree):
    """Return the arrays of nested dicts as NumPy's by their keys joined with slashes."""
    found = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            found |= {f"{key}/{name}": array for name, array in flat(value).items()}
        else:
            found[str(key)] = np.asarray(value)
    return found


def write(tree, path):
    """Write nested dicts of parameters to a file, as its name's ending says."""
    if path.suffix == ".msgpack":
        from flax import serialization

        path.write_bytes(serialization.to_bytes(tree))
    elif path.suffix == ".safetensors":
        from safetensors.numpy import save_file

        arrays = {name.replace("/", "."): array for name, array in flat(tree).items()}
        save_file({name: np.ascontiguousarray(array) for name, array in arrays.items()}, path)
    else:
        np.savez(path, **flat(tree))

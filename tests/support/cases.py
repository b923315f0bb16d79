"""Random weights and inputs for the tests. Biases are never zero: zeros hide a wrong gate order."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxgru

# Which of the two biases exist: (bias, recurrent_bias).
BIASES = {
    "no bias": (False, False),
    "input bias": (True, False),
    "recurrent bias": (False, True),
    "both biases": (True, True),
}


def random_params(key, inputs, units, *, biases="both biases", dtype=jnp.float32, **variant):
    """Return random ``GRUParams``; ``variant`` holds its static fields."""
    keys = jax.random.split(key, 4)
    shapes = [(inputs, 3 * units), (units, 3 * units), (3 * units,), (3 * units,)]
    # Gates away from 1/2, yet no blow-up within a few steps where activations are unbounded.
    arrays = [random_inputs(k, s, dtype, 0.25) for k, s in zip(keys, shapes, strict=True)]
    has_bias, has_recurrent_bias = BIASES[biases]
    return jaxgru.GRUParams(
        kernel=arrays[0],
        recurrent_kernel=arrays[1],
        bias=arrays[2] if has_bias else None,
        recurrent_bias=arrays[3] if has_recurrent_bias else None,
        **variant,
    )


def random_inputs(key, shape, dtype=jnp.float32, scale=1.0):
    """Return normal numbers: inputs, or a state.

    NumPy draws them, as JAX would compile a program for every shape; where the key is traced, JAX.
    """
    if isinstance(key, jax.core.Tracer):
        return scale * jax.random.normal(key, shape, dtype)
    numbers = np.random.default_rng(jax.random.key_data(key).tolist()).standard_normal(shape)
    return jnp.asarray((scale * numbers).astype(dtype))

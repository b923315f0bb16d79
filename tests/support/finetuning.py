"""A small task for the tests of fine-tuning: nets of 3 inputs and 4 units, a readout of 2."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("optax")

import jaxgru
import jaxgru.finetune as ft
from jaxgru.model import Model

COUNT, TIME = 8, 6
LENGTHS = np.array([6, 1, 4, 0, 3, 6, 2, 5])


def small_model(seed=0):
    """Return a layer and a linear readout, all of their weights and biases random."""
    generator = np.random.default_rng(seed)
    shapes = ((3, 12), (4, 12), (12,), (12,), (4, 2), (2,))
    # NumPy's numbers: JAX would compile a program for each shape.
    *net, kernel, bias = (
        jnp.asarray(0.3 * generator.normal(size=shape), np.float32) for shape in shapes
    )
    return Model(net=jaxgru.GRUParams(*net), readout=ft.LinearReadout(kernel, bias))


def small_data(seed=0, lengths=None):
    """Return random sequences with random targets."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(COUNT, TIME, 3)).astype(np.float32)
    targets = generator.normal(size=(COUNT, TIME, 2)).astype(np.float32)
    return ft.Sequences(inputs, targets, None if lengths is None else np.asarray(lengths))


def tune(model, data, until, **options):
    """Return the result of ``fit`` with the arguments that most tests have in common."""
    options = {
        "loss": ft.regression(),
        "key": jax.random.key(7),
        "batch_size": 4,
        "progress": False,
    } | options
    return ft.fit(model, data, options.pop("loss"), until, **options)

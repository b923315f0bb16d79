"""A small task for the tests of fine-tuning: nets of 3 inputs and 4 units, a readout of 2."""

import cases
import jax
import numpy as np
import pytest

pytest.importorskip("optax")

import jaxgru.finetune as ft

COUNT, TIME = 8, 6


def small_net(key):
    """Return a layer with random weights and biases."""
    return cases.random_params(key, 3, 4)


def small_readout(key):
    """Return a linear readout with random weights and biases."""
    kernel, bias = jax.random.split(key)
    return ft.LinearReadout(
        jax.random.normal(kernel, (4, 2), np.float32), jax.random.normal(bias, (2,), np.float32)
    )


def small_model():
    """Return the arguments net and readout of ``tune``, the same at every call."""
    return small_net(jax.random.key(0)), small_readout(jax.random.key(1))


def small_data(seed=0, lengths=None):
    """Return random sequences with random targets."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(size=(COUNT, TIME, 3)).astype(np.float32)
    targets = generator.normal(size=(COUNT, TIME, 2)).astype(np.float32)
    return ft.Sequences(inputs, targets, None if lengths is None else np.asarray(lengths))


def tune(net, readout, data, **options):
    """Return the result of ``fit`` with what most tests have in common."""
    options = {
        "loss": ft.regression(),
        "key": jax.random.key(7),
        "batch_size": 4,
        "progress": False,
    } | options
    return ft.fit(net, data, readout=readout, **options)


def equal(one, other):
    """Tell whether two pytrees have the same structure and the same bits."""
    assert jax.tree.structure(one) == jax.tree.structure(other)
    return all(
        np.asarray(a).tobytes() == np.asarray(b).tobytes()
        for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    )

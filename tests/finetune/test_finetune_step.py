"""A step of training is a step down the gradient that one would write down by hand."""

import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import plain_loop
import pytest

import jaxgru.finetune as ft

RATE = 0.1


def test_step_is_the_gradient_by_hand(key):
    # The oracle: JAX's own gradient, through a scan over gru_cell, of the loss over the sequences
    # cut to their lengths. It shares neither the derivative rule nor masks, batches or losses.
    net, readout = _model(key)
    lengths = np.array([6, 2, 6, 0, 2, 6, 2, 6])
    data = finetuning.small_data(lengths=lengths)

    def loss_by_hand(model):
        net, readout = model
        total = 0.0
        for length in (2, 6):
            xs, targets = (array[lengths == length, :length] for array in data[:2])
            ys, _ = plain_loop.plain_loop(net, jnp.asarray(xs), jnp.zeros((len(xs), 4)))
            predictions = ys @ readout.kernel + readout.bias[None, None]
            total += jnp.sum((predictions - targets) ** 2) / 2
        return total / float(lengths.sum())

    expected_loss, gradient = jax.jit(jax.value_and_grad(loss_by_hand))((net, readout))
    result = finetuning.tune(net, readout, data, steps=1, batch_size=8, optimizer=optax.sgd(RATE))
    # float32: some hundred roundings of numbers near 1.
    np.testing.assert_allclose(result.history[0]["loss"], expected_loss, rtol=1e-5)
    expected = jax.tree.map(lambda w, g: w - RATE * g, (net, readout), gradient)
    for got, wanted in zip(
        jax.tree.leaves((result.net, result.readout)), jax.tree.leaves(expected), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_pull_is_the_squared_distance_of_the_net(key):
    # A loss that is always 0 leaves the pull alone: w <- w - 2 rate pull (w - w0), by hand.
    original, readout = _model(key)
    model = ft.Model(jax.tree.map(lambda leaf: leaf + 1.0, original), readout)
    mask = ft.trainable_mask(model, "*")
    optimizer, free = optax.sgd(RATE), ft.Loss(lambda p, y: 0.0 * p.sum(-1), "steps")
    step = ft.make_train_step(free, optimizer, mask=mask, pull=0.5, original=original)
    state = ft.init_state(model, optimizer, mask=mask, key=key)
    data = finetuning.small_data()
    after, loss = step(state, ft.Batch(data.inputs, data.targets, None, begins=True))
    assert loss == 0.0
    for got, w0 in zip(jax.tree.leaves(after.model.net), jax.tree.leaves(original), strict=True):
        # Two roundings of numbers near 1.
        np.testing.assert_allclose(got, w0 + 1 - 2 * RATE * 0.5, rtol=1e-6, atol=1e-6)
    assert finetuning.equal(after.model.readout, readout)


def test_step_keeps_what_it_is_given(key):
    net, readout = _model(key)
    model = ft.Model(net, readout)
    mask = ft.trainable_mask(model, "*")
    optimizer = optax.adam(RATE)
    step = ft.make_train_step(ft.regression(), optimizer, mask=mask)
    state = ft.init_state(model, optimizer, mask=mask, key=key)
    before = jax.tree.map(lambda leaf: np.array(leaf), (state.model, state.optimizer_state))
    data = finetuning.small_data()
    batch = ft.Batch(data.inputs, data.targets, None, begins=True)
    first, loss = step(state, batch)
    again, same_loss = step(state, batch)
    assert finetuning.equal((state.model, state.optimizer_state), before)
    assert finetuning.equal(first.model, again.model)
    assert loss == same_loss
    assert not finetuning.equal(first.model, model)


def test_pull_needs_an_original(key):
    model = ft.Model(finetuning.small_net(key))
    mask = ft.trainable_mask(model, "*")
    with pytest.raises(ValueError, match=r"pull is 0\.5 and original is None: expected both"):
        ft.make_train_step(ft.regression(), optax.sgd(RATE), mask=mask, pull=0.5)


def _model(key):
    net, readout = jax.random.split(key)
    return finetuning.small_net(net), finetuning.small_readout(readout)

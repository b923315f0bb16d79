"""Truncated backpropagation: a window after the other, the state carried, no gradient with it."""

import finetuning
import jax
import jax.numpy as jnp
import nets
import numpy as np
import optax
import plain_loop
import pytest

import jaxgru
import jaxgru.finetune as ft

RATE = 0.1


def test_windows_are_those_of_a_loop_by_hand(key):
    # The oracle: a loop over windows of a scan over gru_cell, the state passed as plain numbers.
    net, readout = finetuning.small_net(key), finetuning.small_readout(jax.random.fold_in(key, 1))
    data = finetuning.small_data()

    def loss(model, xs, targets, h0):
        net, readout = model
        ys, h = plain_loop.plain_loop(net, jnp.asarray(xs), h0)
        predictions = ys @ readout.kernel + readout.bias[None, None]
        return jnp.mean((predictions - targets) ** 2), h

    value_and_gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
    model, h, losses = (net, readout), jnp.zeros((8, 4)), []
    for start in (0, 3):
        xs, targets = (array[:, start : start + 3] for array in data[:2])
        (value, h), gradient = value_and_gradient(model, xs, targets, h)
        model = jax.tree.map(lambda w, g: w - RATE * g, model, gradient)
        losses.append(value)

    result = finetuning.tune(
        net, readout, data, epochs=1, every=1, batch_size=8, window=3, optimizer=optax.sgd(RATE)
    )
    # float32: some hundred roundings of numbers near 1.
    np.testing.assert_allclose([row["loss"] for row in result.history], losses, rtol=1e-5)
    for got, wanted in zip(
        jax.tree.leaves((result.net, result.readout)), jax.tree.leaves(model), strict=True
    ):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


def test_next_batch_begins_without_the_state_of_the_last(key):
    # Two epochs of one window each: the second must begin as the first did.
    net, readout = finetuning.small_net(key), finetuning.small_readout(jax.random.fold_in(key, 1))
    still = optax.set_to_zero()
    options = {"epochs": 2, "batch_size": 8, "optimizer": still}
    result = finetuning.tune(net, readout, finetuning.small_data(), window=6, **options)
    first, second = (row["loss"] for row in result.history)
    # The order of the sequences differs, and so does that of a sum in float32.
    np.testing.assert_allclose(first, second, rtol=1e-6)
    expected = ft.evaluate(ft.Model(net, readout), finetuning.small_data(), ft.regression())
    np.testing.assert_allclose(first, expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["concat", "backward among others"])
def test_window_refuses_a_net_that_goes_backward(key, name):
    net = nets.random_net(key, name)
    _, outputs = jaxgru.net.check_net(net)
    readout = ft.linear_readout(key, outputs, 2)
    with pytest.raises(ValueError, match="window is given and a part of the net goes backward"):
        finetuning.tune(net, readout, finetuning.small_data(), steps=1, window=3)


def test_window_refuses_a_loss_on_the_last_state(key):
    data = finetuning.small_data()
    data = data._replace(targets=data.targets[:, 0])
    net, readout = finetuning.small_net(key), finetuning.small_readout(key)
    with pytest.raises(ValueError, match="window is given and the loss is on 'last'"):
        finetuning.tune(net, readout, data, steps=1, window=3, loss=ft.regression("last"))

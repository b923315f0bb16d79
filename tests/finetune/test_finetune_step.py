"""A training step equals gradient descent written by hand.

The oracle is JAX's own gradient, through a scan over the oracle's step, of the loss over sequences
cut to their lengths. It shares neither the derivative rule nor masks, batches, windows or losses.
"""

import equal
import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from plain_scan import plain_scan

import jaxgru.finetune as ft

RATE = 0.1
# float32: some hundred roundings of numbers near 1.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def _squares(model, xs, targets, h0):
    """Return the sum of the squares of all errors, and the last state."""
    ys, h = plain_scan(model.net, jnp.asarray(xs), h0)
    predictions = ys @ model.readout.kernel + model.readout.bias[None, None]
    return jnp.sum((predictions - targets) ** 2), h


def _compare(result, losses, model):
    np.testing.assert_allclose([row["loss"] for row in result.history], losses, rtol=1e-5)
    for got, wanted in zip(jax.tree.leaves(result.model), jax.tree.leaves(model), strict=True):
        np.testing.assert_allclose(got, wanted, **ROUNDING)


def test_step_is_the_gradient_by_hand():
    model = finetuning.small_model()
    lengths = np.array([6, 2, 6, 0, 2, 6, 2, 6])
    data = finetuning.small_data(lengths=lengths)

    def loss_by_hand(model):
        total = 0.0
        for length in (2, 6):
            xs, targets = (array[lengths == length, :length] for array in data[:2])
            total += _squares(model, xs, targets, jnp.zeros((len(xs), 4)))[0] / 2
        return total / float(lengths.sum())

    loss, gradient = jax.jit(jax.value_and_grad(loss_by_hand))(model)
    before = jax.tree.map(np.array, (model, data))
    result = finetuning.tune(model, data, ft.Steps(1), batch_size=8, optimizer=optax.sgd(RATE))
    assert equal.same((model, data), before)
    _compare(result, [loss], jax.tree.map(lambda w, g: w - RATE * g, model, gradient))


def test_windows_are_those_of_a_loop_by_hand():
    # The state is passed from window to window as plain numbers, and begins anew with each batch.
    model, data = finetuning.small_model(), finetuning.small_data()

    def loss_by_hand(model, xs, targets, h0):
        squares, h = _squares(model, xs, targets, h0)
        return squares / targets.size, h

    value_and_gradient = jax.jit(jax.value_and_grad(loss_by_hand, has_aux=True))
    expected, losses = model, []
    for start in (0, 3, 0, 3):
        h = jnp.zeros((8, 4)) if start == 0 else h  # noqa: F821
        xs, targets = (array[:, start : start + 3] for array in data[:2])
        (value, h), gradient = value_and_gradient(expected, xs, targets, h)
        expected = jax.tree.map(lambda w, g: w - RATE * g, expected, gradient)
        losses.append(value)
    result = finetuning.tune(
        model, data, ft.Steps(4, every=1), batch_size=8, window=3, optimizer=optax.sgd(RATE)
    )
    _compare(result, losses, expected)


def test_a_step_does_not_change_its_arguments(key):
    model, data = finetuning.small_model(), finetuning.small_data()
    mask = ft.trainable_mask(model, "*")
    optimizer = optax.adam(RATE)
    step = ft.make_train_step(ft.regression(), optimizer, mask=mask)
    state = ft.init_state(model, optimizer, mask=mask, key=key)
    before = jax.tree.map(np.array, (state.model, state.optimizer_state))
    batch = ft.Batch(data.inputs, data.targets, None, begins=True)
    first, loss = step(state, batch)
    again, same_loss = step(state, batch)
    assert equal.same((state.model, state.optimizer_state), before)
    assert equal.same(first.model, again.model)
    assert loss == same_loss
    assert not equal.same(first.model, model)


def test_dropout_has_new_draws_at_each_step_and_none_in_validation():
    model, data = finetuning.small_model(), finetuning.small_data()
    with pytest.warns(ft.FinetuneWarning, match="no round has a lower validation loss"):
        result = finetuning.tune(
            model, data, ft.Steps(2, every=1), batch_size=8, validation=data,
            optimizer=optax.set_to_zero(), options=ft.RunOptions(recurrent_dropout=0.5),
        )  # fmt: skip
    first, second = result.history
    assert abs(first["loss"] - second["loss"]) > 1e-3  # beyond what another order could do
    plain = ft.evaluate(model, data, ft.regression(), batch_size=8)
    assert first["validation_loss"] == second["validation_loss"] == plain

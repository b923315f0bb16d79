"""Optimisers, schedules and averages are Optax's: any of them, under any promotion."""

import finetuning
import jax
import numpy as np
import optax
import pytest

import jaxgru.finetune as ft

OPTIMIZERS = {
    "clipped, scheduled, decayed": optax.chain(
        optax.clip_by_global_norm(1.0),
        optax.adamw(optax.cosine_decay_schedule(0.02, 20), mask=lambda w: jax.tree.map(
            lambda leaf: leaf.ndim > 1, w)),
    ),
    "by value": optax.chain(optax.sgd(0.05), optax.contrib.reduce_on_plateau()),
    "by line search": optax.chain(optax.sgd(1.0), optax.scale_by_backtracking_linesearch(3)),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_any_optimizer_lowers_the_loss(key, name):
    # What an optimiser does is Optax's to test; that it gets all it needs is seen here.
    net, readout = finetuning.small_net(key), finetuning.small_readout(jax.random.fold_in(key, 1))
    data = finetuning.small_data()
    before = ft.evaluate(ft.Model(net, readout), data, ft.regression())
    result = finetuning.tune(net, readout, data, steps=8, batch_size=8, optimizer=OPTIMIZERS[name])
    after = ft.evaluate(ft.Model(result.net, result.readout), data, ft.regression())
    assert after < 0.9 * before


def test_average_is_of_the_weights_after_every_step(key):
    # The oracle: the weights after each step, averaged by hand with Optax's correction of bias.
    net, readout = finetuning.small_net(key), finetuning.small_readout(jax.random.fold_in(key, 1))
    data = finetuning.small_data()
    model = ft.Model(net, readout)
    mask = ft.trainable_mask(model, "net.*")
    optimizer, average, decay = optax.sgd(0.1), optax.ema(0.8), 0.8
    step = ft.make_train_step(ft.regression(), optimizer, mask=mask, average=average)
    state = ft.init_state(model, optimizer, mask=mask, key=key, average=average)
    batch = ft.Batch(data.inputs, data.targets, None, begins=True)
    path = []
    for _ in range(3):
        state, _ = step(state, batch)
        path.append(np.asarray(state.model.net.kernel, np.float64))
    weights = [(1 - decay) * decay**age for age in (2, 1, 0)]
    expected = sum(w * kernel for w, kernel in zip(weights, path, strict=True)) / sum(weights)
    # float32: a few roundings of numbers near 1.
    np.testing.assert_allclose(state.average.weights.net.kernel, expected, rtol=1e-5, atol=1e-6)

    result = finetuning.tune(
        net, readout, data, steps=3, batch_size=8, trainable="net.*", optimizer=optimizer,
        average=average,
    )  # fmt: skip
    # The same numbers summed in the order of a shuffled batch.
    np.testing.assert_allclose(result.net.kernel, expected, rtol=1e-5, atol=1e-6)
    assert finetuning.equal(result.readout, readout)


def test_dropout_is_drawn_anew_at_each_step_and_not_in_validation(key):
    net, readout = finetuning.small_net(key), finetuning.small_readout(jax.random.fold_in(key, 1))
    data = finetuning.small_data()
    result = finetuning.tune(
        net, readout, data, steps=2, every=1, batch_size=8, validation=data,
        optimizer=optax.set_to_zero(), recurrent_dropout=0.5,
    )  # fmt: skip
    (first, second) = result.history
    assert abs(first["loss"] - second["loss"]) > 1e-3  # beyond what another order could do
    assert first["validation_loss"] == second["validation_loss"]
    plain = ft.evaluate(ft.Model(net, readout), data, ft.regression(), batch_size=8)
    assert first["validation_loss"] == plain

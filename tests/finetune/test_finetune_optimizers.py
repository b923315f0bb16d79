"""Optimisers, schedules and averages are Optax's; the average and the pull around them by hand."""

import equal
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


@pytest.mark.parametrize(
    "name", [*list(OPTIMIZERS)[:-1], pytest.param("by line search", marks=pytest.mark.slow)]
)
def test_any_optimizer_lowers_the_loss(name):
    # What an optimiser does is Optax's to test; that it gets all it needs is seen here, through
    # both wrappers: a pull that is next to nothing, and an average of the last weights alone.
    model, data = finetuning.small_model(), finetuning.small_data()
    optimizer = ft.averaged(ft.pulled(OPTIMIZERS[name], 1e-6), optax.ema(0.0))
    before = ft.evaluate(model, data, ft.regression())
    result = finetuning.tune(model, data, ft.Steps(8), batch_size=8, optimizer=optimizer)
    assert ft.evaluate(result.model, data, ft.regression()) < 0.9 * before


def test_average_is_of_the_weights_after_every_step(key):
    # The oracle: the weights after each step, averaged by hand with Optax's correction of bias.
    model, data, decay = finetuning.small_model(), finetuning.small_data(), 0.8
    mask = ft.trainable_mask(model, "net.*")
    plain = optax.sgd(0.1)
    step = ft.make_train_step(ft.regression(), plain, mask=mask)
    state = ft.init_state(model, plain, mask=mask, key=key)
    batch = ft.Batch(data.inputs, data.targets, None, begins=True)
    path = []
    for _ in range(3):
        state, _ = step(state, batch)
        path.append(np.asarray(state.model.net.kernel, np.float64))
    weights = [(1 - decay) * decay**age for age in (2, 1, 0)]
    expected = sum(w * kernel for w, kernel in zip(weights, path, strict=True)) / sum(weights)
    result = finetuning.tune(
        model, data, ft.Steps(3), batch_size=8, trainable="net.*",
        optimizer=ft.averaged(plain, optax.ema(decay)),
    )  # fmt: skip
    # float32: a few roundings of numbers near 1, in the order of a shuffled batch.
    np.testing.assert_allclose(result.model.net.kernel, expected, rtol=1e-5, atol=1e-6)
    assert equal.same(result.model.readout, model.readout)


def test_pull_is_the_squared_distance_of_the_net(key):
    # A loss that is always 0 leaves the pull alone: w <- w - 2 rate pull (w - w0), by hand.
    model, data, rate = finetuning.small_model(), finetuning.small_data(), 0.1
    mask = ft.trainable_mask(model, "*")
    optimizer = ft.pulled(optax.sgd(rate), 0.5)
    free = ft.Loss(lambda p, y: 0.0 * p.sum(-1), "steps")
    step = ft.make_train_step(free, optimizer, mask=mask)
    moved = jax.tree.map(lambda leaf: leaf + 1.0, model)
    state = ft.init_state(model, optimizer, mask=mask, key=key)._replace(model=moved)
    after, loss = step(state, ft.Batch(data.inputs, data.targets, None, begins=True))
    assert loss == 0.0
    for got, w0 in zip(jax.tree.leaves(after.model.net), jax.tree.leaves(model.net), strict=True):
        # Two roundings of numbers near 1.
        np.testing.assert_allclose(got, w0 + 1 - 2 * rate * 0.5, rtol=1e-6, atol=1e-6)
    assert equal.same(after.model.readout, moved.readout)

"""Every kind of optimizer of Optax gets what it needs."""

import finetuning
import jax
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
    model, data = finetuning.small_model(), finetuning.small_data()
    before = ft.evaluate(model, data, ft.regression())
    result = finetuning.tune(model, data, ft.Steps(8), batch_size=8, optimizer=OPTIMIZERS[name])
    assert ft.evaluate(result.model, data, ft.regression()) < 0.9 * before

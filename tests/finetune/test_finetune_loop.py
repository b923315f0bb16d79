"""How a run stops before its steps are done: a loss that is not finite, no more progress."""

import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgru.finetune as ft


def test_loss_that_is_not_finite_names_the_step_and_keeps_the_last_good_weights(tmp_path):
    # A small rate until the third update, which is infinite: the loss of step 4 is the first that
    # is not finite, so the weights before the third update are the last that were seen to be good.
    optimizer = optax.sgd(lambda count: jnp.where(count == 2, jnp.inf, 0.01))
    options = {"batch_size": 8, "every": 1, "optimizer": optimizer}
    data = finetuning.small_data()
    good = finetuning.tune(*finetuning.small_model(), data, steps=2, **options)
    with pytest.warns(ft.FinetuneWarning, match="the loss is not finite at step 4"):
        result = finetuning.tune(
            *finetuning.small_model(), data, steps=9, checkpoint_dir=tmp_path, **options
        )
    assert result.stopped == "not finite"
    assert finetuning.equal((result.net, result.readout), (good.net, good.readout))
    assert [row["step"] for row in result.history] == [1, 2, 3]
    # Interrupted and begun again, it comes to the same end: the checkpoint of step 3 is of weights
    # that are not good, and has the good ones beside them.
    with pytest.warns(ft.FinetuneWarning, match="the loss is not finite at step 4"):
        again = finetuning.tune(
            *finetuning.small_model(), data, steps=9, checkpoint_dir=tmp_path, **options
        )
    assert finetuning.equal((again.net, again.readout), (good.net, good.readout))


def test_validation_loss_that_is_not_finite_stops_too():
    data = finetuning.small_data()
    far = data._replace(targets=np.full_like(data.targets, 1e30))  # its square is beyond float32
    with pytest.warns(ft.FinetuneWarning, match="the validation loss is not finite after step 2"):
        result = finetuning.tune(
            *finetuning.small_model(), data, epochs=9, batch_size=4, validation=far
        )
    assert (result.stopped, result.history) == ("not finite", [])


def test_patience_stops_and_gives_the_best_round():
    # The loss of validation is made to fall and rise: the data is at 2, the validation at 1, and
    # the one weight that is trained, a scale, goes from 0 through 1 to 2.
    readout = ft.Readout(
        lambda weights, ys: jnp.ones_like(ys[..., :2]) * weights["scale"], {"scale": 0.0}
    )
    net, _ = finetuning.small_model()
    data = finetuning.small_data()
    two, one = (data._replace(targets=np.full_like(data.targets, value)) for value in (2, 1))
    result = finetuning.tune(
        net, readout, two, epochs=99, batch_size=8, validation=one, patience=3,
        optimizer=optax.sgd(0.1), trainable="readout.*",
    )  # fmt: skip
    losses = [row["validation_loss"] for row in result.history]
    best = int(np.argmin(losses))
    assert result.stopped == "patience"
    assert 0 < best == len(losses) - 4
    # One step is s <- s - 0.1 * 2 (s - 2): after n of them s is 2 - 2 * 0.8^n.
    expected = 2 - 2 * 0.8 ** np.arange(1, len(losses) + 1)
    # float32: a few roundings of numbers near 1.
    np.testing.assert_allclose(losses, (expected - 1) ** 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(result.readout.weights["scale"], expected[best], rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "steps is None and epochs is None: expected one of them"),
        ({"steps": 1, "epochs": 1}, "steps is 1 and epochs is 1: expected one of them"),
        ({"steps": 0}, "steps is 0: expected at least 1"),
        ({"steps": 1, "every": 0}, "every is 0: expected at least 1"),
        ({"steps": 1, "batch_size": 0}, "batch_size is 0: expected at least 1"),
        ({"steps": 1, "patience": 2}, "patience is 2 and there is no validation: expected both"),
        ({"steps": 1, "trainable": "bia"}, "the pattern 'bia' fits no weight: expected one of net"),
    ],
)
def test_arguments_that_contradict(options, message):
    with pytest.raises(ValueError, match=message):
        finetuning.tune(*finetuning.small_model(), finetuning.small_data(), **options)


def test_arguments_are_not_changed():
    net, readout = finetuning.small_model()
    before = jax.tree.map(lambda leaf: np.array(leaf), (net, readout))
    data = finetuning.small_data()
    copies = [array.copy() for array in data[:2]]
    finetuning.tune(net, readout, data, steps=1)
    assert finetuning.equal((net, readout), before)
    assert finetuning.equal(list(data[:2]), copies)

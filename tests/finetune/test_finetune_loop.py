"""The loop: its length, the best round, functions of on_round, a loss that is not finite.

The oracle is a run made to fall and rise again: the training data is at 2, the validation data at
1, and the one weight that is trained, a scale that begins at 0, passes 1 on its way to 2. A step is
s <- s - 0.1 * 2 (s - 2), so after n of them s is 2 - 2 * 0.8^n.
"""

import equal
import finetuning
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

import jaxgru.finetune as ft
from jaxgru.model import Model

# float32: a few roundings of numbers near 1.
ROUNDING = {"rtol": 1e-4, "atol": 1e-6}


def _scales(steps):
    return 2 - 2 * 0.8 ** np.arange(steps + 1)


def _rising_run(start=0.0, until=ft.Steps(8, every=1), **options):  # noqa: B008
    net = finetuning.small_model().net
    readout = Partial(lambda scale, y: jnp.ones_like(y[:2]) * scale, jnp.array(start))
    data = finetuning.small_data()
    two, one = (data._replace(targets=np.full_like(data.targets, value)) for value in (2, 1))
    options = {"validation": one, "trainable": "readout.*"} | options
    return finetuning.tune(
        Model(net=net, readout=readout),
        two,
        until,
        batch_size=8,
        optimizer=optax.sgd(0.1),
        **options,
    )


def _scale(result):
    return result.model.readout.args[0]


def test_result_is_the_best_round_and_functions_see_every_round():
    seen = []
    result = _rising_run(on_round=[seen.append])
    losses = [row["validation_loss"] for row in result.history]
    np.testing.assert_allclose(losses, (_scales(8)[1:] - 1) ** 2, **ROUNDING)
    assert (result.stopped, result.step) == ("steps", 3) == ("steps", np.argmin(losses) + 1)
    np.testing.assert_allclose(_scale(result), _scales(3)[-1], **ROUNDING)
    last = _rising_run(validation=None)
    assert last.step == 8
    np.testing.assert_allclose(_scale(last), _scales(8)[-1], **ROUNDING)
    assert [now.best for now in seen] == [1, 2, 3, 3, 3, 3, 3, 3]
    assert [now.history for now in seen] == [result.history[:n] for n in range(1, 9)]
    np.testing.assert_allclose(
        [now.model.readout.args[0] for now in seen], _scales(8)[1:], **ROUNDING
    )


# From 2, the scale of the training data, nothing moves: every round is as good as the start.
@pytest.mark.parametrize("start", [1.0, 2.0])
def test_without_an_improvement_the_result_is_the_initial_model(start):
    with pytest.warns(
        ft.FinetuneWarning,
        match=f"lower validation loss than the initial model, {(start - 1) ** 2:g}: ",
    ):
        result = _rising_run(start=start)
    assert (result.step, _scale(result)) == (0, start)
    assert len(result.history) == 8
    assert result.history[0]["validation_loss"] > 0


def test_a_function_stops_the_run(tmp_path):
    seen = []
    for rounds in (5, 6):  # resumed, it is stopped before another step
        result = _rising_run(on_round=[ft.patience(2), seen.append], checkpoint_dir=tmp_path)
        assert (result.stopped, result.step, len(result.history)) == ("patience", 3, 5)
        assert len(seen) == rounds


def test_after_a_loss_that_is_not_finite_the_last_finite_weights_are_the_result(tmp_path):
    # A small rate until the third update, which is infinite: the loss of step 4 is the first that
    # is not finite, so the weights before the third update are the last with a finite loss.
    optimizer = optax.sgd(lambda count: jnp.where(count == 2, jnp.inf, 0.01))
    options = {"batch_size": 8, "optimizer": optimizer}
    data, model = finetuning.small_data(), finetuning.small_model()
    seen = []
    # A resumed run has the same end: the checkpoint of step 3 also has the last finite weights.
    for _ in range(2):
        with pytest.warns(ft.FinetuneWarning, match="the loss is not finite at step 4"):
            result = finetuning.tune(
                model, data, ft.Steps(9, every=1), checkpoint_dir=tmp_path, on_round=seen.append,
                **options,
            )  # fmt: skip
        assert result.stopped == "not finite"
        assert equal.same(result.model, seen[1].model)
        assert [row["step"] for row in result.history] == [1, 2, 3]


def test_validation_loss_that_is_not_finite_stops_too():
    data, model = finetuning.small_data(), finetuning.small_model()
    far = data._replace(targets=np.full_like(data.targets, 1e30))  # its square is beyond float32
    with pytest.warns(ft.FinetuneWarning, match="loss is not finite before the first step"):
        result = finetuning.tune(model, data, ft.Epochs(9), validation=far)
    assert (result.stopped, result.history, result.step) == ("not finite", [], 0)
    # The first step is too large: the initial model is the best.
    with pytest.warns(ft.FinetuneWarning, match="the validation loss is not finite after step 1"):
        result = finetuning.tune(
            model, data, ft.Steps(3, every=1), validation=data, optimizer=optax.sgd(1e30)
        )
    assert (result.stopped, result.step) == ("not finite", 0)
    assert equal.same(result.model, model)

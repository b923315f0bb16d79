"""Losses over padded sequences equal those over sequences cut to their lengths."""

import equal
import finetuning
import numpy as np
import oracle
import pytest

import jaxgru.finetune as ft

LENGTHS = finetuning.LENGTHS


@pytest.mark.parametrize("on", ["steps", "last"])
@pytest.mark.parametrize("kind", ["regression", "classification"])
def test_masked_loss_is_that_of_cut_sequences(kind, on):
    # The oracle: each sequence by itself, cut to its length, all equations in float64 NumPy.
    model = finetuning.small_model()
    data = _data(kind, on)
    predictions = ft.predict(model, data.inputs, data.lengths, on=on)
    costs = []
    for xs, targets, length, got in zip(*data, predictions, strict=True):
        if length == 0:
            continue
        ys, _ = oracle.gru(model.net, xs[:length])
        p = ys @ np.float64(model.readout.kernel) + np.float64(model.readout.bias)
        p, targets = (p[-1], targets) if on == "last" else (p, targets[:length])
        np.testing.assert_allclose(got if on == "last" else got[:length], p, rtol=1e-5, atol=1e-6)
        if kind == "regression":
            costs.extend(np.ravel(np.mean((p - targets) ** 2, axis=-1)))
        else:
            chosen = np.take_along_axis(p, targets[..., None], -1)[..., 0]
            costs.extend(np.ravel(np.log(np.exp(p).sum(-1)) - chosen))
    assert len(costs) == (7 if on == "last" else LENGTHS.sum())
    loss = getattr(ft, kind)(on)
    # float32 against float64: some ten roundings a step; batches of 3 leave 2 of 8 over.
    got = ft.evaluate(model, data, loss, batch_size=3)
    np.testing.assert_allclose(got, np.mean(costs), rtol=1e-5)


def test_nan_in_padding_reaches_nothing():
    # The relative error: it and its derivative are infinite at targets of 0, as padding has them.
    relative = ft.Loss(lambda p, y: (((p - y) / y) ** 2).sum(-1), "steps")
    model = finetuning.small_model()
    clean = finetuning.small_data(lengths=LENGTHS)
    padding = np.arange(finetuning.TIME)[None, :, None] >= LENGTHS[:, None, None]
    inputs, targets = (np.where(padding, np.nan, array) for array in clean[:2])
    dirty = ft.Sequences(inputs, targets, LENGTHS)
    one, other = (
        finetuning.tune(model, data, ft.Epochs(1), loss=relative) for data in (clean, dirty)
    )
    assert equal.same(one.model, other.model)
    assert not equal.same(one.model, model)
    assert one.history[0]["loss"] == other.history[0]["loss"]


def test_next_step_is_the_input_one_later():
    inputs = np.arange(24.0).reshape(2, 4, 3)
    data = ft.next_step(inputs, np.array([4, 0]))
    np.testing.assert_array_equal(data.targets[:, :2], data.inputs[:, 1:])
    np.testing.assert_array_equal(data.targets[:, -1], inputs[:, -1])
    np.testing.assert_array_equal(data.lengths, [3, 0])


def _data(kind, on):
    generator = np.random.default_rng(3)
    data = finetuning.small_data(lengths=LENGTHS)
    targets = data.targets if kind == "regression" else generator.integers(0, 2, (8, 6))
    return data._replace(targets=targets if on == "steps" else targets[:, 0])

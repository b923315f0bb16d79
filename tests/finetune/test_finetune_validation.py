"""Bad data is refused before a run begins, by what is wrong and where."""

import finetuning
import numpy as np
import pytest

import jaxgru.finetune as ft

GOOD = finetuning.small_data(lengths=finetuning.LENGTHS)


def _with(array, place, value):
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": GOOD.inputs[..., :2]}, r"data: inputs has shape \(8, 6, 2\): expected \(N, T, "
         r"3\), as the net has 3 inputs"),
        ({"inputs": GOOD.inputs[0]}, r"inputs has shape \(6, 3\): expected \(N, T, 3\)"),
        ({"inputs": GOOD.inputs[:0]}, r"inputs has shape \(0, 6, 3\): expected a sequence of one"),
        ({"inputs": GOOD.inputs[:, :0]}, r"inputs has shape \(8, 0, 3\): expected a sequence of"),
        ({"inputs": GOOD.inputs.astype(int)}, "inputs has dtype int64: expected a floating-point"),
        ({"inputs": GOOD.inputs.tolist()}, r"inputs is a list: expected a JAX or NumPy array; "),
        ({"targets": GOOD.targets[:7]}, r"targets has shape \(7, 6, 2\): expected \(8, 6, ...\), as"
         " inputs has 8 sequences of 6 steps and the loss is on 'steps'"),
        ({"targets": GOOD.targets[:, :5]}, r"targets has shape \(8, 5, 2\): expected \(8, 6, "),
        ({"targets": GOOD.targets[..., :1]}, r"targets has shape \(8, 6, 1\): expected \(8, 6, "),
        ({"lengths": GOOD.lengths[:7]}, r"lengths has shape \(7,\): expected \(8,\), as inputs"),
        ({"lengths": GOOD.lengths * 1.0}, "lengths has dtype float64: expected integers"),
        ({"lengths": _with(GOOD.lengths, 2, 7)}, r"lengths\[2\] is 7: expected 0 to 6, the number"),
        ({"lengths": _with(GOOD.lengths, 2, -1)}, r"lengths\[2\] is -1: expected 0 to 6"),
        ({"lengths": 0 * GOOD.lengths}, "all lengths are 0: expected a sequence of one step"),
        ({"inputs": _with(GOOD.inputs, (2, 3, 1), np.nan)}, r"inputs\[2, 3, 1\] is nan: expected a "
         "finite number$"),
        ({"targets": _with(GOOD.targets, (5, slice(2), 0), np.inf)}, r"targets\[5, 0, 0\] is inf: "
         "expected a finite number, and 1 more are not finite"),
    ],
)  # fmt: skip
def test_unsound_data(change, message):
    with pytest.raises(ValueError, match=message):
        _evaluate(GOOD._replace(**change), ft.regression())


@pytest.mark.parametrize(
    ("loss", "targets", "message"),
    [
        (ft.regression("last"), GOOD.targets, r"targets has shape \(8, 6, 2\): expected \(8, 2\)"),
        (ft.classification(), GOOD.targets, r"targets has shape \(8, 6, 2\): expected \(8, 6\)"),
        (ft.classification(), GOOD.targets[..., 0], "targets has dtype float32: expected integers"),
        (ft.classification(), np.full((8, 6), 2), r"targets\[0, 0\] is 2: expected a class from 0 "
         "to 1, as a prediction has 2 numbers"),
        (ft.classification("last"), np.full(8, -1), r"targets\[0\] is -1: expected a class from 0"),
    ],
)  # fmt: skip
def test_targets_that_do_not_fit_the_loss(loss, targets, message):
    with pytest.raises(ValueError, match=message):
        _evaluate(GOOD._replace(targets=targets), loss)


def test_what_padding_holds_is_not_looked_at():
    classes = _with(np.zeros((8, 6), int), (1, 3), 99)
    inputs = _with(GOOD.inputs, (1, 3), np.nan)
    assert np.isfinite(
        _evaluate(GOOD._replace(inputs=inputs, targets=classes), ft.classification())
    )


def test_fit_says_which_data_is_bad():
    bad = GOOD._replace(targets=_with(GOOD.targets, (0, 0, 0), np.nan))
    model = finetuning.small_model()
    for name, data, validation in (("data", bad, GOOD), ("validation", GOOD, bad)):
        with pytest.raises(ValueError, match=rf"^{name}: targets\[0, 0, 0\] is nan"):
            finetuning.tune(model, data, ft.Steps(1), validation=validation)


def test_arguments_of_other_types():
    with pytest.raises(ValueError, match=r"^data is a tuple: expected Sequences$"):
        _evaluate((GOOD.inputs, GOOD.targets), ft.regression())
    with pytest.raises(ValueError, match=r"^loss is a function: expected a Loss, as regr"):
        _evaluate(GOOD, ft.regression)


def test_next_step_needs_two_steps():
    with pytest.raises(ValueError, match=r"inputs has shape \(8, 1, 3\): expected \(N, T, I\), T"):
        ft.next_step(GOOD.inputs[:, :1])


def _evaluate(data, loss):
    return ft.evaluate(finetuning.small_model(), data, loss)

"""Errors before a run begins: one line with the value, what was expected, and where."""

import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import jaxgru
import jaxgru.finetune as ft
from jaxgru.model import Model

GOOD, PLAIN = finetuning.small_data(lengths=finetuning.LENGTHS), finetuning.small_data()
MODEL, LAST = finetuning.small_model(), PLAIN._replace(targets=PLAIN.targets[:, 0])
NET, KEY = MODEL.net, jax.random.key(0)


def put(array, place, value):
    array = array.copy()
    array[place] = value
    return array


def good(**change):
    return GOOD._replace(**change)


def evaluate(data=GOOD, loss=ft.regression(), model=MODEL):  # noqa: B008
    return ft.evaluate(model, data, loss)


def tune(until=ft.Steps(1), model=MODEL, data=PLAIN, **options):  # noqa: B008
    return finetuning.tune(model, data, until, **options)


def readout(readout):
    return evaluate(model=Model(net=NET, readout=readout))


def choosing():
    return Partial(lambda which, y: y[which], jnp.array([0, 1]))


# fmt: off
_DATA = [
    ({"inputs": GOOD.inputs[..., :2]}, r"data: layer 'net': xs has shape \(8, 6, 2\): expected "
     r"\(..., 3\), for 3 inputs"),
    ({"inputs": GOOD.inputs[0]}, r"inputs has shape \(6, 3\): expected \(N, T, I\)"),
    ({"inputs": GOOD.inputs[:0]}, r"inputs has shape \(0, 6, 3\): expected a sequence of at"),
    ({"inputs": GOOD.inputs[:, :0]}, r"inputs has shape \(8, 0, 3\): expected a sequence of"),
    ({"inputs": GOOD.inputs.astype(int)}, "inputs has dtype int64: expected a floating-point"),
    ({"inputs": GOOD.inputs.tolist()}, r"inputs is a list: expected a JAX or NumPy array; "),
    ({"targets": GOOD.targets[:7]}, r"targets has shape \(7, 6, 2\): expected \(8, 6, ...\), as "
     "inputs has 8 sequences of 6 steps and the loss is on 'steps'"),
    ({"targets": GOOD.targets[:, :5]}, r"targets has shape \(8, 5, 2\): expected \(8, 6, "),
    ({"targets": GOOD.targets[..., :1]}, r"targets has shape \(8, 6, 1\): expected \(8, 6, "),
    ({"lengths": GOOD.lengths[:7]}, r"lengths has shape \(7,\): expected \(8,\), as inputs"),
    ({"lengths": GOOD.lengths * 1.0}, "lengths has dtype float64: expected integers"),
    ({"lengths": put(GOOD.lengths, 2, 7)}, r"lengths\[2\] is 7: expected 0 to 6, the number"),
    ({"lengths": put(GOOD.lengths, 2, -1)}, r"lengths\[2\] is -1: expected 0 to 6"),
    ({"lengths": 0 * GOOD.lengths}, "all lengths are 0: expected a sequence of at least"),
    ({"inputs": put(GOOD.inputs, (2, 3, 1), np.nan)},
     r"inputs\[2, 3, 1\] is nan: expected a finite number$"),
    ({"targets": put(GOOD.targets, (5, slice(2), 0), np.inf)},
     r"targets\[5, 0, 0\] is inf: expected a finite number, and 1 more are not finite"),
]
_LOSSES = [
    (ft.regression("last"), GOOD.targets, r"targets has shape \(8, 6, 2\): expected \(8, 2\)"),
    (ft.classification(), GOOD.targets, r"targets has shape \(8, 6, 2\): expected \(8, 6\)"),
    (ft.classification(), GOOD.targets[..., 0], "targets has dtype float32: expected integers"),
    (ft.classification(), np.full((8, 6), 2), r"targets\[0, 0\] is 2: expected a class from 0 to"),
    (ft.classification(), put(np.zeros((8, 6), int), (7, 4), 2), r"targets\[7, 4\] is 2: expected"),
    (ft.classification("last"), np.full(8, -1), r"targets\[0\] is -1: expected a class from 0"),
    (ft.Loss(lambda p, y: (p - y).sum(), "steps"), GOOD.targets,
     r"the values of the loss have shape \(\): expected \(8, 6\)"),
]
_CALLS = [
    # Data and losses of other types
    (lambda: evaluate((GOOD.inputs, GOOD.targets)), r"^data is a tuple: expected Sequences$"),
    (lambda: evaluate(loss=ft.regression), r"^loss is a function: expected a Loss, as regr"),
    (lambda: ft.evaluate(MODEL, PLAIN, ft.regression(), batch_size=0), "batch_size is 0: expected"),
    (lambda: ft.regression("first"), "on is 'first': expected 'steps' or 'last'"),
    (lambda: ft.next_step(GOOD.inputs[:, :1]), r"inputs has shape \(8, 1, 3\): expected \(N, T"),
    (lambda: ft.batches(PLAIN, 0, KEY), "batch_size is 0: expected at least 1"),
    (lambda: ft.batches(PLAIN, 4, KEY, window=0), "window is 0: expected at least 1"),
    (lambda: ft.batches(good(lengths=0 * GOOD.lengths), 4, KEY), "the data has no valid step"),
    # Models
    (lambda: ft.predict(NET, GOOD.inputs), r"^model is a GRUParams: expected a jaxgru.model.Model"),
    (lambda: evaluate(model=Model(net=jaxgru.Bidirectional(NET, NET, None))),
     "^data: the net has a pair of outputs: expected a readout of both"),
    (lambda: ft.linear_readout(KEY, 0, 2), "inputs is 0: expected at least 1"),
    (lambda: readout(ft.LinearReadout(np.ones((5, 2)), np.ones(2))),
     r"^data: layer 'readout': its kernel and bias have shapes \(\(5, 2\), \(2,\)\): exp"),
    (lambda: readout(ft.LinearReadout(np.ones((4, 2)), np.ones((1, 2)))),
     r"^data: layer 'readout': its kernel and bias have shapes \(\(4, 2\), \(1, 2\)\): exp"),
    (lambda: readout({"kernel": np.ones((4, 2))}),
     "^data: layer 'readout': .* is a dict: expected "),
    (lambda: readout(lambda y: y[:2]), "^layer 'readout': one of its leaves is a function: exp"),
    (lambda: readout(Partial(lambda y: y @ np.ones((3, 2)))),
     r"layer 'readout': it does not accept an input of shape \(4,\): TypeError: "),
    (lambda: readout(Partial(lambda y: (y, y))),
     "layer 'readout': its result is a tuple: expected an"),
    # What is trained
    (lambda: ft.trainable_mask(NET, ["kernel", "gamma"]), "the pattern 'gamma' matches no weight: "
     "expected a pattern that matches some of kernel, recurrent_kernel, bias, recurrent_bias"),
    (lambda: ft.trainable_mask(NET, []), "no pattern is given: expected one that matches some of "),
    (lambda: ft.trainable_mask(NET, "ernel"), "the pattern 'ernel' matches no weight"),
    (lambda: tune(trainable="bia"), "the pattern 'bia' matches no weight: expected a pattern"),
    (lambda: tune(model=Model(net=NET, readout=choosing()), trainable="readout.*"),
     "0 has dtype int32: expected a floating-point type for"),
    (lambda: ft.low_rank(NET, KEY, rank=0), "rank is 0: expected at least 1"),
    (lambda: ft.low_rank(NET, KEY, rank=1, kernels="bias"),
     r"bias has shape \(12,\): expected a matrix to change"),
    # The run
    (lambda: ft.Steps(0), "steps is 0: expected at least 1"),
    (lambda: ft.Steps(1, every=0), "every is 0: expected at least 1"),
    (lambda: ft.Epochs(0), "epochs is 0: expected at least 1"),
    (lambda: ft.patience(0), "patience is 0: expected at least 1"),
    (lambda: tune(5), r"until is 5: expected Epochs\(count\) or Steps\(count\)"),
    (lambda: tune(on_round=lambda now: True), "on_round: <lambda> returned True: expected None, "
     "or a str to stop"),
    (lambda: tune(on_round=ft.patience(2)), "patience is 2 without validation data: expected"),
    (lambda: tune(mesh=ft.data_mesh(jax.devices()[:1] * 3)),
     "batch_size is 4: expected a multiple of 3, the devices"),
    (lambda: tune(window=0), "window is 0: expected at least 1"),
    *((lambda net=net: tune(model=Model(net=(net,), readout=MODEL.readout), window=3),
       "window is given, and layer 'net' has a backward direction")
      for net in (jaxgru.Backward(NET), jaxgru.Bidirectional(NET, NET, "sum"))),
    (lambda: tune(window=3, data=LAST, loss=ft.regression("last")),
     "window is given for a loss on 'last'"),
]
# fmt: on


@pytest.mark.parametrize(("change", "message"), _DATA)
def test_invalid_data(change, message):
    with pytest.raises(ValueError, match=message):
        evaluate(good(**change))


@pytest.mark.parametrize(("loss", "targets", "message"), _LOSSES)
def test_targets_that_do_not_fit_the_loss(loss, targets, message):
    for lengths in (GOOD.lengths, None):
        with pytest.raises(ValueError, match=message):
            evaluate(good(targets=targets, lengths=lengths), loss)


@pytest.mark.parametrize(("call", "message"), _CALLS)
def test_bad_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_padding_is_not_checked():
    classes, inputs = put(np.zeros((8, 6), int), (1, 3), 99), put(GOOD.inputs, (1, 3), np.nan)
    assert np.isfinite(evaluate(good(inputs=inputs, targets=classes), ft.classification()))


def test_the_error_names_the_data():
    bad = good(targets=put(GOOD.targets, (0, 0, 0), np.nan))
    for name, data, validation in (("data", bad, GOOD), ("validation", GOOD, bad)):
        with pytest.raises(ValueError, match=rf"^{name}: targets\[0, 0, 0\] is nan"):
            tune(data=data, validation=validation)


def test_a_file_that_is_not_a_history(tmp_path):
    path = tmp_path / "history.jsonl"
    for text, message in (
        ('{"step": 1}\n[]\n{"step": 3}\n', "line 2 is not a JSON object"),
        ("loss: 1\n", "line 1 is not JSON: "),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"history\.jsonl: {message}"):
            ft.read_history(path)
    with pytest.raises(OSError, match="its folder is missing"):
        ft.write_history(tmp_path / "missing" / "history.jsonl")

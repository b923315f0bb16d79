"""Metrics of predictions: errors and fit of numbers, confusion of classes."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgru.finetune._batches import take
from jaxgru.finetune._data import Sequences
from jaxgru.finetune._losses import Loss
from jaxgru.finetune._model import RunOptions, run_model
from jaxgru.model import Model

Array = np.ndarray
_BATCH = 256


class Regression(NamedTuple):
    """Errors of O numbers, ``(O,)`` each; ``fit`` is in percent, NaN for a constant target."""

    mse: Array
    rmse: Array
    fit: Array


class Classification(NamedTuple):
    """The mean cross-entropy, the accuracy, and counts ``(true class, predicted class)``."""

    loss: float
    accuracy: float
    confusion: Array


def predicted(model: Model, data: Sequences, loss: Loss) -> list[tuple[Array, Array]]:
    """Return the valid predictions and targets of each sequence. Predictions of classes are logits.

    Args:
        model: the model.
        data: as ``checked_data`` returns it.
        loss: the loss: predictions of steps ``(t, O)``, or of the last one ``(1, O)``.
    """
    pairs = []
    rows = np.arange(len(data.inputs))
    size = min(_BATCH, len(rows))
    for at in range(0, len(rows), size):
        chosen = rows[at : at + size]
        part = take(data, chosen, size, with_lengths=data.lengths is not None)
        values, counted = map(np.asarray, _run_batch(model, part, loss))
        for row in range(len(chosen)):
            y, p, valid = np.asarray(part.targets[row]), values[row], counted[row]
            if loss.on == "last":
                y, p, valid = y[None], p[None], valid[None]
            pairs.append((p[valid].astype(np.float64), y[valid]))
    return pairs


@functools.partial(jax.jit, static_argnames="loss")
def _run_batch(model: Model, data: Sequences, loss: Loss) -> Any:
    options = RunOptions(precision="highest")
    run = run_model(model, data.inputs, data.lengths, None, loss=loss, options=options)
    shape = run.predictions.shape[: 1 if loss.on == "last" else 2]
    return run.predictions, np.ones(shape, bool) if run.counted is None else run.counted


def regression_metrics(predictions: Array, targets: Array) -> Regression:
    """Return the errors of predictions ``(M, O)``.

    With p the predictions and y the targets, for each of the O elements::

        mse = mean((y - p)^2)    rmse = sqrt(mse)    fit = 100 (1 - |y - p| / |y - mean(y)|)

    >>> regression_metrics(np.array([[0.0], [1.0]]), np.array([[0.0], [2.0]])).mse.tolist()
    [0.5]

    Source: Ljung 1999, System Identification, for the fit.
    """
    targets = targets.astype(np.float64)
    mse = np.mean((targets - predictions) ** 2, axis=0)
    error = np.linalg.norm(targets - predictions, axis=0)
    scale = np.linalg.norm(targets - targets.mean(0), axis=0)
    ratio = np.divide(error, scale, where=scale > 0, out=np.full_like(scale, np.nan))
    return Regression(mse, np.sqrt(mse), 100 * (1 - ratio))


def classification_metrics(logits: Array, targets: Array) -> Classification:
    """Return the metrics of logits ``(M, C)``, or ``(M, 1)`` of class 1, for classes ``(M,)``.

    >>> classification_metrics(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 1])).confusion
    array([[1, 0],
           [1, 0]])
    """
    if logits.shape[-1] == 1:  # of a sigmoid: the softmax of 0 and the logit
        logits = np.concatenate([np.zeros_like(logits), logits], axis=-1)
    largest = logits.max(-1, keepdims=True)
    total = np.log(np.exp(logits - largest).sum(-1)) + largest[:, 0]
    rows = np.arange(len(targets))
    classes = logits.argmax(-1)
    confusion = np.zeros((logits.shape[-1],) * 2, int)
    np.add.at(confusion, (targets, classes), 1)
    loss = float(np.mean(total - logits[rows, targets]))
    return Classification(loss, float(np.mean(classes == targets)), confusion)

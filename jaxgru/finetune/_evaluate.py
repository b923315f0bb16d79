"""The loss of a model over a whole set of data."""

import functools
from typing import Any

import jax
import numpy as np

from jaxgru._recurrence.layer import Precision
from jaxgru.finetune._batches import take
from jaxgru.finetune._data import Sequences
from jaxgru.finetune._losses import Loss, total_loss
from jaxgru.finetune._model import RunOptions, checked_model, run_model
from jaxgru.finetune._sharding import batch_size_of, place
from jaxgru.finetune._validation import checked_data
from jaxgru.model import Model

Array = jax.Array


def evaluate(
    model: Model,
    data: Sequences,
    loss: Loss,
    *,
    batch_size: int = 256,
    precision: Precision = None,
    mesh: jax.sharding.Mesh | None = None,
) -> float:
    """Return the mean loss of a model over all valid predictions, without dropout.

    Args:
        model: the model.
        data: the sequences.
        loss: the loss.
        batch_size: sequences in a batch, at least 1.
        precision: the precision of the matrix products, as in ``jaxgru.gru``.
        mesh: the devices among which a batch is split, as in ``jaxgru.finetune.fit``.

    Returns:
        The mean, in double precision.

    Raises:
        ValueError: the data is invalid, or does not fit the model or the loss.

    >>> import jax, numpy as np, jaxgru
    >>> from jaxgru.finetune import Sequences, evaluate, regression
    >>> from jaxgru.model import Model
    >>> model = Model(net=jaxgru.init(jax.random.key(0), 3, 5))
    >>> data = Sequences(np.zeros((8, 20, 3), np.float32), np.ones((8, 20, 5), np.float32))
    >>> evaluate(model, data, regression())
    1.0
    """
    model = checked_model(model)
    data = checked_data(data, model, loss, "data")
    return mean_loss(model, data, loss, batch_size, precision=precision, mesh=mesh)


def mean_loss(
    model: Model,
    data: Any,
    loss: Loss,
    batch_size: int,
    *,
    precision: Precision,
    mesh: jax.sharding.Mesh | None,
) -> float:
    """Return the result of ``evaluate`` for data that was checked before."""
    total = count = 0.0
    rows = np.arange(len(data.inputs))
    size = batch_size_of(batch_size, len(rows), mesh)
    with_lengths = len(rows) % size != 0
    for at in range(0, len(rows), size):
        part = take(data, rows[at : at + size], size, with_lengths=with_lengths)
        sums = _total(model, place(part, mesh), loss, precision)
        total, count = total + float(sums[0]), count + float(sums[1])
    return total / count


@functools.partial(jax.jit, static_argnames=("loss", "precision"))
def _total(model: Model, data: Sequences, loss: Loss, precision: Precision) -> tuple[Array, Array]:
    options = RunOptions(precision=precision)
    run = run_model(model, data.inputs, data.lengths, None, loss=loss, options=options)
    return total_loss(loss, run.predictions, data.targets, run.counted)

"""What is trained: a net and what reads its outputs; and its predictions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgru.dropout import Dropout
from jaxgru.finetune.lora import merge
from jaxgru.finetune.losses import On
from jaxgru.recurrence import Remat
from jaxgru.recurrence.step import Precision
from jaxgru.sequence import gru

Array = jax.Array


class Model(NamedTuple):
    """A net and its readout: all weights there are, as one pytree.

    Args:
        net: as ``jaxgru.gru`` takes it, or a ``LowRank`` of such.
        readout: a pytree that is called with the outputs of the net and returns predictions, or
            None, where the outputs are the predictions.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import Model, leaf_paths, linear_readout
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, use_bias=False)
    >>> leaf_paths(Model(net, linear_readout(jax.random.key(1), 5, 2)))
    ['net.kernel', 'net.recurrent_kernel', 'readout.kernel', 'readout.bias']
    """

    net: Any
    readout: Any = None


class RunOptions(NamedTuple):
    """How a net is run in training: see ``jaxgru.gru`` for each."""

    dropout: float | Dropout = 0.0
    recurrent_dropout: float = 0.0
    precision: Precision = None
    remat: Remat = None


def predict(model: Model, inputs: Any, lengths: Any = None, *, on: On = "steps") -> Any:
    """Return the predictions of a model.

    Args:
        model: the net and its readout.
        inputs: ``(..., T, I)``.
        lengths: integers ``(...)``, or None: all steps count.
        on: "steps" for predictions at every step, "last" for those from the last that counts.

    Returns:
        The predictions, ``(..., T, O)`` or ``(..., O)``.

    Raises:
        ValueError: as ``jaxgru.gru`` does.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> from jaxgru.finetune import Model, linear_readout, predict
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> model = Model(net, linear_readout(jax.random.key(1), 5, 2))
    >>> predict(model, jnp.ones((4, 7, 3))).shape
    (4, 7, 2)
    """
    predictions, _ = run_model(model, inputs, lengths, None, on=on)
    return predictions


def run_model(
    model: Model,
    inputs: Any,
    lengths: Any,
    h0: Any,
    *,
    on: On,
    options: RunOptions = RunOptions(),  # noqa: B008 (a tuple: nobody can change it)
    key: Array | None = None,
) -> tuple[Any, Any]:
    """Return the predictions of a model and the last state of its net.

    Arguments are those of ``predict``, and of ``jaxgru.gru`` for h0, the options and the key.
    """
    ys, h = gru(
        merge(model.net),
        jnp.asarray(inputs),
        h0,
        lengths=None if lengths is None else jnp.asarray(lengths),
        return_sequences=on == "steps",
        dropout=options.dropout,
        recurrent_dropout=options.recurrent_dropout,
        precision=options.precision,
        remat=options.remat,
        key=key,
    )
    return (ys if model.readout is None else model.readout(ys)), h

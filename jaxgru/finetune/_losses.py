"""Losses over padded sequences: the mean of the costs of the valid predictions."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgru._params import at_least_float32

Array = jax.Array

On: TypeAlias = Literal["steps", "last"]


class Loss(NamedTuple):
    """The cost of each prediction. Training and evaluation use the mean over the valid predictions.

    Args:
        values: a function of predictions and targets, both with leading axes ``(B, T)``, or
            ``(B,)`` for the last state, that returns the cost of each, ``(B, T)`` or ``(B,)``.
        on: "steps" for predictions at every step, "last" for those at the last valid step.
        check: a function of the shape of all predictions, ``(N, T, ...)`` or ``(N, ...)``, the
            targets, and booleans ``(N, T)`` or ``(N,)``, True for the targets of valid predictions.
            It raises ValueError for invalid targets. None: no check.
        of_logits: whether the predictions are those before the final softmax or sigmoid of a model.

    >>> import jax.numpy as jnp
    >>> from jaxgru.finetune import Loss
    >>> absolute = Loss(lambda predictions, targets: abs(predictions - targets).sum(-1), "steps")
    >>> absolute.values(jnp.ones((2, 7, 3)), jnp.zeros((2, 7, 3))).shape
    (2, 7)
    """

    values: Callable[[Array, Array], Array]
    on: On
    check: Callable[[tuple[int, ...], np.ndarray, np.ndarray], None] | None = None
    of_logits: bool = False


def regression(on: On = "steps") -> Loss:
    """Return the squared error: with p the predictions and y the targets, ``mean((p - y)^2)``.

    Args:
        on: "steps", targets ``(N, T, O)``, or "last", targets ``(N, O)``.

    Returns:
        The loss. The mean is over the O elements of a prediction and over the valid predictions.

    Raises:
        ValueError: on is neither "steps" nor "last".

    >>> import jax.numpy as jnp
    >>> from jaxgru.finetune import regression
    >>> regression("last").values(jnp.array([[1.0, 3.0]]), jnp.zeros((1, 2))).tolist()
    [5.0]
    """
    return Loss(_squared_error, _checked_on(on))


def classification(on: On = "steps") -> Loss:
    """Return the cross-entropy of a softmax: with c the class, ``-log(softmax(p)[c])``.

    For predictions of size 1, it is that of a sigmoid: ``-log(sigmoid(p))`` for class 1 and
    ``-log(1 - sigmoid(p))`` for class 0. If the model ends with a softmax or a sigmoid, p is its
    input.

    Args:
        on: "steps", targets ``(N, T)``, or "last", targets ``(N,)``; integers from 0 to C - 1,
            where C is the size of a prediction, or 2 if that is 1.

    Returns:
        The loss, in nats.

    Raises:
        ValueError: on is neither "steps" nor "last".

    >>> import jax.numpy as jnp
    >>> from jaxgru.finetune import classification
    >>> loss = classification("last").values(jnp.zeros((1, 4)), jnp.array([2]))
    >>> bool(jnp.allclose(loss, jnp.log(4.0)))
    True
    """
    return Loss(_cross_entropy, _checked_on(on), check_classes, of_logits=True)


def total_loss(
    loss: Loss, predictions: Array, targets: Any, counted: Array | None
) -> tuple[Array, Array]:
    """Return the sum of the costs of the valid predictions and the number of these predictions.

    ``counted`` are the flags of a ``Run``. Raises ValueError unless the loss returns one
    cost for each prediction.
    """
    targets = jnp.asarray(targets)
    if counted is not None:
        # Masked before and after the loss: otherwise an infinite derivative at an invalid
        # prediction, times zero, is NaN.
        predictions, targets = (_masked(counted, array) for array in (predictions, targets))
    values = loss.values(predictions, targets)
    expected = predictions.shape[: 1 if loss.on == "last" else 2]
    if values.shape != expected:
        if loss.on == "last" and predictions.ndim > 2:
            raise ValueError(
                f"the predictions have shape {predictions.shape}, and the loss is on 'last': "
                "expected a loss on 'steps', or one cost for each sequence"
            )
        raise ValueError(
            f"the values of the loss have shape {values.shape}: expected {expected}, one for each "
            "prediction"
        )
    values = values.astype(at_least_float32(values.dtype))
    if counted is None:
        return values.sum(), jnp.asarray(values.size, values.dtype)
    return _masked(counted, values).sum(), counted.sum().astype(values.dtype)


def check_classes(shape: tuple[int, ...], targets: np.ndarray, counted: np.ndarray) -> None:
    """Raise ValueError for a target that is not a class, see ``Loss``."""
    count = max(shape[-1], 2)
    wrong = np.argwhere(counted & ((targets < 0) | (targets >= count)))
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        raise ValueError(
            f"targets[{', '.join(map(str, place))}] is {targets[place]}: expected a class from 0 "
            f"to {count - 1}"
        )


def _masked(counted: Array, array: Array) -> Array:
    flags = counted.reshape(counted.shape + (1,) * (array.ndim - counted.ndim))
    return jnp.where(flags, array, jnp.zeros((), array.dtype))


def _squared_error(predictions: Array, targets: Array) -> Array:
    if predictions.shape != targets.shape:
        raise ValueError(f"targets has shape {targets.shape}: expected {predictions.shape}")
    return jnp.mean((predictions - targets.astype(predictions.dtype)) ** 2, axis=-1)


def _cross_entropy(predictions: Array, targets: Array) -> Array:
    if predictions.shape[:-1] != targets.shape:
        raise ValueError(f"targets has shape {targets.shape}: expected {predictions.shape[:-1]}")
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise ValueError(f"targets has dtype {targets.dtype}: expected integers, the classes")
    costs: Array
    if predictions.shape[-1] == 1:
        labels = targets.astype(predictions.dtype)
        costs = optax.sigmoid_binary_cross_entropy(predictions[..., 0], labels)
        return costs
    costs = optax.softmax_cross_entropy_with_integer_labels(predictions, targets)
    return costs


def _checked_on(on: On) -> On:
    if on not in ("steps", "last"):
        raise ValueError(f"on is {on!r}: expected 'steps' or 'last'")
    return on

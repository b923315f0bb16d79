"""Training data: sequences, their targets and their lengths."""

from typing import NamedTuple

import jax
import numpy as np
from jax.typing import ArrayLike


class Sequences(NamedTuple):
    """N sequences of up to T steps, padded to the same length.

    Args:
        inputs: ``(N, T, I)``, floating-point; for an ``Embedding``, integers ``(N, T)``.
        targets: at every step of the predictions, ``(N, T, O)`` numbers or ``(N, T)`` classes; for
            each sequence, ``(N, O)`` numbers or ``(N,)`` classes. Classes are integers from 0.
        lengths: integers ``(N,)``, 0 to T: the number of valid steps of each sequence. Later steps,
            even NaN, affect neither losses nor gradients, and sequences of length 0 are ignored.
            None: all steps are valid.

    >>> import numpy as np
    >>> from jaxgru.finetune import Sequences
    >>> Sequences(np.zeros((8, 20, 3)), np.zeros((8, 20, 2)), np.full(8, 15)).targets.shape
    (8, 20, 2)
    """

    inputs: jax.Array | np.ndarray
    targets: jax.Array | np.ndarray
    lengths: jax.Array | np.ndarray | None = None


def next_step(inputs: ArrayLike, lengths: ArrayLike | None = None) -> Sequences:
    """Return data whose target at every step is the input of the next step.

    With ``x`` the inputs and ``n`` the lengths::

        inputs  x[0 : T - 1]        targets  x[1 : T]        lengths  max(n - 1, 0)

    Args:
        inputs: ``(N, T, I)``, T at least 2.
        lengths: integers ``(N,)``, or None.

    Returns:
        The data, T - 1 steps long, for ``jaxgru.finetune.regression()``.

    Raises:
        ValueError: the inputs are not sequences of two or more steps.

    >>> import numpy as np
    >>> from jaxgru.finetune import next_step
    >>> next_step(np.arange(4.0).reshape(1, 4, 1)).targets.ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    inputs = np.asarray(inputs)
    if inputs.ndim != 3 or inputs.shape[1] < 2:
        raise ValueError(f"inputs has shape {inputs.shape}: expected (N, T, I), T at least 2")
    shorter = None if lengths is None else np.maximum(np.asarray(lengths) - 1, 0)
    return Sequences(inputs[:, :-1], inputs[:, 1:], shorter)

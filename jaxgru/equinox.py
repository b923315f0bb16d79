"""An Equinox GRU cell over time, with the loops of jaxgru: ``import jaxgru.equinox``."""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxgru._dropins import candidate_bias, promoted, reorder
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._sequence import gru

eqx: Any = need("equinox", "equinox", "jaxgru.equinox")
__all__ = ["GRU", "scan"]


def scan(
    cell: Any, xs: Array, h0: Array | None = None, *, resets: Any = None, reverse: bool = False
) -> tuple[Array, Array]:
    """Return the last state of an ``equinox.nn.GRUCell`` over a sequence, and all states.

    It is ``jax.lax.scan(lambda h, x: (cell(x, h),) * 2, h0, xs, reverse=reverse)``, with batch axes
    and episodes. Half precision is computed in float32 and rounded once.

    Args:
        cell: an ``equinox.nn.GRUCell``, concrete or under any transformation.
        xs: the inputs, ``(T, I)``; or ``(..., T, I)``, with any batch axes.
        h0: the first state, ``(H,)`` or ``(..., H)``; None means zeros.
        resets: booleans or numbers ``(..., T)``, True at the first step of each episode, before
            which the state is set to zero. In reverse, it is set to zero before the last step of
            the episode.
        reverse: run from the last step to the first.

    Returns:
        The last state ``(..., H)`` and the states ``(..., T, H)``, in the order of ``lax.scan``,
        with the dtype that the cell returns.

    Raises:
        ValueError: cell is not exactly an ``equinox.nn.GRUCell``, or shapes do not fit.

    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> import jaxgru.equinox
    >>> cell = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
    >>> h, ys = jaxgru.equinox.scan(cell, jnp.ones((5, 3)))
    >>> h.shape, ys.shape
    ((4,), (5, 4))

    Source: ``equinox/nn/_rnn.py``.
    """
    if type(cell) is not eqx.nn.GRUCell:
        raise ValueError(f"cell is a {type(cell).__name__}: expected an equinox.nn.GRUCell")
    xs = jnp.asarray(xs)
    state = jnp.zeros(cell.hidden_size, xs.dtype) if h0 is None else jnp.asarray(h0)
    # One sequence, because the cell has no batch axis.
    x, h = (jnp.zeros(array.shape[-1:], array.dtype) for array in (xs, state))
    dtype = eqx.filter_eval_shape(cell, x, h).dtype
    inputs, params = promoted((xs, _layer(cell)))
    begins, start = (None, None) if resets is None else (jnp.asarray(resets) != 0, 0 * h)
    ys, last = gru(params, inputs, state, reverse=reverse, resets=begins, reset_state=start)
    return last.astype(dtype), ys.astype(dtype)


class GRU(eqx.Module):  # type: ignore[misc]
    """A GRU over time: an ``equinox.Module`` with an ``equinox.nn.GRUCell``.

    Its leaves are those of the cell, in the same order, so a file of
    ``equinox.tree_serialise_leaves`` of one can be loaded into the other.

    Args:
        cell: the ``equinox.nn.GRUCell``.

    >>> import equinox as eqx, jax, jax.numpy as jnp
    >>> import jaxgru.equinox
    >>> model = jaxgru.equinox.GRU(eqx.nn.GRUCell(3, 4, key=jax.random.key(0)))
    >>> h, ys = jax.vmap(model)(jnp.ones((2, 5, 3)))
    >>> h.shape, ys.shape
    ((2, 4), (2, 5, 4))

    Source: ``equinox/nn/_rnn.py``.
    """

    cell: Any

    def __call__(
        self, xs: Array, h0: Array | None = None, *, key: Array | None = None, **options: Any
    ) -> tuple[Array, Array]:
        """Return the last state and all states, see ``scan``; ``key`` is not used."""
        return scan(self.cell, xs, h0, **options)


def _layer(cell: Any) -> GRUParams:
    biases = (reorder(cell.bias), candidate_bias(cell.bias_n)) if cell.use_bias else (None, None)
    return GRUParams(reorder(cell.weight_ih, 0).T, reorder(cell.weight_hh, 0).T, *biases)

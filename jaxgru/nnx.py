"""Flax nnx's recurrent modules, with the loops of jaxgru: ``import jaxgru.nnx``."""

from typing import Any

import jax
from jax import Array

from jaxgru._dropins import flax_names, hand_over, reorder, run_flax
from jaxgru._optional import need
from jaxgru._params import GRUParams

_nnx: Any = need("flax.nnx", "flax", "jaxgru.nnx")
__all__ = ["RNN", "Bidirectional"]

Bidirectional = _nnx.Bidirectional  # runs two RNNs of this module


class RNN(_nnx.RNN):  # type: ignore[misc]
    """``flax.nnx.RNN`` of a ``flax.nnx.GRUCell``, with the same arguments and state.

    It agrees with Flax as ``jaxgru.linen.RNN`` does. With another cell, parts of it that are not a
    plain ``nnx.Linear``, an activation that jaxgru lacks, ``state_axes`` or ``broadcast_rngs``,
    Flax's own loop runs, with a warning.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> import jaxgru.nnx
    >>> model = jaxgru.nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)))
    >>> model(jnp.ones((2, 5, 3))).shape
    (2, 5, 4)

    Source: ``flax/nnx/nn/recurrent.py``.
    """

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
        rngs: Any = None,
    ) -> Any:
        """Return the outputs, ``(..., T, H)``, or the carry and the outputs; see Flax."""
        given = {
            "initial_carry": initial_carry, "seq_lengths": seq_lengths, "rngs": rngs,
            "return_carry": return_carry, "time_major": time_major, "reverse": reverse,
            "keep_order": keep_order,
        }  # fmt: skip
        if reason := _reason(self):
            hand_over("nnx.RNN", reason)
            return super().__call__(inputs, **given)
        # As in Flax, so that the streams of random keys advance equally.
        keys = self.rngs if rngs is None else rngs
        keys = keys.carry.fork() if isinstance(keys, _nnx.Rngs) else keys
        graph, state = _nnx.split(self.cell)
        dense = self.cell.dense_i
        found = run_flax(
            self, inputs, given, params=_params(self.cell), dtype=dense.dtype,
            first=lambda shape: self.cell.initialize_carry(shape, keys),
            step=lambda carry, x: _nnx.merge(graph, state)(carry, x),
            flip=_nnx.nn.recurrent.flip_sequences, precision=dense.precision,
        )  # fmt: skip
        return super().__call__(inputs, **given) if found is None else found


def _reason(rnn: Any) -> str | None:
    """Return the reason why Flax's own loop runs, or None."""
    cell = rnn.cell
    if type(cell) is not _nnx.GRUCell:
        return f"the cell is a {type(cell).__name__}, not a flax.nnx.GRUCell"
    if dict(rnn.state_axes) != {...: _nnx.Carry} or rnn.broadcast_rngs is not None:
        return "it has state_axes or broadcast_rngs"
    for name, dense in (("dense_i", cell.dense_i), ("dense_h", cell.dense_h)):
        if type(dense) is not _nnx.Linear:
            return f"{name} of the cell is a {type(dense).__name__}, not a flax.nnx.Linear"
        product = dense.promote_dtype, dense.dot_general, dense.preferred_element_type
        alike = (dense.dtype, dense.precision) == (cell.dense_i.dtype, cell.dense_i.precision)
        if product != (_nnx.nn.dtypes.promote_dtype, jax.lax.dot_general, None) or not alike:
            return f"{name} of the cell has a custom promotion or product"
    return "jaxgru lacks an activation of the cell" if None in flax_names(cell) else None


def _params(cell: Any) -> GRUParams:
    sides = cell.dense_i, cell.dense_h
    kernel, recurrent_kernel = (reorder(side.kernel[...]) for side in sides)
    bias, recurrent_bias = (b if (b := s.bias) is None else reorder(b[...]) for s in sides)
    return GRUParams(kernel, recurrent_kernel, bias, recurrent_bias, True, *flax_names(cell))

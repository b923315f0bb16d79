"""Flax linen's recurrent modules, with the loops of jaxgru: ``from jaxgru import linen``."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from jaxgru._dropins import candidate_bias, flax_names, hand_over, promoted, run_flax
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._sequence import gru

nn: Any = need("flax.linen", "flax", "jaxgru.linen")
__all__ = ["RNN", "Bidirectional", "ScannedGRU", "ScannedRNN"]

Bidirectional = nn.Bidirectional  # runs two RNNs of this module


class RNN(nn.RNN):  # type: ignore[misc]
    """``flax.linen.RNN`` of a ``flax.linen.GRUCell``, with the same arguments and parameters.

    Outputs agree with those of Flax up to float32 rounding. Half precision is computed in float32
    and rounded once. For a length of 0 the carry is the initial carry, while Flax returns the carry
    after the last padding step. ``unroll`` has no effect. The cell itself is not called.

    With another cell, an activation that jaxgru lacks, axes, collections or splits of keys other
    than the defaults, or a method interceptor, Flax's own loop runs, with a warning.

    >>> import jax, jax.numpy as jnp
    >>> import flax.linen as nn
    >>> from jaxgru import linen
    >>> model = linen.RNN(nn.GRUCell(4))
    >>> variables = model.init(jax.random.key(0), jnp.ones((2, 5, 3)))
    >>> model.apply(variables, jnp.ones((2, 5, 3))).shape
    (2, 5, 4)

    Source: ``flax/linen/recurrent.py``.
    """

    def __call__(
        self,
        inputs: Array,
        *,
        initial_carry: Any = None,
        init_key: Array | None = None,
        seq_lengths: Array | None = None,
        return_carry: bool | None = None,
        time_major: bool | None = None,
        reverse: bool | None = None,
        keep_order: bool | None = None,
    ) -> Any:
        """Return the outputs, ``(..., T, H)``, or the carry and the outputs; see Flax."""
        given = {
            "initial_carry": initial_carry, "init_key": init_key, "seq_lengths": seq_lengths,
            "return_carry": return_carry, "time_major": time_major, "reverse": reverse,
            "keep_order": keep_order,
        }  # fmt: skip
        weights = nn.meta.unbox(self.cell.variables.get("params"))
        if self.is_initializing() or not weights:
            return super().__call__(inputs, **given)
        if reason := _reason(self):
            hand_over("linen.RNN", reason)
            return super().__call__(inputs, **given)
        key = jax.random.key(0) if init_key is None else init_key
        found = run_flax(
            self, inputs, given, params=_params(self.cell, weights), dtype=self.cell.dtype,
            step=_step(self.cell, weights), flip=nn.recurrent.flip_sequences,
            first=lambda shape: self.cell.initialize_carry(key, shape),
        )  # fmt: skip
        return super().__call__(inputs, **given) if found is None else found


class ScannedRNN(nn.Module):  # type: ignore[misc]
    """A GRU over time whose carry is reset at each episode, as in PureJaxRL and JaxMARL.

    It is called with a carry ``(B, H)``, and with inputs ``(T, B, I)`` and flags ``(T, B)``, bool
    or numbers. The carry is set to zero before a step with a flag. The parameters have the same
    names as there, below ``ScannedRNN_0`` and ``GRUCell_0``.

    Args:
        cell_name: the name of the cell among the parameters.
        cell_options: arguments of ``flax.linen.GRUCell``, with activations that jaxgru has.

    >>> import jax, jax.numpy as jnp
    >>> from jaxgru.linen import ScannedGRU
    >>> carry = ScannedGRU.initialize_carry(2, 4)
    >>> inputs = jnp.ones((5, 2, 3)), jnp.zeros((5, 2), bool)
    >>> variables = ScannedGRU().init(jax.random.key(0), carry, inputs)
    >>> carry, ys = ScannedGRU().apply(variables, carry, inputs)
    >>> carry.shape, ys.shape
    ((2, 4), (5, 2, 4))

    Source: ``ScannedRNN`` of ``purejaxrl/ppo_rnn.py``.
    """

    cell_name: str = "GRUCell_0"
    cell_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @nn.compact  # type: ignore[untyped-decorator]
    def __call__(self, carry: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the last carry ``(B, H)`` and the outputs ``(T, B, H)``."""
        inputs, resets = map(jnp.asarray, x)
        cell = nn.GRUCell(carry.shape[-1], name=self.cell_name, **self.cell_options)
        if reason := _reason_of(cell):
            raise ValueError(f"ScannedRNN cannot run its cell: {reason}")
        one = jnp.zeros(inputs.shape[1:], inputs.dtype)
        if self.is_initializing():
            cell(carry, one)
        weights = nn.meta.unbox(cell.variables["params"])
        new, y = jax.eval_shape(_step(cell, weights), carry, one)
        params, xs = promoted((_params(cell, weights), inputs), cell.dtype)
        start = jnp.zeros_like(carry)
        ys, last = gru(params, xs, carry, resets=resets != 0, reset_state=start, time_major=True)
        return last.astype(new.dtype), ys.astype(y.dtype)

    @staticmethod
    def initialize_carry(batch_size: int, hidden_size: int) -> Array:
        """Return a carry of zeros ``(B, H)``."""
        return jnp.zeros((batch_size, hidden_size))


ScannedGRU = ScannedRNN


def _reason(rnn: Any) -> str | None:
    """Return the reason why Flax's own loop runs, or None."""
    if type(rnn.cell) is not nn.GRUCell:
        return f"the cell is a {type(rnn.cell).__name__}, not a flax.linen.GRUCell"
    lifted = (rnn.variable_axes, rnn.variable_broadcast, rnn.variable_carry, rnn.split_rngs)
    if lifted != ({}, "params", False, {"params": False}):
        return "its axes, collections or splits of keys are not the defaults"
    return _reason_of(rnn.cell)


def _reason_of(cell: Any) -> str | None:
    if getattr(nn.module, "_global_interceptor_stack", ()):
        return "a method interceptor is active"
    return "jaxgru lacks an activation of the cell" if None in flax_names(cell) else None


def _step(cell: Any, weights: Mapping[str, Any]) -> Any:
    alone = cell.clone(parent=None)
    return lambda carry, x: alone.apply({"params": weights}, carry, x)


def _params(cell: Any, weights: Mapping[str, Any]) -> GRUParams:
    def joined(side: str, kind: str) -> Array:
        return jnp.concatenate([weights[f"{side}{gate}"][kind] for gate in "zrn"], axis=-1)

    biases = joined("i", "bias"), candidate_bias(weights["hn"]["bias"])
    return GRUParams(joined("i", "kernel"), joined("h", "kernel"), *biases, True, *flax_names(cell))

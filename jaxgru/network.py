"""A net over time: its layers one after the other, and both directions merged."""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jaxgru.dropout import Dropout, state_factors
from jaxgru.masks import cuts
from jaxgru.net import Backward, Bidirectional, Net, count_layers, merged
from jaxgru.params import GRUParams
from jaxgru.recurrence import Remat, last_state, states
from jaxgru.recurrence.step import Controls, Precision, fold, variant_of

Array = jax.Array


class NetRun(NamedTuple):
    """What is the same for every layer of a net while it runs over a batch."""

    valid: Array | None  # (T, B), False where the state is held
    resets: Array | None  # (T, B), True where an episode begins
    dropout: Dropout | None
    recurrent_dropout: float
    keys: Iterator[Array]  # one is taken for each draw
    precision: Precision
    remat: Remat

    def outputs(
        self, net: Net, xs: Array, h0: Any, reset_state: Any, *, reverse: bool, last_only: bool
    ) -> tuple[Any, Any]:
        """Return the outputs of a net, ``(T, B, O)`` or ``(B, O)`` of the last, and its last state.

        The states are in the structure of the net, ``(B, H)`` each.
        """
        if isinstance(net, GRUParams):
            return self._layer(net, xs, h0, reset_state, reverse=reverse, last_only=last_only)
        if isinstance(net, Bidirectional):
            return self._both(net, xs, h0, reset_state, reverse=reverse, last_only=last_only)
        if isinstance(net, Backward):
            xs, h = self.outputs(
                net.net, xs, h0.net, reset_state.net, reverse=not reverse, last_only=last_only
            )
            return xs, Backward(h)
        return self._stack(net, xs, h0, reset_state, reverse=reverse, last_only=last_only)

    def _stack(
        self,
        net: tuple[Net, ...] | list[Net],
        xs: Array,
        h0: Any,
        reset_state: Any,
        *,
        reverse: bool,
        last_only: bool,
    ) -> tuple[Any, Any]:
        last = []
        for i, layer in enumerate(net):
            if i and self.dropout is not None and self.dropout.on == "between":
                xs = self.dropout.apply(xs, next(self.keys))
            is_top = i == len(net) - 1
            xs, h = self.outputs(
                layer, xs, h0[i], reset_state[i], reverse=reverse, last_only=last_only and is_top
            )
            last.append(h)
        return xs, last if isinstance(net, list) else tuple(last)

    def _both(
        self,
        net: Bidirectional,
        xs: Array,
        h0: Any,
        reset_state: Any,
        *,
        reverse: bool,
        last_only: bool,
    ) -> tuple[Any, Any]:
        run = functools.partial(self.outputs, last_only=last_only)
        forward, h_forward = run(net.forward, xs, h0.forward, reset_state.forward, reverse=reverse)
        backward, h_backward = run(
            net.backward, xs, h0.backward, reset_state.backward, reverse=not reverse
        )
        last = Bidirectional(h_forward, h_backward, net.merge)
        return merged(net.merge, forward, backward), last

    def _layer(
        self,
        params: GRUParams,
        xs: Array,
        h0: Array,
        reset_state: Array,
        *,
        reverse: bool,
        last_only: bool,
    ) -> tuple[Array, Array]:
        if self.dropout is not None and self.dropout.on == "inputs":
            xs = self.dropout.apply(xs, next(self.keys))
        factors = None
        if self.recurrent_dropout:
            factors = state_factors(self.recurrent_dropout, next(self.keys), h0.shape, h0.dtype)
        controls = Controls(
            valid=self.valid,
            resets=None if self.resets is None else cuts(self.resets, self.valid, reverse=reverse),
            recurrent_dropout=factors,
        )
        return layer_states(
            params,
            controls,
            xs,
            h0,
            reset_state,
            reverse=reverse,
            last_only=last_only,
            precision=self.precision,
            remat=self.remat,
        )


def layer_states(
    params: GRUParams,
    controls: Controls,
    xs: Array,
    h0: Array,
    reset_state: Array,
    *,
    reverse: bool,
    last_only: bool,
    precision: Precision,
    remat: Remat,
) -> tuple[Array, Array]:
    """Return the states of one layer, ``(T, B, H)`` or ``(B, H)`` of the last, and the last."""
    if len(xs) == 0:
        return (h0 if last_only else jnp.zeros((0, *h0.shape), h0.dtype)), h0
    run = functools.partial(
        last_state if last_only else states, variant_of(params, precision), reverse, remat
    )
    ys = run(fold(params), controls, xs, h0, reset_state)
    if last_only:
        return ys, ys
    # Without the barrier, XLA computes the last state apart from the others if the loop is short
    # enough to be unrolled, and its last bit may then differ.
    ys = lax.optimization_barrier(ys)  # type: ignore[no-untyped-call]
    return ys, ys[0 if reverse else -1]


def layer_keys(net: Net, key: Array | None) -> Iterator[Array]:
    """Return the keys of a run: two for each layer, for its inputs and its state."""
    return iter(()) if key is None else iter(jax.random.split(key, 2 * count_layers(net)))

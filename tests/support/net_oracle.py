"""The oracle for nets, padding, episodes and dropout: each stretch of each sequence run by itself.

Steps that do not count are taken out, what is left is cut where an episode begins, and the pieces
go through ``oracle.gru`` one by one. Nets are walked layer by layer.
"""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import oracle

import jaxgru


class Factors(NamedTuple):
    """What dropout multiplies in one layer: its inputs (B, T, I) and its state (B, H)."""

    inputs: Any = 1.0
    state: Any = 1.0


def run(net, xs, h0, *, valid=None, resets=None, reset_state=None, reverse=False, factors=None):
    """Return the outputs (B, T, O), or a pair, and the last state, of xs (B, T, I).

    ``h0`` and ``reset_state`` mirror the net, with (B, H) for each layer, and so does ``factors``,
    with ``Factors``.
    """
    valid = np.ones(xs.shape[:2], bool) if valid is None else np.asarray(valid)
    resets = np.zeros(xs.shape[:2], bool) if resets is None else np.asarray(resets)
    layer = functools.partial(_layer, valid, resets)
    reset_state = jax.tree.map(np.zeros_like, h0) if reset_state is None else reset_state
    xs = np.asarray(xs).astype(np.float64)
    return walk(layer, net, xs, h0, reset_state, factors, reverse=reverse)


def walk(layer, net, xs, h0, reset_state, factors=None, *, reverse=False):
    """Return the outputs and the last state of a net, ``layer`` being run for each of its layers.

    That is ``layer(params, xs, h0, reset_state, factors, reverse)``, which returns both.
    """
    run = functools.partial(walk, layer)
    parts = (h0, reset_state, factors)
    if isinstance(net, jaxgru.Bidirectional):
        (forward, h_forward), (backward, h_backward) = (
            run(
                getattr(net, side),
                xs,
                *_within(parts, lambda part, s=side: getattr(part, s)),
                reverse=reverse if side == "forward" else not reverse,
            )
            for side in ("forward", "backward")
        )
        h = jaxgru.Bidirectional(h_forward, h_backward, net.merge)
        return merged(net.merge, forward, backward), h
    if isinstance(net, jaxgru.Backward):
        within = _within(parts, lambda part: part.net)
        ys, h = run(net.net, xs, *within, reverse=not reverse)
        return ys, jaxgru.Backward(h)
    if isinstance(net, tuple | list):
        last = []
        for i, inner in enumerate(net):
            xs, h = run(inner, xs, *_within(parts, lambda part, i=i: part[i]), reverse=reverse)
            last.append(h)
        return xs, type(net)(last)
    return layer(net, xs, h0, reset_state, factors or Factors(), reverse)


def _within(parts, get):
    return (None if part is None else get(part) for part in parts)


def last_outputs(h):
    """Return what a net gives out at the last step of each direction, from its last state."""
    if isinstance(h, jaxgru.Bidirectional):
        return merged(h.merge, last_outputs(h.forward), last_outputs(h.backward))
    if isinstance(h, jaxgru.Backward):
        return last_outputs(h.net)
    return last_outputs(h[-1]) if isinstance(h, tuple | list) else h


def merged(merge, forward, backward):
    """Return both directions as one, in the arrays' own library."""
    if merge is None:
        return forward, backward
    if merge == "concat":
        return forward.__array_namespace__().concat([forward, backward], axis=-1)
    return {
        "sum": forward + backward,
        "mul": forward * backward,
        "ave": (forward + backward) / 2,
    }[merge]


def _layer(valid, resets, params, xs, h0, reset_state, factors, reverse):
    rows, steps, _ = xs.shape
    ys = np.full((rows, steps, params.hidden_size), np.nan)
    last = np.zeros((rows, params.hidden_size))
    state = np.broadcast_to(factors.state, last.shape)
    xs = xs * factors.inputs
    for row in range(rows):
        ys[row], last[row] = _sequence(
            params, xs[row], h0[row], reset_state[row], valid[row], resets[row], state[row], reverse
        )
    return ys, last


def _sequence(params, xs, h0, reset_state, valid, resets, factor, reverse):
    episodes = [[]]
    for t in np.flatnonzero(valid):
        if resets[t]:
            episodes.append([])
        episodes[-1].append(t)
    ys = np.full((len(xs), params.hidden_size), np.nan)
    # The piece before the first flag may be empty; it is what h0 goes into, unless backwards,
    # where h0 goes into the last piece.
    for i, episode in enumerate(episodes):
        first = i == len(episodes) - 1 if reverse else i == 0
        start = h0 if first else reset_state
        ys[episode], _ = oracle.gru(params, xs[episode], start, reverse=reverse, factor=factor)
    h = np.asarray(h0).astype(np.float64)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        h = ys[t] = ys[t] if valid[t] else h
    return ys, h

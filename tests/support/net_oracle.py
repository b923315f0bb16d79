"""The oracle for nets, padding and episodes: each stretch of each sequence run by itself.

Steps that do not count are taken out, what is left is cut where an episode begins, and the pieces
go through ``oracle.gru`` one by one. Nets are walked layer by layer.
"""

import numpy as np
import oracle

import jaxgru


def run(net, xs, h0, *, valid=None, resets=None, reset_state=None, reverse=False):
    """Return the outputs (B, T, O), or a pair, and the last state, of xs (B, T, I).

    ``h0`` and ``reset_state`` mirror the net, with (B, H) for each layer.
    """
    valid = np.ones(xs.shape[:2], bool) if valid is None else np.asarray(valid)
    resets = np.zeros(xs.shape[:2], bool) if resets is None else np.asarray(resets)
    reset_state = h0 if reset_state is None else reset_state
    return _net(net, np.asarray(xs, np.float64), h0, reset_state, valid, resets, reverse)


def _net(net, xs, h0, reset_state, valid, resets, reverse):
    if isinstance(net, jaxgru.Bidirectional):
        (forward, h_forward), (backward, h_backward) = (
            _net(
                getattr(net, side),
                xs,
                getattr(h0, side),
                getattr(reset_state, side),
                valid,
                resets,
                backwards,
            )
            for side, backwards in (("forward", reverse), ("backward", not reverse))
        )
        h = jaxgru.Bidirectional(h_forward, h_backward, net.merge)
        return MERGES[net.merge](forward, backward), h
    if isinstance(net, jaxgru.Backward):
        ys, h = _net(net.net, xs, h0.net, reset_state.net, valid, resets, not reverse)
        return ys, jaxgru.Backward(h)
    if isinstance(net, tuple | list):
        last = []
        for layer, *states in zip(net, h0, reset_state, strict=True):
            xs, h = _net(layer, xs, *states, valid, resets, reverse)
            last.append(h)
        return xs, type(net)(last)
    rows = [
        _layer(net, *row, reverse) for row in zip(xs, h0, reset_state, valid, resets, strict=True)
    ]
    return tuple(np.stack(part) for part in zip(*rows, strict=True))


def _layer(params, xs, h0, reset_state, valid, resets, reverse):
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
        ys[episode], _ = oracle.gru(params, xs[episode], start, reverse=reverse)
    h = np.asarray(h0, np.float64)
    for t in reversed(range(len(xs))) if reverse else range(len(xs)):
        h = ys[t] = ys[t] if valid[t] else h
    return ys, h


MERGES = {
    "concat": lambda f, b: np.concatenate([f, b], axis=-1),
    "sum": lambda f, b: f + b,
    "mul": lambda f, b: f * b,
    "ave": lambda f, b: (f + b) / 2,
    None: lambda f, b: (f, b),
}

"""The layers of a net, their directions and their states."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._net import Backward, Bidirectional, Net, State, check_net, map_state, merged
from jaxgru._params import GRUParams
from jaxgru._recurrence.layer import Precision
from jaxgru._sequence import gru

Array = jax.Array


class LayerRun(NamedTuple):
    """The inputs and states of one layer in a run of its net."""

    place: str  # as a Python expression: net[0].forward
    params: GRUParams
    xs: Array  # its inputs, (..., T, I)
    before: Array  # its states before each step, (..., T, H)
    ys: Array  # and after each step


def layers(net: Net) -> list[tuple[str, GRUParams]]:
    """Return the layers of a net with their positions, in the order of the leaves of a state.

    >>> import jax, jaxgru
    >>> a = jaxgru.init(jax.random.key(0), 5, 5)
    >>> [place for place, _ in layers([jaxgru.Bidirectional(a, a, "sum"), a])]
    ['net[0].forward', 'net[0].backward', 'net[1]']
    """
    found: list[tuple[str, GRUParams]] = []
    map_state(lambda layer, _, place: found.append((place, layer)), net, None, "net")
    return found


def output_size(net: Net) -> int:
    """Return the number of outputs of a net; both outputs of a pair count."""
    _, outputs = check_net(net)
    if outputs is not None:
        return outputs
    if isinstance(net, Bidirectional):
        return 2 * output_size(net.forward)
    return output_size(net.net if isinstance(net, Backward) else net[-1])  # type: ignore[index]


def split_state(net: Net, h: np.ndarray) -> Any:
    """Split concatenated states ``(..., H1 + H2 + ...)`` into the structure of the net."""
    stop = 0

    def part(layer: GRUParams, _: None, __: str) -> np.ndarray:
        nonlocal stop
        start, stop = stop, stop + layer.hidden_size
        return h[..., start:stop]

    return map_state(part, net, None, "h0")


def directions(net: Net, reverse: bool = False) -> set[bool]:
    """Return the directions of the layers of a net: False for forward, True for backward."""
    if isinstance(net, GRUParams):
        return {reverse}
    if isinstance(net, Bidirectional):
        return directions(net.forward, reverse) | directions(net.backward, not reverse)
    if isinstance(net, Backward):
        return directions(net.net, not reverse)
    return set().union(*(directions(layer, reverse) for layer in net))


def run_layers(
    net: Net, xs: Array, h0: State = None, *, reverse: bool = False, precision: Precision = None
) -> tuple[Any, Any, list[LayerRun]]:
    """Return the outputs and the last state, as ``jaxgru.gru`` does, and the run of each layer.

    Arguments and errors are those of ``jaxgru.gru``.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> stack = jaxgru.init(jax.random.key(0), 3, 5), jaxgru.init(jax.random.key(1), 5, 4)
    >>> ys, h, (first, second) = run_layers(stack, jnp.ones((7, 3)))
    >>> first.ys.shape, second.xs.shape, ys.shape
    ((7, 5), (7, 5), (7, 4))
    """
    runs: list[LayerRun] = []

    def run(net: Net, xs: Array, h0: Any, place: str, reverse: bool) -> tuple[Any, Any]:
        if isinstance(net, Bidirectional):
            forward, h_forward = run(net.forward, xs, h0.forward, f"{place}.forward", reverse)
            backward, h_back = run(net.backward, xs, h0.backward, f"{place}.backward", not reverse)
            h = Bidirectional(h_forward, h_back, net.merge)
            return merged(net.merge, forward, backward), h
        if isinstance(net, Backward):
            ys, h = run(net.net, xs, h0.net, f"{place}.net", not reverse)
            return ys, Backward(h)
        if isinstance(net, GRUParams):
            ys, h = gru(net, xs, h0, reverse=reverse, precision=precision)
            h0 = jnp.zeros_like(h) if h0 is None else jnp.broadcast_to(h0, h.shape)
            first = h0.astype(ys.dtype)[..., None, :]
            parts = [ys[..., 1:, :], first] if reverse else [first, ys[..., :-1, :]]
            runs.append(LayerRun(place, net, xs, jnp.concatenate(parts, axis=-2), ys))
            return ys, h
        last = []
        for i, layer in enumerate(net):
            xs, h = run(layer, xs, h0[i], f"{place}[{i}]", reverse)
            last.append(h)
        return xs, list(last) if isinstance(net, list) else tuple(last)

    # A None in the state stands for None in each layer of that part.
    h0 = map_state(lambda _, h, __: h, net, h0, "h0")
    ys, h = run(net, xs, h0, "net", reverse)
    return ys, h, runs

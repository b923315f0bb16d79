"""Nets of layers, states of the same structure, and checks that they fit together."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, TypeAlias, TypeVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jaxgru._checks import check_params, type_name, ways_in
from jaxgru._params import GRUParams
from jaxgru._pytree import pytree_dataclass

Array = jax.Array

T = TypeVar("T", covariant=True)  # a net, its state or its outputs

Merge: TypeAlias = Literal["concat", "sum", "mul", "ave"] | None
MERGES: tuple[Merge, ...] = ("concat", "sum", "mul", "ave", None)


@pytree_dataclass(data=("forward", "backward"), meta=("merge",))
@dataclasses.dataclass(frozen=True)
class Bidirectional(Generic[T]):
    """Two nets of equal sizes that run over the same input in opposite directions.

    Their outputs are merged. With ``f`` and ``b`` the outputs at the same step of the input::

        concat  [f, b]        sum  f + b        mul  f * b        ave  (f + b) / 2

    Both are in the order of the input, as in PyTorch and in Keras' ``Bidirectional``. (Keras sets
    masked outputs to zero, as does ``jaxgru.gru(..., zero_masked=True)``.)

    The last state is not ``ys[:, -1]``: the backward net ends at the first step, and with lengths
    the forward net ends at the last valid step. Use the second result of ``gru``.

    The state of a ``Bidirectional`` is a ``Bidirectional`` of the states of its two nets, whose
    merge is ignored.

    Args:
        forward: the net that runs from the first step to the last.
        backward: the net that runs from the last step to the first.
        merge: how the outputs are merged: "concat", "sum", "mul", "ave", or None for a pair of
            outputs, which cannot be the input of another layer.

    Raises:
        ValueError: merge is none of these. ``jaxgru.gru`` raises it for sizes that differ.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> forward, backward = (jaxgru.init(jax.random.key(i), 3, 5) for i in (0, 1))
    >>> ys, h = jaxgru.gru(jaxgru.Bidirectional(forward, backward), jnp.ones((2, 7, 3)))
    >>> ys.shape, h.forward.shape, h.backward.shape
    ((2, 7, 10), (2, 5), (2, 5))

    Source: Schuster and Paliwal 1997; the merges are those of Keras' ``Bidirectional``.
    """

    forward: T
    backward: T
    merge: Merge = "concat"

    def __post_init__(self) -> None:
        # Only static fields are checked, as transformations of pytrees pass any leaves.
        if self.merge not in MERGES:
            options = ", ".join(repr(merge) for merge in MERGES)
            raise ValueError(f"merge is {self.merge!r}: expected one of {options}")


@pytree_dataclass(data=("net",), meta=())
@dataclasses.dataclass(frozen=True)
class Backward(Generic[T]):
    """A net that runs over its input from the last step to the first.

    The outputs are in the order of the input, as in ONNX; Keras' ``go_backwards=True`` returns them
    reversed. The state is a ``Backward`` of the state of the inner net, and the last state is the
    state after the first step of the input.

    Args:
        net: the net that runs backward.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params, xs = jaxgru.init(jax.random.key(0), 3, 5), jnp.ones((2, 7, 3))
    >>> ys, h = jaxgru.gru(jaxgru.Backward(params), xs)
    >>> bool((ys == jaxgru.gru(params, xs, reverse=True)[0]).all()), h.net.shape
    (True, (2, 5))

    Source: the ``direction`` attribute of ONNX's GRU.
    """

    net: T


# Strings within, as the names are those that are being defined.
Net: TypeAlias = GRUParams | Bidirectional["Net"] | Backward["Net"] | Sequence["Net"]
"""A net: a layer, both directions, the backward one, or a sequence of nets, first one first."""

State: TypeAlias = ArrayLike | Bidirectional["State"] | Backward["State"] | Sequence["State"] | None
"""The state of a net, in its structure, with an array for each layer. None means zeros."""


def merged(merge: Merge, forward: Array, backward: Array) -> Array | tuple[Array, Array]:
    """Return the merged outputs of both directions, or the pair if merge is None."""
    if merge is None:
        return forward, backward
    if merge == "concat":
        return jnp.concatenate([forward, backward], axis=-1)
    if merge == "mul":
        return forward * backward
    total = forward + backward
    return total / 2 if merge == "ave" else total


def check_net(net: Net, where: str = "net") -> tuple[int, int | None]:
    """Return the numbers of inputs and of outputs of a net, the latter None for a pair of outputs.

    Raises ValueError with the position and the expected sizes if the layers do not fit together.
    """
    if isinstance(net, GRUParams):
        try:
            check_params(net)
        except ValueError as error:
            # The position of a single layer is obvious.
            raise error if where == "net" else ValueError(f"{where}: {error}") from None
        return net.input_size, net.hidden_size
    if isinstance(net, Bidirectional):
        return _check_bidirectional(net, where)
    if isinstance(net, Backward):
        return check_net(net.net, f"{where}.net")
    if isinstance(net, tuple | list):
        return _check_stack(net, where)
    raise ValueError(
        f"{where} is a {type_name(net)}: expected a GRUParams, a Bidirectional, a Backward, or a "
        f"tuple or list of them{ways_in(net)}"
    )


def _check_bidirectional(net: Bidirectional[Net], where: str) -> tuple[int, int | None]:
    sides = {side: f"{where}.{side}" for side in ("forward", "backward")}
    forward, backward = (check_net(getattr(net, side), sides[side]) for side in sides)
    for (_, outputs), place in zip((forward, backward), sides.values(), strict=True):
        if outputs is None:
            raise ValueError(f"{place} gives a pair of sequences: expected a merge other than None")
    for what, one, other in zip(("inputs", "units"), forward, backward, strict=True):
        if one != other:
            raise ValueError(
                f"{where}.forward has {one} {what} and {where}.backward {other}: expected the same"
            )
    inputs, outputs = forward
    if net.merge is None or outputs is None:
        return inputs, None
    return inputs, 2 * outputs if net.merge == "concat" else outputs


def _check_stack(net: Sequence[Net], where: str) -> tuple[int, int | None]:
    if not net:
        raise ValueError(f"{where} is an empty {type(net).__name__}: expected at least one layer")
    places = [f"{where}[{i}]" for i in range(len(net))]
    sizes = [check_net(layer, place) for layer, place in zip(net, places, strict=True)]
    for i, ((_, outputs), (inputs, _)) in enumerate(itertools.pairwise(sizes)):
        if outputs is None:
            raise ValueError(
                f"{places[i]} gives a pair of sequences, as its merge is None: expected one "
                f"sequence for {places[i + 1]}"
            )
        if outputs != inputs:
            raise ValueError(
                f"{places[i]} gives {outputs} outputs and {places[i + 1]} takes {inputs} inputs: "
                "expected the same"
            )
    return sizes[0][0], sizes[-1][1]


def map_state(
    function: Callable[[GRUParams, Any, str], Any], net: Net, state: State, where: str
) -> Any:
    """Apply ``function(layer, part of the state, position)`` to each layer of a net.

    Returns the results in the structure of the net. A None in the state stands for None in each
    layer of that part.

    Raises ValueError with the position if the state does not have the structure of the net.
    """
    if isinstance(net, GRUParams):
        return function(net, state, where)
    if isinstance(net, Bidirectional):
        if state is None:
            state = Bidirectional(None, None)
        if not isinstance(state, Bidirectional):
            raise ValueError(
                f"{where} is a {_described(state)}: expected a Bidirectional(state, state), as the "
                "net has one there"
            )
        forward, backward = (
            map_state(function, getattr(net, side), getattr(state, side), f"{where}.{side}")
            for side in ("forward", "backward")
        )
        return Bidirectional(forward, backward, net.merge)
    if isinstance(net, Backward):
        if state is None:
            state = Backward(None)
        if not isinstance(state, Backward):
            raise ValueError(
                f"{where} is a {_described(state)}: expected a Backward(state), as the net has one "
                "there"
            )
        return Backward(map_state(function, net.net, state.net, f"{where}.net"))
    kind = list if isinstance(net, list) else tuple
    if state is None:
        state = [None] * len(net)
    if not isinstance(state, tuple | list) or len(state) != len(net):
        raise ValueError(
            f"{where} is a {_described(state)}: expected a {kind.__name__} of {len(net)} "
            "states, one for each layer there"
        )
    parts = zip(net, state, strict=True)
    return kind(map_state(function, *part, f"{where}[{i}]") for i, part in enumerate(parts))


def has_stack(net: Net) -> bool:
    """Return whether a net has a layer whose inputs are the outputs of another."""
    if isinstance(net, GRUParams):
        return False
    if isinstance(net, Bidirectional):
        return has_stack(net.forward) or has_stack(net.backward)
    if isinstance(net, Backward):
        return has_stack(net.net)
    return len(net) > 1 or any(has_stack(layer) for layer in net)


def count_layers(net: Net) -> int:
    """Return how many GRU layers a net has; a bidirectional one has two."""
    return len(jax.tree.leaves(net, is_leaf=lambda node: isinstance(node, GRUParams)))


def _described(state: object) -> str:
    name = type(state).__name__
    if hasattr(state, "shape"):
        return f"single array of shape {tuple(state.shape)}"
    return f"{name} of {len(state)}" if isinstance(state, tuple | list) else name

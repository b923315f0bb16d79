"""Nets of layers, states of the same structure, and checks that they fit together."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeAlias, TypeVar

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

    The last state is not ``ys[:, -1]``, because the backward net ends at the first step and, with
    lengths, the forward net ends at the last valid step. Use the second result of ``gru``.

    The state of a ``Bidirectional`` is a ``Bidirectional`` of the states of its two nets, whose
    merge is ignored.

    Args:
        forward: the net that runs from the first step to the last.
        backward: the net that runs from the last step to the first.
        merge: how the outputs are merged: "concat", "sum", "mul", "ave", or None for a pair of
            outputs, which cannot be the input of another layer.

    Raises:
        ValueError: merge is none of these. (Sizes that differ are an error in ``jaxgru.gru``.)

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
"""A net: a layer, a Bidirectional, a Backward, or a sequence of nets in order."""

State: TypeAlias = ArrayLike | Bidirectional["State"] | Backward["State"] | Sequence["State"] | None
"""The state of a net, in its structure, with an array for each layer. None means zeros."""


class Parts(NamedTuple):
    """The parts of a net."""

    kind: Literal["layer", "bidirectional", "backward", "stack"]
    nets: dict[str, Any]  # by the ends of their positions, such as "[0]"; none for a layer
    merge: Merge = None  # of a Bidirectional


def parts(net: Net, path: str = "") -> Parts:
    """Return the parts of a net; raise ValueError with the position if it is not a net."""
    if isinstance(net, GRUParams):
        return Parts("layer", {})
    if isinstance(net, Bidirectional):
        sides = {".forward": net.forward, ".backward": net.backward}
        return Parts("bidirectional", sides, net.merge)
    if isinstance(net, Backward):
        return Parts("backward", {".net": net.net})
    if isinstance(net, tuple | list):
        if not net:
            kind = type(net).__name__
            raise ValueError(f"net{path} is an empty {kind}: expected at least one layer")
        return Parts("stack", {f"[{i}]": layer for i, layer in enumerate(net)})
    raise ValueError(
        f"net{path} is a {type_name(net)}: expected a GRUParams, a Bidirectional, a Backward, or a "
        f"tuple or list of them{ways_in(net)}"
    )


class Layer(NamedTuple):
    """A layer and its position in a net."""

    params: Any  # a GRUParams
    path: str = ""  # from the whole net, as Python: "[0].forward"
    reverse: bool = False  # whether it runs from the last step to the first
    is_last: bool = True  # whether its outputs are outputs of the whole net
    is_first: bool = True  # whether its inputs are those of the whole net

    @property
    def place(self) -> str:
        """The position as a Python expression: ``net[0].forward``."""
        return f"net{self.path}"

    @property
    def suffix(self) -> str:
        """The end of a name for the position: ``_0_forward``."""
        return self.path.replace(".net", "").replace("]", "").replace("[", "_").replace(".", "_")


def fold(
    function: Callable[..., tuple[Any, Any]],
    net: Net,
    xs: Any = None,
    *,
    merge: Callable[[str, str | None, Any, Any], Any],
    between: Callable[[Any], Any] | None = None,
    at: Layer | None = None,
    **states: Any,
) -> tuple[Any, Any]:
    """Apply a function to each layer of a net, from the inputs to the outputs.

    Args:
        function: called with the ``Layer``, its inputs and its part of each state; returns the
            outputs and a result.
        net: the net.
        xs: its inputs, of any type.
        merge: called with the position of a ``Bidirectional``, its merge and the outputs of its two
            nets; returns its outputs.
        between: called with the inputs of every part of a stack but the first; returns them.
        at: the position of the net, if it is part of another.
        **states: structures like that of the net, by name. None stands for None in every part.

    Returns:
        The outputs of the net, and the results in its structure.

    Raises:
        ValueError: the net is not a net, or a state has another structure. The message has the
            position.
    """
    at = Layer(net) if at is None else at._replace(params=net)
    kind, nets, how = parts(net, at.path)
    if kind == "layer":
        return function(at, xs, *states.values())
    split = {name: _split(net, kind, part, name + at.path) for name, part in states.items()}
    outputs: list[Any] = []
    results: list[Any] = []
    for i, (end, part) in enumerate(nets.items()):
        inner = at._replace(path=at.path + end, reverse=at.reverse != (end in _OPPOSITE))
        if kind == "stack":
            first, last = i == 0, i == len(nets) - 1
            inner = inner._replace(is_first=at.is_first and first, is_last=at.is_last and last)
            if not first:
                xs = outputs[-1] if between is None else between(outputs[-1])
        own = {name: of_parts[i] for name, of_parts in split.items()}
        ys, result = fold(function, part, xs, merge=merge, between=between, at=inner, **own)
        outputs.append(ys)
        results.append(result)
    ys = merge(at.path, how, *outputs) if kind == "bidirectional" else outputs[-1]
    return ys, rebuild(net, results)


_OPPOSITE = (".backward", ".net")  # the parts that run in the opposite direction


def _split(net: Any, kind: str, state: Any, where: str) -> Sequence[Any]:
    """Return the parts of a state; raise ValueError unless it is like the net."""
    if kind == "stack":
        if state is None:
            return [None] * len(net)
        if isinstance(state, tuple | list) and len(state) == len(net):
            return state
        expected = f"{'list' if isinstance(net, list) else 'tuple'} of {len(net)} states"
        expected += ", one for each layer"
    else:
        if state is None or isinstance(state, type(net)):
            return [getattr(state, end[1:], None) for end in parts(net).nets]
        fields = {"bidirectional": "state, state", "backward": "state"}[kind]
        expected = f"{type(net).__name__}({fields}), as in the net"
    raise ValueError(f"{where} is a {_described(state)}: expected a {expected}")


def rebuild(net: Any, results: list[Any]) -> Any:
    """Return the results in the structure of the net, one for each of its ``parts``."""
    if isinstance(net, Bidirectional):
        return Bidirectional(results[0], results[1], net.merge)
    if isinstance(net, Backward) or hasattr(net, "_fields"):  # of a NamedTuple
        return type(net)(*results)
    return type(net)(results)


def unroll(net: Net, *, reverse: bool = False) -> list[Layer]:
    """Return the layers of a net, in the order of the leaves of a state.

    >>> import jax, jaxgru
    >>> a = jaxgru.init(jax.random.key(0), 5, 5)
    >>> [layer.place for layer in unroll([jaxgru.Bidirectional(a, a, "sum"), a])]
    ['net[0].forward', 'net[0].backward', 'net[1]']
    """
    layers: list[Layer] = []
    map_layers(layers.append, net, at=Layer(net, reverse=reverse))
    return layers


def map_layers(function: Callable[..., Any], net: Net, **states: Any) -> Any:
    """Apply ``function(layer, part of each state)`` to each ``Layer`` of a net.

    Returns the results in the structure of the net. States and errors are those of ``fold``.
    """

    def apply(layer: Layer, _: None, *of_states: Any) -> tuple[None, Any]:
        return None, function(layer, *of_states)

    return fold(apply, net, merge=lambda *_: None, **states)[1]


def merged(_: str, merge: str | None, forward: Array, backward: Array) -> Any:
    """Return the merged outputs of both directions, or the pair if merge is None."""
    if merge is None:
        return forward, backward
    if merge == "concat":
        return jnp.concatenate([forward, backward], axis=-1)
    if merge == "mul":
        return forward * backward
    total = forward + backward
    return total / 2 if merge == "ave" else total


class _Signal(NamedTuple):
    """The outputs of a part of a net, as ``check_net`` follows them."""

    path: str
    size: int
    is_pair: bool = False

    @property
    def place(self) -> str:
        return f"net{self.path}"


def check_net(net: Net) -> tuple[int, int | None]:
    """Return the numbers of inputs and of outputs of a net, the latter None for a pair of outputs.

    Raises ValueError with the position and the expected sizes if the layers do not fit together.
    """
    inputs, outputs = _sizes(net)
    return inputs, None if outputs.is_pair else outputs.size


def output_size(net: Net) -> int:
    """Return the number of outputs of a net; both outputs of a pair count."""
    _, outputs = _sizes(net)
    return outputs.size * (1 + outputs.is_pair)


def _sizes(net: Net) -> tuple[int, _Signal]:
    """Return the number of inputs of a net, and its outputs."""
    first: Layer | None = None

    def check(layer: Layer, given: _Signal | None) -> tuple[_Signal, None]:
        nonlocal first
        try:
            check_params(layer.params)
        except ValueError as error:
            # The position of a single layer is obvious.
            raise error if not layer.path else ValueError(f"{layer.place}: {error}") from None
        size = layer.params.input_size
        if given is None:  # the inputs of the net
            first = first or layer
            if first is not layer and (inputs := first.params.input_size) != size:
                raise _unequal(first.place, inputs, layer.place, size, "inputs")
        elif given.is_pair:
            raise ValueError(
                f"{given.place} returns a pair of sequences, because its merge is None: expected "
                f"one sequence for {layer.place}"
            )
        elif given.size != size:
            raise ValueError(
                f"{given.place} has {given.size} outputs and {layer.place} has {size} inputs: "
                "expected equal sizes"
            )
        return _Signal(layer.path, layer.params.hidden_size), None

    def merge(path: str, how: str | None, *sides: _Signal) -> _Signal:
        for side in sides:
            if side.is_pair:
                raise ValueError(
                    f"{side.place} returns a pair of sequences: expected a merge other than None"
                )
        forward, backward = sides
        if forward.size != backward.size:
            raise _unequal(forward.place, forward.size, backward.place, backward.size, "units")
        return _Signal(path, forward.size * (1 + (how == "concat")), how is None)

    outputs, _ = fold(check, net, merge=merge)
    assert first is not None  # a net has a layer
    return first.params.input_size, outputs


def _unequal(one: str, size: int, other: str, other_size: int, what: str) -> ValueError:
    return ValueError(f"{one} has {size} {what} and {other} has {other_size}: expected equal sizes")


def _described(state: object) -> str:
    name = type(state).__name__
    if hasattr(state, "shape"):
        return f"single array of shape {tuple(state.shape)}"
    return f"{name} of {len(state)}" if isinstance(state, tuple | list) else name

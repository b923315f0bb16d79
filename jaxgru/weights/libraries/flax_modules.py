"""The GRUs in a module of Flax's nnx, which says what its parameters alone do not."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from jaxgru.net import Backward, Bidirectional
from jaxgru.weights.assume import Settling
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.found import UNNAMED, Found, Gathered, sound
from jaxgru.weights.libraries.trees import named_arrays
from jaxgru.weights.named.flax import find

# What Flax's users give as activations: these very functions. (JAX's gelu is by default another.)
_NAMES = (
    (jnp.tanh, "tanh"),
    (jax.nn.sigmoid, "sigmoid"),
    (jax.nn.hard_sigmoid, "hard_sigmoid"),
    (jax.nn.hard_tanh, "hard_tanh"),
    (jax.nn.relu, "relu"),
    (jax.nn.relu6, "relu6"),
    (jax.nn.elu, "elu"),
    (jax.nn.selu, "selu"),
    (jax.nn.softplus, "softplus"),
    (jax.nn.soft_sign, "softsign"),
    (jax.nn.silu, "silu"),
    (jnp.exp, "exponential"),
)
_Path = tuple[Any, ...]


def find_in_module(nnx: Any, module: Any, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU in a module: a Bidirectional, else an RNN, else a cell by itself.

    Args:
        nnx: Flax's ``flax.nnx``.
        module: the module.
        assume: what to take functions for that are none of JAX's activations or Flax's merge.
    """
    nodes = {tuple(path): node for path, node in nnx.iter_graph(module) if _is_gru(nnx, node)}
    gathered: Gathered = {}
    for path, node in nodes.items():
        if any(path[:end] in nodes for end in range(len(path))):
            continue  # a part of one that is above it
        try:
            found: Found | WeightsError = _found(nnx, node, assume)
        except WeightsError as error:
            found = error
        gathered["/".join(map(str, path)) or UNNAMED] = found
    return gathered


def _is_gru(nnx: Any, node: Any) -> bool:
    if isinstance(node, nnx.RNN):
        return isinstance(node.cell, nnx.GRUCell)
    if isinstance(node, nnx.Bidirectional):
        sides = (node.forward_rnn, node.backward_rnn)
        return all(isinstance(side, nnx.RNN) and _is_gru(nnx, side) for side in sides)
    return isinstance(node, nnx.GRUCell)


def _found(nnx: Any, node: Any, assume: Mapping[str, Any]) -> Found:
    if isinstance(node, nnx.GRUCell):
        return _cell(nnx, node, assume)
    if isinstance(node, nnx.RNN):
        found = _cell(nnx, node.cell, assume)
        if not Settling(assume).pick("reverse", bool(node.reverse)):
            return found
        return Found(Backward(found.net), found.notes + (() if node.keep_order else _COMPUTED))
    forward, backward = (
        _cell(nnx, rnn.cell, assume) for rnn in (node.forward_rnn, node.backward_rnn)
    )
    merge = "concat" if node.merge_fn is nnx.Bidirectional.merge_fn else None
    merge = _settled("merge", "merge_fn", node.merge_fn, merge, assume)
    notes = dict.fromkeys((*forward.notes, *backward.notes))
    return Found(Bidirectional(forward.net, backward.net, merge), tuple(notes))


_COMPUTED = (
    "the layer goes backward and gives its outputs in the order of computing (keep_order=False): "
    "jaxgru gives them in the input's order of time",
)


def _cell(nnx: Any, cell: Any, assume: Mapping[str, Any]) -> Found:
    said = {
        field: _settled(field, attribute, function, _name(function), assume)
        for field, attribute, function in (
            ("activation", "activation_fn", cell.activation_fn),
            ("recurrent_activation", "gate_fn", cell.gate_fn),
        )
    }
    arrays = named_arrays(nnx.to_pure_dict(nnx.state(cell, nnx.Param)))
    found = sound(find(arrays, said | {"reverse": False}), UNNAMED)
    params: Any = found.net
    if cell.dtype is None or cell.dtype == params.dtype:
        return found
    computes = jnp.dtype(cell.dtype)
    note = f"the cell computes in {computes}: jaxgru in its parameters' {params.dtype}"
    return Found(params, (note,))


def _name(function: Any) -> str | None:
    return next((name for known, name in _NAMES if known is function), None)


def _settled(
    field: str, attribute: str, function: Any, said: str | None, assume: Mapping[str, Any]
) -> Any:
    """Return what a function is called in a net, by itself or else by what the caller says."""
    if said is not None:
        return Settling(assume).pick(field, said)
    if field in assume:
        return assume[field]
    shown = getattr(function, "__name__", type(function).__name__)
    raise WeightsError(
        f"{attribute} is {shown[:80]!a}, a function that jaxgru does not know: expected "
        f"assume={{{field!r}: ...}} to say which of its own computes the same"
    )

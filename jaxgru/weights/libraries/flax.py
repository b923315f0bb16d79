"""Flax's GRUs in memory, those of linen and those of nnx, to nets and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgru.net import Bidirectional, Net, check_net
from jaxgru.optional import need
from jaxgru.params import GRUParams
from jaxgru.weights.assume import check_assume
from jaxgru.weights.biases import one_gate_bias
from jaxgru.weights.delivery import deliver
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.found import pick
from jaxgru.weights.libraries.flax_modules import find_in_module
from jaxgru.weights.libraries.trees import jax_tree, named_arrays
from jaxgru.weights.named.build import from_rzn
from jaxgru.weights.named.flax import GATES, find
from jaxgru.weights.variants import check_variant

APIS = ("linen", "nnx")


def from_flax(
    source: Any, *, layer: str | None = None, assume: Mapping[str, Any] | None = None
) -> Any:
    """Return the net of a Flax GRU.

    Args:
        source: the variables or the parameters of a linen module that is a ``GRUCell`` or holds
            some, as nested dicts; or an nnx module that is one or holds some, or its state.
        layer: the place of the cell, or of its ``RNN`` or ``Bidirectional``, such as
            ``"params/GRUCell_0"``, needed if there are several.
        assume: what parameters do not say, see ``jaxgru.load``. An nnx module says it all but what
            functions of one's own compute, where they are its activations or its merge.

    Returns:
        The net with JAX arrays: a ``GRUParams`` with ``reset_after=True``, or a ``Backward`` or a
        ``Bidirectional`` of such.

    Raises:
        WeightsError: there is no GRU, several and ``layer`` does not say which, or one that no net
            can hold.
        ValueError: assume is wrong in itself.
        ImportError: Flax is not installed.

    Warns:
        WeightsWarning: something was assumed; weights are NaN or Inf; float64 was rounded as JAX's
            x64 mode is off.

    >>> import jax, jaxgru
    >>> from flax import nnx  # doctest: +SKIP
    >>> jaxgru.from_flax(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))).kernel.shape  # doctest: +SKIP
    (3, 15)

    Source: ``flax.linen.GRUCell`` and ``flax.nnx.GRUCell``.
    """
    nnx = need("flax.nnx", "flax", "from_flax")
    assume = check_assume(assume)
    if isinstance(source, nnx.Module):
        gathered = find_in_module(nnx, source, assume)
    else:
        if isinstance(source, nnx.State):
            source = nnx.to_pure_dict(source)
        if not isinstance(source, Mapping):
            raise WeightsError(
                f"source is a {type(source).__name__}: expected the variables of a linen module, "
                "or an nnx module or its state"
            )
        gathered = find(named_arrays(source), assume)
    if not gathered:
        raise WeightsError(f"a {type(source).__name__} holds no GRU of Flax: expected a GRUCell")
    return deliver(pick(gathered, layer), "source", stacklevel=2)


def to_flax(net: Net, *, api: str = "linen") -> dict[str, Any]:
    """Return a net as the parameters of Flax's modules.

    Args:
        net: with ``reset_after=True``, tanh and sigmoid, and no clip throughout. Flax has one bias
            for both sides of z and r, the sum of the two, which must need no rounding: of each two
            numbers one must be zero. nnx has no state-side bias of the candidate either.
        api: ``"linen"`` or ``"nnx"``.

    Returns:
        New JAX arrays in nested dicts. For linen the variables ``{"params": ...}``, for nnx a pure
        dict of the state (``nnx.replace_by_pure_dict``), of the module that the net is:

        =========================  ==========================================================
        ``GRUParams``              ``GRUCell``
        ``Bidirectional``          ``Bidirectional(RNN(GRUCell), RNN(GRUCell))``
        ``tuple`` or ``list``      ``Sequential`` of ``RNN(GRUCell)`` and ``Bidirectional``
        =========================  ==========================================================

    Raises:
        WeightsError: Flax's parameters cannot hold the net. They hold neither a direction nor a
            merge, so that ``Backward`` and all but ``merge="concat"`` are refused.
        ValueError: api is unknown, or the layers of the net do not fit together.

    >>> import jax, jaxgru
    >>> variables = jaxgru.to_flax(jaxgru.init(jax.random.key(0), 3, 5))
    >>> variables["params"]["ir"]["kernel"].shape
    (3, 5)

    Source: ``flax.linen.GRUCell`` and ``flax.nnx.GRUCell``.
    """
    if api not in APIS:
        raise ValueError(f"api is {api!r}: expected {' or '.join(map(repr, APIS))}")
    check_net(net)
    net = jax.tree.map(np.asarray, net)
    cell = _linen_cell if api == "linen" else _nnx_cell
    if isinstance(net, GRUParams):
        tree = cell(net)
    elif isinstance(net, tuple | list):
        layers = [_layer(layer, cell) for layer in net]
        if api == "linen":
            tree = {f"layers_{i}": layer for i, layer in enumerate(layers)}
        else:
            tree = {"layers": dict(enumerate(layers))}
    else:
        tree = _layer(net, cell)
    params: dict[str, Any] = jax_tree(tree, stacklevel=2)
    return {"params": params} if api == "linen" else params


def _layer(net: Any, cell: Any) -> dict[str, Any]:
    """Return the parameters of a module over time: an RNN, or a Bidirectional of two."""
    if isinstance(net, GRUParams):
        return {"cell": cell(net)}
    sides = (net.forward, net.backward) if isinstance(net, Bidirectional) else (net,)
    for side in sides:
        if not isinstance(side, GRUParams):
            raise WeightsError(
                f"net has a {type(side).__name__} in it: expected a GRUParams, a Bidirectional of "
                "two, or a tuple of either, as Flax's parameters hold no more"
            )
    if net.merge != "concat":
        raise WeightsError(
            f"merge is {net.merge!r}: expected 'concat', as Flax's parameters hold no other"
        )
    return {f"{side}_rnn": {"cell": cell(getattr(net, side))} for side in ("forward", "backward")}


def _linen_cell(params: GRUParams) -> dict[str, Any]:
    check_variant(params, "Flax's GRUCell", reset_after=True)
    bias, candidate = one_gate_bias(params, "Flax's GRUCell")
    found: dict[str, Any] = {}
    for side, kernel in (("i", params.kernel), ("h", params.recurrent_kernel)):
        for gate, block in zip(GATES, np.split(kernel, 3, axis=1), strict=True):
            found[f"{side}{gate}"] = {"kernel": block}
    for gate, block in zip(GATES, np.split(bias, 3), strict=True):
        found[f"i{gate}"]["bias"] = block
    found["hn"]["bias"] = candidate
    return found


def _nnx_cell(params: GRUParams) -> dict[str, Any]:
    check_variant(params, "Flax's GRUCell", reset_after=True)
    bias, candidate = one_gate_bias(params, "Flax's GRUCell")
    inside = np.count_nonzero(candidate)
    if inside:
        raise WeightsError(
            f"the recurrent bias of the candidate is non-zero in {inside} of {candidate.size} "
            "units: expected 0, as nnx.GRUCell has none, and the input side's stands outside the "
            "reset gate; linen's has one"
        )
    # The order z, r, h becomes r, z, n by the same exchange as the other way.
    return {
        "dense_i": {"kernel": from_rzn(params.kernel), "bias": from_rzn(bias)},
        "dense_h": {"kernel": from_rzn(params.recurrent_kernel)},
    }

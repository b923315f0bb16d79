"""GRU cells of Flax, of linen and of nnx.

linen has one ``Dense`` for each gate and side:

==========================  ============  ===================================================
name                        shape         meaning
==========================  ============  ===================================================
``ir``, ``iz``, ``in``      ``(I, H)``    ``/kernel`` of a gate, with ``/bias`` ``(H,)``
``hr``, ``hz``, ``hn``      ``(H, H)``    ``/kernel`` likewise; only ``hn`` has a ``/bias``
==========================  ============  ===================================================

nnx has them joined, r, z, n, and no bias on the side of the state:

==========================  ============  ===================================================
``dense_i/kernel``          ``(I, 3H)``   kernel, with ``dense_i/bias`` ``(3H,)``
``dense_h/kernel``          ``(H, 3H)``   recurrent kernel
==========================  ============  ===================================================

Both compute ``n = activation_fn(in(x) + r * hn(h))``, with the reset gate after the product.
``gate_fn`` and ``activation_fn`` are attributes of the cell, not parameters. Two cells under
``forward_rnn`` and ``backward_rnn`` are the directions of a Flax ``Bidirectional``.

Source: ``flax/linen/recurrent.py`` and ``flax/nnx/nn/recurrent.py``.
"""

import functools
import re
from collections.abc import Mapping
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np

from jaxgru._activations import ACTIVATIONS, get_activation
from jaxgru._net import Backward, Bidirectional, Net, parts
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import (
    USUAL,
    Capabilities,
    Layer,
    is_traced,
    numpy_of,
    one_gate_bias,
    swap_gates,
)
from jaxgru._weights.defaults import Assume, Fields, check_assume, overridden
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, result_or_error, shown
from jaxgru._weights.libraries import names
from jaxgru._weights.results import (
    UNNAMED,
    GRUsByName,
    LoadedGRU,
    get_or_raise,
    pick,
    to_jax_and_warn,
)

LOOKED_FOR = "ir/kernel to hn/kernel, or dense_i/kernel and dense_h/kernel of Flax"
APIS = ("linen", "nnx")
# The letters of the gates in the order of GRUParams.
_GATES = "zrn"
_CAPABILITIES = Capabilities(
    "Flax's GRUCell", {**USUAL, "reset_after": (True,)}, merges=("concat",), has_stacks=True
)

_LINEN: names.Shapes = {
    f"{side}{gate}/kernel": (rows, "H")
    for side, rows in (("i", "I"), ("h", "H"))
    for gate in _GATES
}
_LINEN_BIASES: names.Shapes = {f"{side}{gate}/bias": ("H",) for side in "ih" for gate in _GATES}
_NNX: names.Shapes = {"dense_h/kernel": ("H", "3H"), "dense_i/kernel": ("I", "3H")}
_NNX_BIAS: names.Shapes = {"dense_i/bias": ("3H",)}
_SIDE = re.compile(r"(?P<outer>.*?)[./,]?(?P<side>forward|backward)_rnn[./,]cell")


def from_flax(  # by position too, as nnx.vmap passes all arguments
    source: object,
    layer: str | None = None,
    assume: Assume | None = None,
    override: Assume | None = None,
) -> Net:
    """Return the net of a Flax GRU.

    Args:
        source: the variables or the parameters of a linen module that is or contains a ``GRUCell``,
            as nested dicts or in any tree, such as a ``TrainState``; or an nnx module that is or
            contains one, or its state. The arrays may be traced by ``jax.jit``, ``jax.grad``,
            ``jax.vmap`` and ``nnx.vmap``, and stacked along leading axes.
        layer: the path of the cell, or of its ``RNN`` or ``Bidirectional``, such as
            ``"params/GRUCell_0"``, required if there are several, see ``jaxgru.load``.
        assume: values of fields that parameters do not include, see ``jaxgru.load``. An nnx module
            includes all fields, unless an activation or the merge is a custom function.
        override: values that replace those of the source, see ``jaxgru.load``.

    Returns:
        The net with JAX arrays: a ``GRUParams`` with ``reset_after=True``, or a ``Backward`` or
        ``Bidirectional``.

    Raises:
        WeightsError: there is no GRU, there are several and ``layer`` is not given, or no net
            represents it exactly.
        ValueError: assume is invalid.
        ImportError: Flax is not installed.

    Warns:
        WeightsWarning: a field was assumed; weights are NaN or Inf; float64 was rounded, because
            JAX's x64 mode is off.

    >>> import jax, jaxgru
    >>> from flax import nnx  # doctest: +SKIP
    >>> jaxgru.from_flax(nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))).kernel.shape  # doctest: +SKIP
    (3, 15)

    Source: ``flax.linen.GRUCell`` and ``flax.nnx.GRUCell``.
    """
    nnx = need("flax.nnx", "flax", "from_flax")
    checked = check_assume(assume, override)
    if isinstance(source, nnx.Module):
        gathered = _find_in_module(nnx, source, checked)
    else:
        if isinstance(source, nnx.State):
            source = nnx.to_pure_dict(source)
        gathered = find(names.named_arrays(source), checked)
    if not gathered:
        raise WeightsError(
            f"a {type(source).__name__} has no GRU of Flax: expected the variables of a linen "
            "module, or an nnx module or its state"
        )
    return to_jax_and_warn(pick(overridden(gathered, checked), layer), "source", stacklevel=2)


def to_flax(
    net: Net, *, api: Literal["linen", "nnx"] = "linen"
) -> dict[str, Any]:  # Any: nested dicts of arrays, which Flax itself types so
    """Return a net as the parameters of Flax's modules.

    Args:
        net: a net with ``reset_after=True``, tanh and sigmoid, and no clip in all layers. Flax has
            a single bias for z and r, so for each of their units the bias or the recurrent bias
            must be zero. (Traced arrays cannot be checked and are added.) nnx has no recurrent bias
            of the candidate.
        api: ``"linen"`` or ``"nnx"``.

    Returns:
        New JAX arrays in nested dicts. For linen the variables ``{"params": ...}``, for nnx a pure
        dict of the state (``nnx.replace_by_pure_dict``), of the corresponding module:

        =========================  ==========================================================
        ``GRUParams``              ``GRUCell``
        ``Bidirectional``          ``Bidirectional(RNN(GRUCell), RNN(GRUCell))``
        ``tuple`` or ``list``      ``Sequential`` of ``RNN(GRUCell)`` and ``Bidirectional``
        =========================  ==========================================================

    Raises:
        WeightsError: Flax's parameters cannot represent the net. They include neither a direction
            nor a merge, so ``Backward`` and merges other than ``"concat"`` are errors.
        ValueError: api is unknown, or the layers of the net do not fit together.

    >>> import jax, jaxgru
    >>> variables = jaxgru.to_flax(jaxgru.init(jax.random.key(0), 3, 5))
    >>> variables["params"]["ir"]["kernel"].shape
    (3, 5)

    Source: ``flax.linen.GRUCell`` and ``flax.nnx.GRUCell``.
    """
    if api not in APIS:
        raise ValueError(f"api is {api!r}: expected {' or '.join(map(repr, APIS))}")
    to_cell = _linen_cell if api == "linen" else _nnx_cell
    layers = [_over_time(layer, to_cell) for layer in _CAPABILITIES.layers(net)]
    tree: Any
    kind, *_ = parts(net)
    if kind != "stack":
        tree = layers[0]["cell"] if kind == "layer" else layers[0]
    elif api == "linen":
        tree = {f"layers_{i}": layer for i, layer in enumerate(layers)}
    else:
        tree = {"layers": dict(enumerate(layers))}
    params: dict[str, Any] = names.jax_tree(tree, stacklevel=2)
    return {"params": params} if api == "linen" else params


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs of Flax among named arrays, by the path of the cell or of the two cells."""
    linen = names.holding(arrays, _LINEN, 2)
    nnx = {
        place: module
        for place, module in names.holding(arrays, _NNX, 2).items()
        # Its other recurrent cells have the same names: a simple one has H columns, an LSTM 4H.
        if len(shape := arrays[module["dense_h/kernel"]].shape) > 1 and shape[-1] == 3 * shape[-2]
    }
    cells = names.cells(arrays, linen, {**_LINEN, **_LINEN_BIASES}, _linen)
    cells |= names.cells(arrays, nnx, {**_NNX, **_NNX_BIAS}, _nnx)
    return names.build_all(_with_directions(cells), assume, "flax")


def _over_time(layer: Layer, to_cell: Any) -> dict[str, Any]:
    """Return the parameters of a module over time: an RNN, or a Bidirectional of two."""
    cells = [{"cell": to_cell(params)} for params in layer.sides.values()]
    if len(cells) == 1:
        return cells[0]
    return {"forward_rnn": cells[0], "backward_rnn": cells[1]}


def _linen_cell(params: GRUParams) -> dict[str, Any]:
    bias, candidate = one_gate_bias(params, "Flax's GRUCell")
    found: dict[str, Any] = {}
    for side, kernel in (("i", params.kernel), ("h", params.recurrent_kernel)):
        for gate, block in zip(_GATES, numpy_of(kernel).split(kernel, 3, 1), strict=True):
            found[f"{side}{gate}"] = {"kernel": block}
    for gate, block in zip(_GATES, numpy_of(bias).split(bias, 3), strict=True):
        found[f"i{gate}"]["bias"] = block
    found["hn"]["bias"] = candidate
    return found


def _nnx_cell(params: GRUParams) -> dict[str, Any]:
    bias, candidate = one_gate_bias(params, "Flax's GRUCell")
    if is_traced(candidate):
        raise WeightsError(
            "the recurrent bias of the candidate is traced, so it cannot be checked to be 0: "
            "expected None, because nnx.GRUCell has none, unlike linen.GRUCell"
        )
    inside = np.count_nonzero(candidate)
    if inside:
        raise WeightsError(
            f"the recurrent bias of the candidate is non-zero in {inside} of {candidate.size} "
            "units: expected 0, because nnx.GRUCell has no bias inside the reset gate, unlike "
            "linen.GRUCell"
        )
    return {
        "dense_i": {"kernel": swap_gates(params.kernel), "bias": swap_gates(bias)},
        "dense_h": {"kernel": swap_gates(params.recurrent_kernel)},
    }


def _with_directions(cells: dict[str, names.Build]) -> dict[str, names.Build]:
    """Join the two cells of each Bidirectional, and resolve the direction of the others."""
    sides = {place: match for place in cells if (match := _SIDE.fullmatch(place))}
    pairs: dict[str, dict[str, names.Build]] = {}
    for place, match in sides.items():
        pairs.setdefault(match["outer"], {})[match["side"]] = cells[place]
    found: dict[str, names.Build] = {}
    for place, cell in cells.items():
        outer = sides[place]["outer"] if place in sides else ""
        pair = pairs[outer] if place in sides else {}
        if len(pair) == 2:
            found[outer] = functools.partial(_net, cell=pair["forward"], backward=pair["backward"])
        else:
            found[place] = functools.partial(_net, cell=cell)
    return found


def _net(fields: Fields, cell: names.Build, backward: names.Build | None = None) -> Net:
    net = cell(fields)
    if backward is not None:
        return Bidirectional(net, backward(fields), fields.resolve("merge"))
    return Backward(net) if fields.resolve("reverse") else net


def _linen(weights: dict[str, Any], fields: Fields) -> Net:
    xp = numpy_of(*weights.values())
    kernel, recurrent_kernel = (
        xp.concatenate([weights[f"{side}{gate}/kernel"] for gate in _GATES], axis=-1)
        for side in "ih"
    )
    none = xp.zeros_like(weights["hn/kernel"][..., 0, :])
    biases: list[Any] = [None, None]
    for i, side in enumerate("ih"):
        held = [weights.get(f"{side}{gate}/bias") for gate in _GATES]
        if any(bias is not None for bias in held):
            biases[i] = xp.concatenate([none if bias is None else bias for bias in held], -1)
    return fields.params(kernel, recurrent_kernel, *biases, reset_after=True)


def _nnx(weights: dict[str, Any], fields: Fields) -> Net:
    arrays = {own: swap_gates(array) for own, array in weights.items()}
    kernels = arrays["dense_i/kernel"], arrays["dense_h/kernel"]
    return fields.params(*kernels, arrays.get("dense_i/bias"), reset_after=True)


def _find_in_module(nnx: Any, module: Any, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs in an nnx module: each Bidirectional, other RNN, or other cell."""
    nodes = {tuple(path): node for path, node in nnx.iter_graph(module) if _is_gru(nnx, node)}
    gathered: GRUsByName = {}
    for path, node in nodes.items():
        if any(path[:end] in nodes for end in range(len(path))):
            continue  # part of a module found above
        gathered["/".join(map(str, path)) or UNNAMED] = result_or_error(_found, nnx, node, assume)
    return gathered


def _is_gru(nnx: Any, node: Any) -> bool:
    if isinstance(node, nnx.RNN):
        return isinstance(node.cell, nnx.GRUCell)
    if isinstance(node, nnx.Bidirectional):
        sides = (node.forward_rnn, node.backward_rnn)
        return all(isinstance(side, nnx.RNN) and _is_gru(nnx, side) for side in sides)
    return isinstance(node, nnx.GRUCell)


def _found(nnx: Any, node: Any, assume: Mapping[str, Any]) -> LoadedGRU:
    if isinstance(node, nnx.GRUCell):
        return _cell(nnx, node, assume)
    if isinstance(node, nnx.RNN):
        found = _cell(nnx, node.cell, assume)
        if not Fields(assume).resolve("reverse", bool(node.reverse)):
            return found
        return LoadedGRU(Backward(found.net), found.notes + (() if node.keep_order else _COMPUTED))
    forward, backward = (
        _cell(nnx, rnn.cell, assume) for rnn in (node.forward_rnn, node.backward_rnn)
    )
    merge = "concat" if node.merge_fn is nnx.Bidirectional.merge_fn else None
    merge = _resolved("merge", "merge_fn", node.merge_fn, merge, assume)
    notes = dict.fromkeys((*forward.notes, *backward.notes))
    return LoadedGRU(Bidirectional(forward.net, backward.net, merge), tuple(notes))


_COMPUTED = (
    "the layer runs backward and returns its outputs last step first (keep_order=False): jaxgru "
    "returns them in the order of the input",
)


def _cell(nnx: Any, cell: Any, assume: Mapping[str, Any]) -> LoadedGRU:
    functions = {}
    for field, attribute in (("activation", "activation_fn"), ("recurrent_activation", "gate_fn")):
        function = getattr(cell, attribute)
        known = next((n for n in ACTIVATIONS if get_activation(n).flax is function), None)
        functions[field] = _resolved(field, attribute, function, known, assume)
    arrays = names.named_arrays(nnx.to_pure_dict(nnx.state(cell, nnx.Param)))
    module = names.holding(arrays, _NNX, 2)
    builds = names.cells(arrays, module, {**_NNX, **_NNX_BIAS}, _nnx)
    found = get_or_raise(names.build_all(builds, functions, "flax"), UNNAMED)
    params: Any = found.net
    if cell.dtype is None or cell.dtype == params.dtype:
        return found
    computes = jnp.dtype(cell.dtype)
    note = f"the cell computes in {computes}: jaxgru in its parameters' {params.dtype}"
    return LoadedGRU(params, (note,))


def _resolved(
    field: str, attribute: str, function: Any, known: str | None, assume: Mapping[str, Any]
) -> Any:
    """Return the name of an activation: of a known function, otherwise by ``assume``."""
    if known is not None:
        return Fields(assume).resolve(field, known)
    if field in assume:
        return assume[field]
    name = getattr(function, "__name__", type(function).__name__)
    raise WeightsError(
        f"{attribute} is {shown(name)}, a function that jaxgru does not know: expected "
        f"assume={{{field!r}: ...}} with the name of an equal one"
    )

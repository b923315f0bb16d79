"""PyTorch's ``GRU`` and ``GRUCell`` among named arrays.

========================  ==================  =====================================================
name                      shape               meaning
========================  ==================  =====================================================
``weight_ih_l0``          ``(3H, I)``         kernel transposed, blocks r, z, n
``weight_hh_l0``          ``(3H, H)``         recurrent kernel, likewise
``bias_ih_l0``            ``(3H,)``           input-side bias, likewise
``bias_hh_l0``            ``(3H,)``           state-side bias, likewise
``..._l0_reverse``                            the same of the direction from the last step
``..._l1``                ``(3H, D * H)``     the same of the next layer, after D directions
``weight_ih``, ...                            the same of a ``GRUCell``
========================  ==================  =====================================================

A GRU has both biases or none. The reset gate is after the product, the activations are always tanh
and sigmoid, and both directions are concatenated. LSTMs and plain RNNs have the same names; in a
GRU, ``weight_hh`` has three times as many rows as columns.

Source: ``torch/nn/modules/rnn.py``.
"""

import functools
import itertools
import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._net import Bidirectional, Net
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import (
    USUAL,
    Capabilities,
    Layer,
    both_biases,
    has_bias,
    swap_gates,
)
from jaxgru._weights.defaults import TANH_SIGMOID, Fields
from jaxgru._weights.dtypes import FLOATS, Arrays, Unread, check_floats, read_now
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.libraries.names import (
    Module,
    build_all,
    by_place,
    check_arrays,
    gru_name,
    label,
    no_gru,
)
from jaxgru._weights.results import GRUsByName, pick, to_jax_and_warn

if TYPE_CHECKING:
    import torch


def from_torch(
    source: "torch.nn.Module | Mapping[str, torch.Tensor]", *, layer: str | None = None
) -> Net:
    """Return the net of a PyTorch GRU as JAX arrays.

    Args:
        source: a ``torch.nn.GRU``, a ``torch.nn.GRUCell``, a module that contains some, or the
            state dict of one of these.
        layer: the name of the GRU in the module, required if there are several, see
            ``jaxgru.load``.

    Returns:
        The net: a ``GRUParams``, or a ``Bidirectional`` of two; a tuple of layers if ``num_layers``
        is above 1.

    Raises:
        WeightsError: there is no GRU, there are several and ``layer`` is not given, or its weights
            are incomplete, parametrized, or integers.
        ImportError: PyTorch is not installed.

    Warns:
        WeightsWarning: weights are NaN or Inf; float64 was rounded, because JAX's x64 mode is off.

    >>> import jaxgru
    >>> import torch  # doctest: +SKIP
    >>> jaxgru.from_torch(torch.nn.GRU(3, 5)).kernel.shape  # doctest: +SKIP
    (3, 15)

    Source: PyTorch's ``GRU``, with gates in the order r, z, n.
    """
    torch = need("torch", "torch", "from_torch")
    if isinstance(source, torch.nn.Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise WeightsError(
            f"source is a {type(source).__name__}: expected a torch.nn.Module or its state dict"
        )
    if source and not any(isinstance(value, torch.Tensor) for value in source.values()):
        name, value = next(iter(source.items()))
        raise WeightsError(
            f"source has no tensor, but a {type(value).__name__} at {name!r}: expected the state "
            "dict of a torch.nn.Module"
        )
    state = _arrays_of_state_dict(torch, source)
    gathered = find(state, {})
    if not gathered and any(_QUANTIZED.search(str(name)) for name in source):
        raise WeightsError(f"the state dict is {QUANTIZED}")
    if not gathered:
        raise WeightsError(no_gru(state, others(state), LOOKED_FOR))
    return to_jax_and_warn(pick(gathered, layer), "state dict", stacklevel=2)


def to_torch(net: Net, *, cell: bool = False) -> "dict[str, torch.Tensor]":
    """Return a net as a state dict of ``torch.nn.GRU``.

    Args:
        net: a ``GRUParams``, a ``Bidirectional`` of two, or a tuple or list of either kind, with
            ``reset_after=True``, tanh and sigmoid, no clip, the same number of units in all layers,
            and both directions concatenated.
        cell: whether the state dict is for a ``torch.nn.GRUCell``.

    Returns:
        New tensors on the CPU, for a ``torch.nn.GRU`` of the same sizes, ``num_layers``,
        ``bidirectional`` and dtype, with ``bias=False`` if all biases are None. If only some biases
        are None, they are zeros.

    Raises:
        WeightsError: PyTorch cannot represent the net.
        ValueError: the layers of the net do not fit together.
        ImportError: PyTorch is not installed.

    >>> import jax, jaxgru
    >>> import torch  # doctest: +SKIP
    >>> state = jaxgru.to_torch(jaxgru.init(jax.random.key(0), 3, 5))  # doctest: +SKIP
    >>> torch.nn.GRU(3, 5).load_state_dict(state)  # doctest: +SKIP
    <All keys matched successfully>

    Source: PyTorch's ``GRU``, with gates in the order r, z, n.
    """
    torch = need("torch", "torch", "to_torch")
    state = state_of(net, cell=cell)
    return {name: _to_tensor(torch, array) for name, array in state.items()}


def _to_tensor(torch: Any, array: Any) -> Any:
    # PyTorch does not accept NumPy's bfloat16, only its bits.
    if array.dtype == FLOATS["bfloat16"]:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def _arrays_of_state_dict(torch: Any, state: Mapping[Any, Any]) -> Arrays:
    """Return the tensors of a state dict as NumPy arrays, copied from the device when accessed."""

    def numbers(tensor: Any) -> Any:
        tensor = tensor.detach().cpu().resolve_neg()
        if tensor.dtype == torch.bfloat16:
            return tensor.view(torch.uint16).numpy().view(FLOATS["bfloat16"])
        return tensor.numpy()

    def array(tensor: Any) -> Unread:
        dtype = str(tensor.dtype).removeprefix("torch.")
        # Other layouts and devices have their numbers elsewhere or encoded.
        is_plain = type(tensor) in (torch.Tensor, torch.nn.Parameter)
        if not is_plain or tensor.layout != torch.strided or tensor.is_meta:
            kind = f"{type(tensor).__name__} of layout {tensor.layout} on {tensor.device}"
            return Unread(tuple(tensor.shape), f"{dtype} in a {kind}")
        return Unread(tuple(tensor.shape), dtype, functools.partial(numbers, tensor))

    return {
        name: array(value)
        for name, value in state.items()
        if isinstance(name, str) and isinstance(value, torch.Tensor)
    }


LOOKED_FOR = "weight_ih_l0 (3H, I) and weight_hh_l0 (3H, H) of PyTorch"
WEIGHTS = ("weight_ih", "weight_hh")
BIASES = ("bias_ih", "bias_hh")
# Names of PyTorch's quantized layers, in state dicts and in pickles of modules.
_QUANTIZED = re.compile(r"_packed_params|_all_weight_values")
QUANTIZED = (
    "of quantized layers: expected floating-point weights; save those of the model before it was "
    "quantized, or in PyTorch those of a quantized GRU, torch.save({k: v.dequantize() for k, v in "
    "gru.get_weight().items()} | gru.get_bias(), path)"
)

_OWN = re.compile(r"(?:weight|bias)_(?:ih|hh)(?:_l(0|[1-9][0-9]{0,8})(_reverse)?)?")
# Names such as enc_w_ih and enc_b_hh_l0, with a name for the module before them, or none.
_SHORT = re.compile(r"(?:(.*)_)?([wb])_((?:ih|hh)(?:_l[0-9]{1,9}(?:_reverse)?)?)")
_LONG = {"w": "weight", "b": "bias"}
# How a weight is stored while other tensors are trained in its place: by torch.nn.utils' prune,
# weight_norm and spectral_norm, and by fastai's weight dropout; _REPLACED_BELOW for PyTorch's newer
# parametrizations.
_REPLACED = re.compile(rf"({_OWN.pattern})_(g|v|u|orig|mask|raw|original[0-9]*)")
_REPLACED_BELOW = re.compile(rf"(?:(.*)[./,])?parametrizations[./,]({_OWN.pattern})")
_PROJECTION = re.compile(r"weight_hr_l[0-9]+(?:_reverse)?")
_CAPABILITIES = Capabilities(
    "torch.nn.GRU", {**USUAL, "reset_after": (True,)}, merges=("concat",), has_stacks=True
)
# The layers that share these names, by the rows of weight_hh for each of its columns.
_OTHERS = {1: "a plain RNN", 4: "an LSTM"}
# The biases of an Equinox cell, whose weights have the names of PyTorch.
_EQUINOX = frozenset({"bias", "bias_n"})


class _Extent(NamedTuple):
    """The parts of a GRU."""

    layers: list[int | None]  # None: that of a cell
    sides: tuple[bool, ...]  # False: forward, True: backward
    kinds: tuple[str, ...]  # of WEIGHTS and BIASES


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs and GRU cells of PyTorch among the arrays, by their paths."""
    builds = {
        place: functools.partial(_net, arrays, place, module)
        for place, module in _modules(arrays).items()
        if _other(arrays, module) is None
    }
    return build_all(builds, assume, "torch")


def others(arrays: Arrays) -> list[str]:
    """Return a phrase for each layer that has the names of a GRU but is another layer."""
    modules = _modules(arrays).items()
    found = [(_other(arrays, module), gru_name(place)) for place, module in modules]
    return [f"{other} called {shown(name)}" for other, name in found if other is not None]


def own_name(kind: str, layer: int | None, reverse: bool) -> str:
    """Return the name in PyTorch of an array of a layer, or of a cell if layer is None."""
    if layer is None:
        return kind
    return f"{kind}_l{layer}_reverse" if reverse else f"{kind}_l{layer}"


def _modules(arrays: Arrays) -> dict[str, Module]:
    """Return the modules with arrays named like those of a GRU."""
    places = by_place(arrays)
    for place, module in list(places.items()):
        for own in list(module):
            if short := _SHORT.fullmatch(own):
                at = label(place, short[1]) if short[1] else place
                long = f"{_LONG[short[2]]}_{short[3]}"
                places.setdefault(at, {}).setdefault(long, module.pop(own))
        if below := _REPLACED_BELOW.fullmatch(place):
            above = places.setdefault(below[1] or "", {})
            above |= {f"{below[2]}_{own}": name for own, name in module.items()}
    patterns = (_OWN, _REPLACED, _PROJECTION)
    return {
        place: module
        for place, module in places.items()
        if not module.keys() >= _EQUINOX
        and any(pattern.fullmatch(own) for own in module for pattern in patterns)
    }


def _other(arrays: Arrays, module: Module) -> str | None:
    """Return the kind of another layer, None if the module is a GRU or an incomplete one."""
    if any(map(_PROJECTION.fullmatch, module)):
        return "an LSTM with projections"
    shapes = [arrays[name].shape for own, name in module.items() if own.startswith("weight_hh")]
    # The longest rows are those of a weight: its norms are a column.
    *_, rows, columns = max((s for s in shapes if len(s) > 1), key=lambda s: s[-1], default=(0, 0))
    return _OTHERS.get(rows // columns) if columns and rows % columns == 0 else None


def _net(arrays: Arrays, place: str, module: Module, fields: Fields) -> Net:
    held = _computed({own: arrays[name] for own, name in module.items()}, fields)
    layers, sides, kinds = _extent(held)
    # The order in which the sizes are found: H before 3H.
    letters = {"weight_hh": ("3H", "H"), "weight_ih": ("3H", "I")} | dict.fromkeys(BIASES, ("3H",))
    outputs = "2H" if len(sides) == 2 else "H"
    shapes: dict[str, tuple[str, ...]] = {}
    for kind, layer, side in itertools.product(letters, layers, sides):
        if kind in kinds:
            name = own_name(kind, layer, side)
            shapes[name] = ("3H", outputs) if kind == "weight_ih" and layer else letters[kind]
    found = check_arrays(held, place, shapes, may_be_stacked=True)
    fields.resolve("reverse", False)

    def one(layer: int | None, reverse: bool) -> GRUParams:
        ih, hh, *biases = (found[own_name(kind, layer, reverse)] for kind in kinds)
        arrays = (ih.swapaxes(-1, -2), hh.swapaxes(-1, -2), *biases)
        return fields.params(*map(swap_gates, arrays), reset_after=True, **TANH_SIGMOID)

    net: list[Net] = []
    for layer in layers:
        forward: Net = one(layer, False)
        if len(sides) == 2:
            forward = Bidirectional(forward, one(layer, True), fields.resolve("merge", "concat"))
        net.append(forward)
    return net[0] if len(net) == 1 else tuple(net)


def _computed(held: dict[str, Any], fields: Fields) -> dict[str, Any]:
    """Return the arrays of a module with those computed that were pruned or weight-normed."""
    parts: dict[str, dict[str, str]] = {}
    for own in held:
        if replaced := _REPLACED.fullmatch(own):
            parts.setdefault(replaced[1], {})[replaced[4]] = own
    for weight, names in parts.items():
        arrays = {part: held[name] for part, name in names.items()}
        try:
            check_floats({names[part]: array for part, array in arrays.items()})
            read = {part: read_now(array) for part, array in arrays.items()}
            match sorted(read):
                case ["mask", "orig"]:
                    held[weight] = _pruned(read["orig"], read["mask"])
                case ["g", "v"]:
                    held[weight] = _normed(read["g"], read["v"])
                case ["original0", "original1"]:
                    held[weight] = _normed(read["original0"], read["original1"])
                case _:
                    raise ValueError
        except ValueError:
            raise WeightsError(
                f"{weight} is stored as {' and '.join(names.values())}, as by a weight norm or a "
                "parametrization: expected the weight itself; remove the norm or parametrization "
                "before saving"
            ) from None
        if "mask" not in names:
            fields.note(f"{weight} was computed from its weight norm, in float64, and rounded")
    return held


def _pruned(original: NDArray[Any], mask: NDArray[Any]) -> NDArray[Any]:
    """Return a weight of torch.nn.utils.prune: exact, as a mask is zeros and ones."""
    if mask.shape != original.shape or not np.isin(mask, (0, 1)).all():
        raise ValueError
    product: NDArray[Any] = original * mask
    return product


def _normed(norms: NDArray[Any], directions: NDArray[Any]) -> NDArray[Any]:
    """Return a weight of weight_norm: ``g v / |v|``, with a norm over each axis that g lacks."""
    v, axes = directions.astype(np.float64), tuple(range(directions.ndim))
    if norms.ndim:
        sizes = list(zip(norms.shape, v.shape, strict=True))
        axes = tuple(i for i, (one, _) in enumerate(sizes) if one == 1)
        if any(one not in (1, size) for one, size in sizes) or len(axes) == norms.ndim > 1:
            raise ValueError
    length = np.sqrt(np.sum(v * v, axis=axes, keepdims=True))
    weight: NDArray[Any] = (norms * (v / length)).astype(directions.dtype)
    return weight


def _extent(module: Collection[str]) -> _Extent:
    """Return the layers and directions of a GRU; raise WeightsError if arrays are missing."""
    matches = [match for match in map(_OWN.fullmatch, module) if match]
    numbers = {match[1] for match in matches}
    if None in numbers and len(numbers) > 1:
        raise WeightsError(
            "weights of a GRU and of a GRU cell are at one place: expected one of them"
        )
    layers: list[int | None] = [None] if None in numbers else [*range(len(numbers))]
    sides = (False, True) if any(match[2] for match in matches) else (False,)
    has_biases = any(match[0].startswith(BIASES) for match in matches)
    kinds = (*WEIGHTS, *BIASES) if has_biases else WEIGHTS
    if not has_biases and "bias" in module:
        raise WeightsError(
            "bias is beside weights without biases: expected bias_ih and bias_hh of PyTorch, or "
            "bias and bias_n of Equinox"
        )
    for layer, side, kind in itertools.product(layers, sides, kinds):
        if own_name(kind, layer, side) not in module:
            raise WeightsError(
                f"{own_name(kind, layer, side)} is missing: expected both weights"
                f"{' and both biases' if has_biases else ''} in every layer"
                f"{' and direction' if len(sides) == 2 else ''}"
            )
    return _Extent(layers, sides, kinds)


def state_of(net: Net, *, cell: bool = False) -> dict[str, NDArray[Any]]:
    """Return a net as NumPy arrays with the names of PyTorch, in its order; ``cell`` for a cell.

    PyTorch has all biases or none, so if only some are None, they are zeros.
    """
    layers = _CAPABILITIES.layers(net)
    _check_alike(layers)
    if cell and (len(layers) > 1 or len(layers[0].sides) > 1):
        raise WeightsError("net has several layers: expected one, as torch.nn.GRUCell holds one")
    has_biases = any(has_bias(params) for layer in layers for params in layer.sides.values())
    state: dict[str, NDArray[Any]] = {}
    for i, layer in enumerate(layers):
        for params, reverse in zip(layer.sides.values(), (False, True), strict=False):
            arrays = [params.kernel.T, params.recurrent_kernel.T]
            arrays += both_biases(params) if has_biases else ()
            for kind, array in zip((*WEIGHTS, *BIASES), arrays, strict=False):
                name = own_name(kind, None if cell else i, reverse)
                state[name] = np.ascontiguousarray(swap_gates(array, 0))
    check_floats(state)
    return state


def _check_alike(layers: list[Layer]) -> None:
    """Raise WeightsError unless all layers fit one GRU of PyTorch."""
    first, *others = layers
    units = next(iter(first.sides.values())).hidden_size
    for layer in others:
        for what, one, other in (
            ("units", next(iter(layer.sides.values())).hidden_size, units),
            ("directions", len(layer.sides), len(first.sides)),
        ):
            if one != other:
                raise WeightsError(
                    f"{layer.place} has {one} {what} and {first.place} {other}: expected the same "
                    "in all layers, as in torch.nn.GRU"
                )

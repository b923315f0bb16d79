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

Both biases are there or none is. The reset gate is applied after the product; the activations are
always tanh and sigmoid; both directions are concatenated. LSTMs and plain RNNs have the same
names, so what is a GRU is told by the rows of ``weight_hh``: three times its columns.

Source: ``torch/nn/modules/rnn.py``.
"""

import functools
import itertools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxgru.net import Bidirectional, Net
from jaxgru.params import GRUParams
from jaxgru.weights.assume import Settling
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import Arrays
from jaxgru.weights.found import Gathered
from jaxgru.weights.named.build import attempt, check_arrays, from_rzn
from jaxgru.weights.named.places import by_place, called

LOOKED_FOR = "weight_ih_l0 (3H, I) and weight_hh_l0 (3H, H) of PyTorch"
WEIGHTS = ("weight_ih", "weight_hh")
BIASES = ("bias_ih", "bias_hh")

_OWN = re.compile(r"(?:weight|bias)_(?:ih|hh)(?:_l(0|[1-9][0-9]{0,8})(_reverse)?)?")
# What a weight is stored as while something else is trained in its place: torch.nn.utils'
# weight_norm and spectral_norm, fastai's weight dropout; and _REPLACED_BELOW, PyTorch's newer way.
_REPLACED = re.compile(rf"({_OWN.pattern})_(?:g|v|orig|raw|original[0-9]*)")
_REPLACED_BELOW = re.compile(rf"(?:(.*)[./])?parametrizations[./]({_OWN.pattern})")
_PROJECTION = re.compile(r"weight_hr_l[0-9]+(?:_reverse)?")
# The layers that share these names, by the rows of weight_hh for each of its columns.
_OTHERS = {1: "a plain RNN", 4: "an LSTM"}
# Equinox's own of a cell whose weights are called as PyTorch's are.
_EQUINOX = frozenset({"bias", "bias_n"})

Module = Mapping[str, str]  # whole names by own ones


class _Extent(NamedTuple):
    """What a GRU consists of."""

    layers: list[int | None]  # None: that of a cell
    sides: tuple[bool, ...]  # False: forward, True: backward
    kinds: tuple[str, ...]  # of WEIGHTS and BIASES


def find(arrays: Arrays, assume: Mapping[str, Any]) -> Gathered:
    """Return every GRU and GRU cell of PyTorch among the arrays, by its place in the model.

    Raises:
        WeightsError: two names mean one array.
    """
    return {
        called(place): attempt(functools.partial(_net, arrays, module), assume)
        for place, module in _modules(arrays).items()
        if _other(arrays, module) is None
    }


def others(arrays: Arrays) -> list[str]:
    """Return a phrase for each layer that is named like a GRU and is none."""
    modules = _modules(arrays).items()
    found = [(_other(arrays, module), called(place)) for place, module in modules]
    return [f"{other} called {name[:80]!a}" for other, name in found if other is not None]


def own_name(kind: str, layer: int | None, reverse: bool) -> str:
    """Return what PyTorch calls an array of a layer, or of a cell where layer is None."""
    if layer is None:
        return kind
    return f"{kind}_l{layer}_reverse" if reverse else f"{kind}_l{layer}"


def _modules(arrays: Arrays) -> dict[str, Module]:
    """Return the places that hold arrays named like those of a GRU."""
    places = by_place(arrays)
    for place, module in list(places.items()):
        if below := _REPLACED_BELOW.fullmatch(place):
            above = places.setdefault(below[1] or "", {})
            above |= {f"{below[2]}_{own}": name for own, name in module.items()}
    return {
        place: module
        for place, module in places.items()
        if any(map(_belongs, module)) and not module.keys() >= _EQUINOX
    }


def _belongs(own: str) -> bool:
    return any(pattern.fullmatch(own) for pattern in (_OWN, _REPLACED, _PROJECTION))


def _other(arrays: Arrays, module: Module) -> str | None:
    """Return what a place holds if it is another layer, None if it is a GRU or was to be one."""
    if any(map(_PROJECTION.fullmatch, module)):
        return "an LSTM with projections"
    shapes = [arrays[name].shape for own, name in module.items() if own.startswith("weight_hh")]
    # The longest rows are those of a weight: its norms are a column.
    rows, columns = max((s for s in shapes if len(s) == 2), key=lambda s: s[1], default=(0, 0))
    return _OTHERS.get(rows // columns) if columns and rows % columns == 0 else None


def _net(arrays: Arrays, module: Module, settling: Settling) -> Net:
    extent = _extent(module)
    found = _checked(arrays, module, extent)
    settling.pick("reverse", False)
    variant = {
        "reset_after": settling.pick("reset_after", True),
        "activation": settling.pick("activation", "tanh"),
        "recurrent_activation": settling.pick("recurrent_activation", "sigmoid"),
    }

    def one(layer: int | None, reverse: bool) -> GRUParams:
        names = (module[own_name(kind, layer, reverse)] for kind in extent.kinds)
        return GRUParams(*(from_rzn(found[name], 0).T for name in names), **variant)

    def both(layer: int | None) -> Net:
        merge = settling.pick("merge", "concat")
        return Bidirectional(one(layer, False), one(layer, True), merge)

    is_bidirectional = len(extent.sides) == 2
    net = [both(layer) if is_bidirectional else one(layer, False) for layer in extent.layers]
    return net[0] if len(net) == 1 else tuple(net)


def _extent(module: Module) -> _Extent:
    """Return what a GRU consists of; raise WeightsError unless all of it is there."""
    for own in module:
        if replaced := _REPLACED.fullmatch(own):
            raise WeightsError(
                f"{replaced[1]} is given by {own}, as by a weight norm or a parametrization: "
                "expected the weight itself; remove the norm or parametrization before saving"
            )
    matches = [match for match in map(_OWN.fullmatch, module) if match]
    numbers = {match[1] for match in matches}
    if None in numbers and len(numbers) > 1:
        raise WeightsError("weights of a GRU and of a GRU cell are in one place: expected one's")
    layers: list[int | None] = [None] if None in numbers else [*range(len(numbers))]
    sides = (False, True) if any(match[2] for match in matches) else (False,)
    has_biases = any(match[0].startswith(BIASES) for match in matches)
    kinds = (*WEIGHTS, *BIASES) if has_biases else WEIGHTS
    for layer, side, kind in itertools.product(layers, sides, kinds):
        if own_name(kind, layer, side) not in module:
            raise WeightsError(
                f"{own_name(kind, layer, side)} is missing: expected both weights"
                f"{' and both biases' if has_biases else ''} in every layer"
                f"{' and direction' if len(sides) == 2 else ''}"
            )
    return _Extent(layers, sides, kinds)


def _checked(arrays: Arrays, module: Module, extent: _Extent) -> dict[str, Any]:
    """Return a GRU's arrays by their whole names, once they are known to fit together."""
    layers, sides, kinds = extent
    # In the order in which the sizes are known from, H before 3H.
    letters = {"weight_hh": ("3H", "H"), "weight_ih": ("3H", "I")} | dict.fromkeys(BIASES, ("3H",))
    shapes: dict[str, tuple[str, ...]] = {}
    for kind, layer, side in itertools.product(letters, layers, sides):
        if kind in kinds:
            name = module[own_name(kind, layer, side)]
            shapes[name] = ("3H", "outputs") if kind == "weight_ih" and layer else letters[kind]
    found = check_arrays({name: arrays[name] for name in shapes}, "", shapes)
    for layer in layers[1:]:
        name = module[own_name("weight_ih", layer, False)]
        outputs = len(sides) * found[module[own_name("weight_hh", layer, False)]].shape[1]
        if found[name].shape[1] != outputs:
            raise WeightsError(
                f"{name} has shape {found[name].shape}: expected {outputs} columns, as many as the "
                "layer before has outputs"
            )
    return found

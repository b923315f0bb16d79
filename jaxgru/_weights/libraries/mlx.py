"""MLX's GRU.

========  ============  ===================================================================
name      shape         meaning
========  ============  ===================================================================
``Wx``    ``(3H, I)``   kernel transposed, blocks r, z, n; ``(I, 3H)`` in early versions
``Wh``    ``(3H, H)``   recurrent kernel, likewise
``b``     ``(3H,)``     input-side bias, likewise
``bhn``   ``(H,)``      state-side bias of the candidate; z and r have none
========  ============  ===================================================================

The equations are those of Equinox' cell, with the reset gate after the product, tanh and sigmoid.
(Early versions left ``bhn`` out of the first step if no state was given.)

Source: ``python/mlx/nn/layers/recurrent.py``.
"""

import functools
from collections.abc import Mapping
from typing import Any

from jaxgru._net import Net
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries import equinox, names
from jaxgru._weights.results import GRUsByName

LOOKED_FOR = "Wx (3H, I), Wh (3H, H), b and bhn of MLX"
_AS_EQUINOX = {"Wh": "weight_hh", "Wx": "weight_ih", "b": "bias", "bhn": "bias_n"}
_NEW: names.Shapes = {"Wh": ("3H", "H"), "Wx": ("3H", "I")}
_EARLY: names.Shapes = {"Wh": ("H", "3H"), "Wx": ("I", "3H")}
_BIASES: names.Shapes = {"b": ("3H",), "bhn": ("H",)}


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs of MLX among named arrays, by the name of their module."""
    builds: dict[str, names.Build] = {}
    for place, module in names.holding(arrays, _NEW).items():
        rows, columns = (0, 0, *arrays[module["Wh"]].shape)[-2:]
        # Its LSTM, whose arrays have the same names, has four blocks.
        if max(rows, columns) == 3 * min(rows, columns) > 0:
            shapes = _NEW if rows > columns else _EARLY
            has_biases = not _BIASES.keys().isdisjoint(module)
            builds[place] = functools.partial(
                _net, arrays, place, module, {**shapes, **_BIASES} if has_biases else shapes
            )
    return names.build_all(builds, assume, "mlx")


def _net(
    arrays: Arrays, place: str, module: names.Module, shapes: names.Shapes, fields: Fields
) -> Net:
    if missing := shapes.keys() - module.keys():
        raise WeightsError(f"{', '.join(missing)} is missing: expected b and bhn, or neither")
    held = {own: arrays[name] for own, name in module.items()}
    found = names.check_arrays(held, place, shapes, may_be_stacked=True)
    if shapes["Wh"] == _EARLY["Wh"]:
        found |= {own: found[own].swapaxes(-1, -2) for own in ("Wh", "Wx")}
    return equinox.params_of({_AS_EQUINOX[own]: array for own, array in found.items()}, fields)

"""Arrays whose names do not show their library, such as ``arr_0`` or ``W``, ``U`` and ``b``.

Shapes show neither the order of the gates nor the sign of z. So such arrays are read only if
``assume`` names their library, whose order of arrays is then assumed.
"""

import re
from collections.abc import Mapping
from typing import Any

from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError, listed
from jaxgru._weights.libraries.names import by_place, label

# The names in the order of the library, such as that of get_weights in Keras.
_ORDERS = {
    "keras": ("kernel", "recurrent_kernel", "bias"),
    "torch": ("weight_ih", "weight_hh", "bias_ih", "bias_hh"),
    "flax": ("dense_i/kernel", "dense_h/kernel", "dense_i/bias"),
    "haiku": ("w_i", "w_h", "b"),
    "equinox": ("weight_ih", "weight_hh", "bias", "bias_n"),
    "mlx": ("Wx", "Wh", "b", "bhn"),
}
_POSITIONS = {"w": 0, "u": 1, "b": 2}
_NUMBERED = re.compile(r"(?:arr_)?([0-3])")


def renamed(arrays: Arrays, assume: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arrays of GRUs without a library under the names of the one in ``assume``.

    Raises WeightsError if there are some, and ``assume`` has none.
    """
    found: dict[str, Any] = {}
    for place, module in by_place(arrays).items():
        names = {_position(own): name for own, name in module.items()}
        held = [names.get(i, "") for i in range(len(module))]
        if not all(held) or not _are_of_a_gru([arrays[name].shape for name in held]):
            continue
        order = _ORDERS.get(assume.get("source", ""), ())
        if len(held) > len(order):
            raise WeightsError(
                f"{listed(held, 4)} do not identify a library, and their shapes show neither the "
                "order of the gates nor the sign of z: expected assume={'source': 'keras'} or "
                f"another of {', '.join(_ORDERS)} with as many, or in Python "
                "jaxgru.GRUParams(kernel, recurrent_kernel, bias, recurrent_bias)"
            )
        found |= {label(place, own): arrays[name] for own, name in zip(order, held, strict=False)}
    return found


def _position(own: str) -> int | None:
    numbered = _NUMBERED.fullmatch(own)
    return int(numbered[1]) if numbered else _POSITIONS.get(own.lower())


def _are_of_a_gru(shapes: list[tuple[int, ...]]) -> bool:
    """Return whether the first two of two to four arrays may be the weights of a GRU."""
    if len(shapes) not in (2, 3, 4) or min(map(len, shapes[:2])) < 2:
        return False
    rows, columns = shapes[1][-2:]
    return max(rows, columns) == 3 * min(rows, columns)

"""Where an array is in a model: its name cut into the place of its module and its own.

The same array may be called ``encoder.gru.w_i``, ``encoder/gru/w_i`` or, as JAX writes the paths
of its trees, ``['encoder']['gru']['w_i']``.
"""

import re
from collections.abc import Collection, Iterable
from typing import Any, TypeAlias

from numpy.typing import NDArray

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import Arrays, Unread
from jaxgru.weights.found import UNNAMED

_PART = re.compile(r"[^./\[\]'\"]+")
# An optimiser's state mirrors the whole model, under the model's own names.
_OPTIMISERS = frozenset({"opt_state", "optimizer", "optimizer_state"})

Module: TypeAlias = "dict[str, NDArray[Any] | Unread]"


def by_place(names: Iterable[str], depth: int = 1) -> dict[str, dict[str, str]]:
    """Return what each place of a model holds, an optimiser's state left out.

    Args:
        names: the names of arrays.
        depth: how many parts at the end of a name say what is in a place: 1 for ``w_i`` of
            ``gru/w_i``, 2 for ``ir/kernel`` of ``cell/ir/kernel``.

    Returns:
        The whole names, by place and by the parts at the end joined with ``/``. The place is
        ``""`` where there is nothing before those parts.

    Raises:
        WeightsError: two names mean one array.
    """
    found: dict[str, dict[str, str]] = {}
    for name in names:
        parts = _PART.findall(name)
        # Flax's nnx holds an array as the value of a variable.
        if parts[-1:] == ["value"]:
            parts.pop()
        if len(parts) < depth or _OPTIMISERS.intersection(parts):
            continue
        before = parts[:-depth]
        # A place without brackets is given as the file has it.
        place = "/".join(before) if "[" in name else _beginning(name, len(before))
        module, own = found.setdefault(place, {}), "/".join(parts[-depth:])
        if own in module:
            raise WeightsError(
                f"{module[own][:80]!a} and {name[:80]!a} are both there: expected one"
            )
        module[own] = name
    return found


def holding(
    arrays: Arrays, required: Collection[str], optional: Collection[str] = (), depth: int = 1
) -> dict[str, Module]:
    """Return the places that hold all the required arrays, with those and the optional ones.

    Args:
        arrays: what a file holds.
        required: the arrays' own names, in parts joined with ``/``.
        optional: likewise.
        depth: see ``by_place``.

    Raises:
        WeightsError: two names mean one array.
    """
    return {
        place: {own: arrays[names[own]] for own in (*required, *optional) if own in names}
        for place, names in by_place(arrays, depth).items()
        if names.keys() >= set(required)
    }


def label(place: str, own: str) -> str:
    """Return the name of an array of a place for a message: one line, and not too long a one."""
    separator = "." if "." in place and "/" not in place else "/"
    name = f"{place}{separator}{own}" if place else own
    # Cut at the beginning: the arrays of one GRU differ at the end, in messages as well.
    return name if name.isprintable() and len(name) <= 80 else f"{name[-80:]!a}"


def called(place: str) -> str:
    """Return the name of the GRU at a place."""
    return place or UNNAMED


def _beginning(name: str, count: int) -> str:
    """Return a name from its first part to the one that ``count`` says."""
    matches = list(_PART.finditer(name))[:count]
    return name[matches[0].start() : matches[-1].end()] if matches else ""

"""Names of arrays, split into the path of a module and the name of the array in it.

The same array may be called ``encoder.gru.w_i``, ``encoder/gru/w_i``, ``encoder,gru,w_i`` or, like
paths of trees in JAX, ``['encoder']['gru']['w_i']``.
"""

import functools
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jaxgru._net import Net
from jaxgru._weights.conventions import is_traced, to_numpy
from jaxgru._weights.dtypes import FLOATS, Arrays, Unread, check_floats
from jaxgru._weights.errors import WeightsError, WeightsWarning, listed, outcome, plain, shown
from jaxgru._weights.results import UNNAMED, Found, Gathered, to_jax
from jaxgru._weights.unspecified import Fields

Shapes = Mapping[str, tuple[str, ...]]
Module: TypeAlias = "dict[str, str]"  # the full names of the arrays of a module by their own
Build = Callable[[Fields], Net]

_PART = re.compile(r"[^./,\[\]'\"]+")
# The state of an optimizer has the structure and the names of the model.
_OPTIMISERS = frozenset({"opt_state", "optimizer", "optimizer_state"})


def by_place(names: Iterable[str], depth: int = 1) -> dict[str, Module]:
    """Return the full names of arrays by path and own name, without the state of an optimizer.

    The last ``depth`` parts of a name are the array's own name, joined with ``/``: 1 for ``w_i`` of
    ``gru/w_i``, 2 for ``ir/kernel`` of ``cell/ir/kernel``. The rest is the path, which may be
    ``""``.
    """
    found: dict[str, Module] = {}
    for name in names:
        parts = _PART.findall(name)
        # In Flax' nnx, an array is the value of a variable.
        if parts[-1:] == ["value"]:
            parts.pop()
        if len(parts) < depth or _OPTIMISERS.intersection(parts):
            continue
        before = parts[:-depth]
        # A path without brackets is not changed.
        place = "/".join(before) if "[" in name else _beginning(name, len(before))
        module, own = found.setdefault(place, {}), "/".join(parts[-depth:])
        if own in module:
            raise WeightsError(
                f"{shown(module[own])} and {shown(name)} are both there: expected one"
            )
        module[own] = name
    return found


def holding(names: Iterable[str], required: Collection[str], depth: int = 1) -> dict[str, Module]:
    """Return the modules that have all required arrays, see ``by_place``."""
    places = by_place(names, depth)
    return {place: module for place, module in places.items() if module.keys() >= set(required)}


def cells(
    arrays: Arrays,
    modules: Mapping[str, Module],
    shapes: Shapes,
    layer: Callable[[dict[str, Any], Fields], Net],
) -> dict[str, Build]:
    """Return for each path a function that builds the GRU by ``layer`` from checked arrays.

    ``shapes`` are those of all arrays that a module may have, see ``check_arrays``.
    """

    def build(place: str, module: Module, fields: Fields) -> Net:
        held = {own: shape for own, shape in shapes.items() if own in module}
        found = {own: arrays[module[own]] for own in held}
        return layer(check_arrays(found, place, held), fields)

    return {place: functools.partial(build, place, module) for place, module in modules.items()}


def attempts(builds: Mapping[str, Build], assume: Mapping[str, Any]) -> Gathered:
    """Return the GRU of each path, or the reason why no net can hold it."""
    return {called(place): attempt(build, assume) for place, build in builds.items()}


def attempt(build: Build, assume: Mapping[str, Any]) -> Found | WeightsError:
    """Return the GRU that a function builds, or the reason why no net can hold it."""
    fields = Fields(assume)
    net = outcome(build, fields)
    return net if isinstance(net, WeightsError) else Found(net, fields.notes())


def check_arrays(module: Arrays, place: str, shapes: Shapes) -> dict[str, Any]:
    """Return the arrays of a module after checking their types and shapes.

    The shapes are numbers and letters, such as ``("H", "3H")``; the size of a letter is that of its
    first occurrence.
    """
    check_floats({label(place, own): module[own] for own in shapes})
    sizes: dict[str, int] = {}
    for own, letters in shapes.items():
        found = module[own].shape
        for letter, size in zip(letters, found, strict=False):
            if letter == "H" and "H" not in sizes:
                sizes |= {"H": size, "2H": 2 * size, "3H": 3 * size, "6H": 6 * size}
            sizes.setdefault(letter, int(letter) if letter.isdigit() else size)
        if found != tuple(sizes.get(letter) for letter in letters):
            expected = f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"
            units = f" for {sizes['H']} units" if "H" in sizes else ""
            raise WeightsError(f"{label(place, own)} has shape {found}: expected {expected}{units}")
    return {own: to_numpy(module[own]) for own in shapes}


def label(place: str, own: str) -> str:
    """Return the name of an array of a module for a message."""
    separator = next((sign for sign in "/,." if sign in place), "/")
    name = f"{place}{separator}{own}" if place else own
    return plain(name)


def called(place: str) -> str:
    """Return the name of the GRU with a path."""
    return place or UNNAMED


def no_gru(arrays: Arrays, others: Sequence[str], looked_for: str) -> str:
    """Return the message about arrays without a GRU; ``others`` are phrases for similar layers."""
    like = "".join(f", {other}" for other in others[:3])
    held = f"{len(arrays)} arrays ({listed(arrays)}){like}"
    return f"no GRU is among its {held}: expected {looked_for}"


def named_arrays(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arrays of nested mappings by their keys joined with ``/``; others are ignored.

    An array in a box, such as a partitioned parameter of Flax, is unboxed.
    """
    found: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            inner = named_arrays(value)
            found |= {f"{key}/{name}": array for name, array in inner.items()}
            continue
        array = value.unbox() if hasattr(value, "unbox") else value
        if hasattr(array, "shape") and hasattr(array, "dtype"):
            found[str(key)] = read_array(array)
    return found


def read_array(array: Any) -> Any:
    """Convert an array to NumPy, or to Unread if its dtype is not one of weights."""
    if str(array.dtype) not in FLOATS:
        return Unread(tuple(array.shape), str(array.dtype))
    return array if is_traced(array) else np.asarray(array)


def jax_tree(tree: Any, *, stacklevel: int) -> Any:
    """Convert a tree of NumPy arrays to JAX arrays, with a warning if that rounds them."""
    converted, notes = to_jax(tree)
    for note in notes:
        warnings.warn(note, WeightsWarning, stacklevel=stacklevel + 1)
    return converted


def _beginning(name: str, count: int) -> str:
    """Return the first ``count`` parts of a name."""
    matches = list(_PART.finditer(name))[:count]
    return name[matches[0].start() : matches[-1].end()] if matches else ""

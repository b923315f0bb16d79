"""Arrays by their names: cut into the place of a module and the array's own name, and checked.

The same array may be called ``encoder.gru.w_i``, ``encoder/gru/w_i``, ``encoder,gru,w_i`` or, as
JAX writes the paths of its trees, ``['encoder']['gru']['w_i']``.
"""

import functools
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jaxgru.net import Net
from jaxgru.weights.conventions import is_traced, to_numpy
from jaxgru.weights.dtypes import FLOATS, Arrays, Unread, check_floats
from jaxgru.weights.errors import WeightsError, WeightsWarning, outcome, plain, shown
from jaxgru.weights.results import UNNAMED, Found, Gathered, to_jax
from jaxgru.weights.unspecified import Fields

Shapes = Mapping[str, tuple[str, ...]]
Module: TypeAlias = "dict[str, str]"  # the whole names of a place's arrays by their own
Build = Callable[[Fields], Net]

_PART = re.compile(r"[^./,\[\]'\"]+")
# An optimiser's state mirrors the whole model, under the model's own names.
_OPTIMISERS = frozenset({"opt_state", "optimizer", "optimizer_state"})


def by_place(names: Iterable[str], depth: int = 1) -> dict[str, Module]:
    """Return the whole names of arrays by place and by own name, an optimiser's state left out.

    The last ``depth`` parts of a name are the array's own, joined with ``/``: 1 for ``w_i`` of
    ``gru/w_i``, 2 for ``ir/kernel`` of ``cell/ir/kernel``. The rest is the place, perhaps ``""``.
    """
    found: dict[str, Module] = {}
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
                f"{shown(module[own])} and {shown(name)} are both there: expected one"
            )
        module[own] = name
    return found


def holding(names: Iterable[str], required: Collection[str], depth: int = 1) -> dict[str, Module]:
    """Return the places that hold all the required arrays, see ``by_place``."""
    places = by_place(names, depth)
    return {place: module for place, module in places.items() if module.keys() >= set(required)}


def cells(
    arrays: Arrays,
    modules: Mapping[str, Module],
    shapes: Shapes,
    layer: Callable[[dict[str, Any], Fields], Net],
) -> dict[str, Build]:
    """Return for each place what builds its GRU: ``layer``, given the arrays that fit together.

    ``shapes`` are those of all the arrays that a place may hold, see ``check_arrays``.
    """

    def build(place: str, module: Module, fields: Fields) -> Net:
        held = {own: shape for own, shape in shapes.items() if own in module}
        found = {own: arrays[module[own]] for own in held}
        return layer(check_arrays(found, place, held), fields)

    return {place: functools.partial(build, place, module) for place, module in modules.items()}


def attempts(builds: Mapping[str, Build], assume: Mapping[str, Any]) -> Gathered:
    """Return the GRU of each place, or why there is none that a net can hold."""
    return {called(place): attempt(build, assume) for place, build in builds.items()}


def attempt(build: Build, assume: Mapping[str, Any]) -> Found | WeightsError:
    """Return the GRU that a function builds, or why there is none that a net can hold."""
    fields = Fields(assume)
    net = outcome(build, fields)
    return net if isinstance(net, WeightsError) else Found(net, fields.notes())


def check_arrays(module: Arrays, place: str, shapes: Shapes) -> dict[str, Any]:
    """Return the arrays of a place once they are known to be sound and to fit together.

    Their shapes are given in numbers and letters, such as ``("H", "3H")``; a letter stands for the
    size where it first occurs.
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
    """Return the name of an array of a place for a message."""
    separator = next((sign for sign in "/,." if sign in place), "/")
    name = f"{place}{separator}{own}" if place else own
    # Cut at the beginning: the arrays of one GRU differ at the end, in messages as well.
    return plain(name) if len(name) <= 80 else shown(name[-80:])


def called(place: str) -> str:
    """Return the name of the GRU at a place."""
    return place or UNNAMED


def no_gru(arrays: Arrays, others: Sequence[str], looked_for: str) -> str:
    """Return the message about arrays without a GRU; ``others`` are phrases for similar layers."""
    names = list(arrays)
    some = ", ".join([*map(shown, names[:3]), *["..."] * (len(names) > 3)])
    like = "".join(f", {other}" for other in others[:3])
    return f"no GRU is among its {len(names)} arrays ({some}){like}: expected {looked_for}"


def named_arrays(tree: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the arrays of nested mappings by their keys joined with ``/``, the rest passed over.

    An array in a box, as Flax's partitioned parameters are, is taken out of it.
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
    """Return an array as one of NumPy, unread if it is not of numbers that weights can be."""
    if str(array.dtype) not in FLOATS:
        return Unread(tuple(array.shape), str(array.dtype))
    return array if is_traced(array) else np.asarray(array)


def jax_tree(tree: Any, *, stacklevel: int) -> Any:
    """Return a tree of NumPy arrays as one of JAX arrays, with a warning if that rounds them."""
    converted, notes = to_jax(tree)
    for note in notes:
        warnings.warn(note, WeightsWarning, stacklevel=stacklevel + 1)
    return converted


def _beginning(name: str, count: int) -> str:
    """Return a name from its first part to the ``count``-th."""
    matches = list(_PART.finditer(name))[:count]
    return name[matches[0].start() : matches[-1].end()] if matches else ""

"""Names of arrays, split into the path of a module and the name of the array in it.

The same array may be called ``encoder.gru.w_i``, ``encoder/gru/w_i``, ``encoder,gru,w_i`` or, like
paths of trees in JAX, ``['encoder']['gru']['w_i']``.
"""

import dataclasses
import functools
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from jaxgru._net import Net
from jaxgru._weights.conventions import check_stackable, is_traced, to_numpy
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import FLOATS, Arrays, Unread, check_floats, read_now
from jaxgru._weights.errors import (
    WeightsError,
    WeightsWarning,
    each_once,
    listed,
    plain,
    result_or_error,
    shown,
)
from jaxgru._weights.results import UNNAMED, GRUsByName, LoadedGRU, to_jax

Shapes = Mapping[str, tuple[str, ...]]
Module: TypeAlias = "dict[str, str]"  # the full names of the arrays of a module by their own
Build = Callable[[Fields], Net]

_PART = re.compile(r"[^./,\[\]'\"]+")
# The state of an optimizer has the structure and the names of the model.
_OPTIMIZERS = frozenset({"opt_state", "optimizer", "optimizer_state"})


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
        if len(parts) < depth or _OPTIMIZERS.intersection(parts):
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
        # A gate with more arrays, such as a bias or a norm, belongs to another cell.
        parts = {own.rpartition("/")[0] for own in held} - {""}
        for own in module.keys() - held.keys():
            if own.rpartition("/")[0] in parts:
                raise WeightsError(
                    f"{label(place, own)} is not an array of the cell: expected {', '.join(held)} "
                    "only"
                )
        found = {own: arrays[module[own]] for own in held}
        return layer(check_arrays(found, place, held, may_be_stacked=True), fields)

    return {place: functools.partial(build, place, module) for place, module in modules.items()}


def build_all(builds: Mapping[str, Build], assume: Mapping[str, Any], source: str) -> GRUsByName:
    """Return the GRU of each path, or the reason why no net represents it."""
    return {gru_name(place): attempt(build, assume, source) for place, build in builds.items()}


def attempt(
    build: Build, assume: Mapping[str, Any], source: str = "keras"
) -> LoadedGRU | WeightsError:
    """Return the GRU that a function builds, or the reason why no net represents it.

    ``source`` is the library of the arrays.
    """
    fields = Fields(assume)

    def stacked() -> Net:
        fields.resolve("source", source)
        net = build(fields)
        try:
            axes = check_stackable(net)
        except ValueError as error:
            raise WeightsError(str(error)) from None
        if axes:
            fields.note(
                f"its arrays are stacked over {' x '.join(map(str, axes))}, seeds or layers: run "
                "the net under jax.vmap, or select one with jax.tree.map(lambda array: array[0], "
                "net)"
            )
        return net

    net = result_or_error(stacked)
    return net if isinstance(net, WeightsError) else LoadedGRU(net, fields.notes())


def check_arrays(
    module: Arrays, place: str, shapes: Shapes, *, may_be_stacked: bool = False
) -> dict[str, Any]:
    """Return the arrays of a module, read after checking their types and shapes.

    The shapes are numbers and letters, such as ``("H", "3H")``; the size of a letter is that of its
    first occurrence. Stacked arrays have the same further axes before these.
    """
    check_floats({label(place, own): module[own] for own in shapes})
    leading = {module[own].shape[: -len(letters)] for own, letters in shapes.items()}
    axes = leading.pop() if may_be_stacked and len(leading) == 1 else ()
    sizes: dict[str, int] = {}
    for own, letters in shapes.items():
        found = module[own].shape[len(axes) :]
        for letter, size in zip(letters, found, strict=False):
            if letter == "H" and "H" not in sizes:
                sizes |= {"H": size, "2H": 2 * size, "3H": 3 * size, "6H": 6 * size}
            sizes.setdefault(letter, int(letter) if letter.isdigit() else size)
        if found != tuple(sizes.get(letter) for letter in letters):
            expected = f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"
            units = f" for {sizes['H']} units" if "H" in sizes else ""
            raise WeightsError(
                f"{label(place, own)} has shape {module[own].shape}: expected {expected}{units}"
                f"{f', after the stacked {axes}' if axes else ''}"
            )
    return {own: to_numpy(read_now(module[own])) for own in shapes}


def label(place: str, own: str) -> str:
    """Return the name of an array of a module for a message."""
    separator = next((sign for sign in "/,." if sign in place), "/")
    name = f"{place}{separator}{own}" if place else own
    return plain(name)


def gru_name(place: str) -> str:
    """Return the name of the GRU with a path."""
    return place or UNNAMED


def no_gru(arrays: Arrays, others: Sequence[str], looked_for: str) -> str:
    """Return the message about arrays without a GRU; ``others`` are phrases for similar layers."""
    like = "".join(f", {other}" for other in others[:3])
    held = f"{len(arrays)} arrays ({listed(arrays)}){like}"
    return f"no GRU is among its {held}: expected {looked_for}"


def named_arrays(tree: Any) -> dict[str, Any]:
    """Return the arrays of a tree by the keys, fields and positions on their paths.

    These are joined with ``/``, as in files of the same tree. An array in a box, such as a
    partitioned parameter of Flax, is unboxed; other leaves are ignored.
    """
    return each_once(_named("", tree))


def _named(path: str, tree: Any) -> Iterator[tuple[str, Any]]:
    tree = tree.unbox() if hasattr(tree, "unbox") else tree
    members: Iterable[tuple[Any, Any]] = ()
    if isinstance(tree, Mapping):
        members = tree.items()
    elif hasattr(tree, "shape") and hasattr(tree, "dtype"):
        yield path, read_array(tree)
    elif hasattr(tree, "_asdict"):
        members = tree._asdict().items()
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        members = [(f.name, getattr(tree, f.name, None)) for f in dataclasses.fields(tree)]
    elif isinstance(tree, tuple | list):
        members = enumerate(tree)
    for key, inner in members:
        yield from _named(f"{path}/{key}" if path else str(key), inner)


def read_array(array: Any) -> Any:
    """Convert an array to NumPy, or to Unread if its dtype is not one for weights."""
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

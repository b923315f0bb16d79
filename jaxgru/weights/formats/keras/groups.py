"""The tree of groups in which Keras 3 keeps a model's weights, by the objects that they belong to.

An object's own arrays are ``vars/0``, ``vars/1`` and so on within its group; the groups beside
``vars`` are those of its attributes and, in a container such as ``layers``, of its members. A
member's group has the name of its class, with a number where there are several: ``gru``,
``gru_1``, in the order of the layers: the layers ``encoder`` and ``gru_8`` sit in ``gru`` and
``gru_1``. Later versions also store the member's own name, as an attribute of ``vars``.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from jaxgru.net import Net
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.hdf5 import Hdf5
from jaxgru.weights.libraries.keras.arrays import net_from_arrays
from jaxgru.weights.libraries.keras.config import Layer
from jaxgru.weights.libraries.names import attempt
from jaxgru.weights.results import UNNAMED, Gathered
from jaxgru.weights.unspecified import Fields

# The attribute by which a model reaches its layers: since Keras 2.14, and in 2.13.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")

# Models in models in models: each takes two levels.
_MAX_DEPTH = 64
_SIDES = ("forward_layer", "backward_layer")
# A cell, a layer of a cell, and both directions: Keras 2 keeps the layer they were made from, too.
_LAYERS: tuple[set[str], ...] = (set(), {"cell"}, {*_SIDES}, {*_SIDES, "layer"})


@dataclasses.dataclass
class Group:
    """The group of one object, or of a container of some."""

    path: str  # in the file, with the usual separators
    name: str | None = None  # the object's own, where the file has it
    arrays: tuple[str, ...] = ()  # the paths of vars/0, vars/1 and so on
    inner: "dict[str, Group]" = dataclasses.field(default_factory=dict)


def read_groups(h5: Hdf5) -> Group:
    """Return the tree of all groups of a file, without reading any array."""
    root = Group("")
    _fill(h5, "", root, 0)
    return root


def in_order(names: "dict[str, Group]") -> list[str]:
    """Return the names of groups with those of one class by their numbers, not their digits."""
    return sorted(names, key=_class_and_number)


def _class_and_number(name: str) -> tuple[str, int]:
    """Return a group's class and number, 0 for none: ``("gru", 12)`` for ``gru_12``."""
    match = re.fullmatch(r"(.+)_(\d{1,9})", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, 0)


def cell_groups(group: Group) -> list[Group]:
    """Return the groups of a recurrent layer's cells, forward ones first; of others, itself."""
    inner = group.inner
    if "forward_layer" in inner and "backward_layer" in inner:
        return cell_groups(inner["forward_layer"]) + cell_groups(inner["backward_layer"])
    if "cell" in inner:
        return cell_groups(inner["cell"])
    if "cells" in inner:
        cells = inner["cells"].inner
        return [cells[name] for name in in_order(cells)]
    return [group]


def inner_groups(group: Group | None, layer: Layer) -> list[Group | None]:
    """Return the group of each layer within a model or wrapper, None where there is none."""
    if group is None:
        return [None] * len(layer.inner)
    if len(layer.inner) == 1 and "layer" in group.inner:
        return [group.inner["layer"]]  # a wrapper, such as TimeDistributed
    return layer_groups(group, layer.inner)


def layer_groups(model: Group, layers: Sequence[Layer]) -> list[Group | None]:
    """Return the group of each layer of a model, None where there is none."""
    for container in CONTAINERS:
        if container in model.inner:
            return _matched(model.inner[container], layers, container == CONTAINERS[0])
    return [None] * len(layers)


def _fill(h5: Hdf5, path: str, group: Group, depth: int) -> None:
    for name in h5.groups(path):
        inner_path = f"{path}/{name}" if path else name
        if name == "vars":
            if group.arrays or group.name is not None:
                raise WeightsError(f"{shown(inner_path)} is there twice: expected once")
            group.arrays = _variables(h5, inner_path)
            group.name = h5.text(inner_path, "name")
            continue
        # Keras 2.13 on Windows: one group called layers\gru\cell, not three.
        parts = name.split("\\")
        if depth + len(parts) > _MAX_DEPTH:
            raise WeightsError(
                f"{shown(inner_path)} is {depth + len(parts)} groups deep: expected at most "
                f"{_MAX_DEPTH}"
            )
        inner = group
        for part in parts:
            place = f"{inner.path}/{part}" if inner.path else part
            inner = inner.inner.setdefault(part, Group(place))
        _fill(h5, inner_path, inner, depth + len(parts))


def _variables(h5: Hdf5, path: str) -> tuple[str, ...]:
    names = h5.arrays(path)
    expected = [str(i) for i in range(len(names))]
    # An object that saves its variables by other names is of no class with a GRU's arrays.
    return tuple(f"{path}/{name}" for name in expected) if set(names) == set(expected) else ()


def _matched(
    container: Group, layers: Sequence[Layer], is_numbered_by_one: bool
) -> list[Group | None]:
    held: dict[str, list[tuple[int, Group]]] = collections.defaultdict(list)
    for name, group in container.inner.items():
        class_, number = _class_and_number(name)
        held[class_].append((number, group))
        if number:  # or a class whose name ends in a number
            held[name].append((0, group))
    wanted: dict[str, list[int]] = collections.defaultdict(list)
    for i, layer in enumerate(layers):
        wanted[_group_class(layer.class_name)].append(i)
    matched: list[Group | None] = [None] * len(layers)
    for class_, indices in wanted.items():
        numbered = dict(held[class_])
        in_order = [numbered[number] for number in sorted(numbered)]
        named = {group.name: group for group in in_order if group.name is not None}
        for order, i in enumerate(indices):
            if named:
                matched[i] = named.get(layers[i].name)
            elif len(in_order) == len(indices):
                # Not by number: Keras 2.13 counts in twos, gru, gru_2, gru_4.
                matched[i] = in_order[order]
            elif is_numbered_by_one:
                matched[i] = numbered.get(order)
    return matched


def _group_class(class_name: str) -> str:
    """Return a class' name as a group has it: ``time_distributed`` for ``TimeDistributed``."""
    # A registered class is called package>Class.
    name = re.sub(r"\W", "", class_name.rpartition(">")[2])
    # A capital begins a word after a small letter, or where a small one follows: GRU, GRUCell.
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def find(
    h5: Hdf5,
    root: Group,
    assume: Mapping[str, Any],
    known: Collection[str] = (),
    taken: Collection[str] = (),
) -> Gathered:
    """Return the GRUs among a model's groups, but for known ones, by names that are not taken.

    They are found by their shapes, which show whether a cell resets before or after; groups show
    both directions and stacks of cells. The rest is assumed.
    """
    gathered: Gathered = {}
    for names, group in _recurrent(h5, root, known, ()):
        # What every model has distinguishes nothing.
        name = "/".join(name for name in names if name not in CONTAINERS)
        name = name or group.path or UNNAMED
        if name in gathered or name in taken:
            name = group.path
        sides = [group.inner[side] for side in _SIDES if side in group.inner] or [group]
        gathered[name] = attempt(functools.partial(_net, h5, sides), assume)
    return gathered


def _recurrent(
    h5: Hdf5, group: Group, known: Collection[str], names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Group]]:
    """Give each group that is a GRU with the names on the way to it."""
    if group.path in known:
        return
    # A layer with more than its cells is a user's own, which may hold other GRUs beside.
    cells = cell_groups(group) if set(group.inner) in _LAYERS else []
    if cells and all(_is_cell(h5, cell) for cell in cells):
        yield names, group
        return
    for key in in_order(group.inner):
        # The optimiser's copies are of the same shapes.
        if not (key == "optimizer" and not names):
            inner = group.inner[key]
            yield from _recurrent(h5, inner, known, (*names, inner.name or key))


def _is_cell(h5: Hdf5, group: Group) -> bool:
    if len(group.arrays) not in (2, 3):
        return False
    kernel, recurrent_kernel, *biases = (h5.shape(path) for path in group.arrays)
    if len(kernel) != 2 or len(recurrent_kernel) != 2:
        return False
    wide = 3 * recurrent_kernel[0]
    fits = kernel[1] == recurrent_kernel[1] == wide
    return fits and all(bias in ((wide,), (2, wide)) for bias in biases)


def _net(h5: Hdf5, sides: Sequence[Group], fields: Fields) -> Net:
    stored = [
        [([h5.read(path) for path in cell.arrays], cell.path) for cell in cell_groups(side)]
        for side in sides
    ]
    return net_from_arrays(stored, fields)

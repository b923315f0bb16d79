"""The tree of groups in which Keras 3 keeps a model's weights, by the objects that they belong to.

An object's own arrays are ``vars/0``, ``vars/1`` and so on within its group; the groups beside
``vars`` are those of its attributes and, in a container such as ``layers``, of its members. A
member's group has the name of its class, with a number where there are several: ``gru``,
``gru_1``. Later versions also store the member's own name, as an attribute of ``vars``.
"""

import dataclasses
import re

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5 import Hdf5

# The attribute by which a model reaches its layers: since Keras 2.14, and in 2.13.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")

# Models in models in models: each takes two levels.
_MAX_DEPTH = 64


@dataclasses.dataclass
class Group:
    """The group of one object, or of a container of some."""

    path: str  # in the file, with the usual separators
    name: str | None = None  # the object's own, where the file says it
    arrays: tuple[str, ...] = ()  # the paths of vars/0, vars/1 and so on
    inner: "dict[str, Group]" = dataclasses.field(default_factory=dict)


def read_groups(h5: Hdf5) -> Group:
    """Return the tree of all groups of a file, without reading any array.

    Raises:
        WeightsError: groups are nested deeper than any model is, or two have the same place.
    """
    root = Group("")
    _fill(h5, "", root, 0)
    return root


def in_order(names: "dict[str, Group]") -> list[str]:
    """Return the names of groups with those of one class by their numbers, not their digits."""
    return sorted(names, key=class_and_number)


def class_and_number(name: str) -> tuple[str, int]:
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


def _fill(h5: Hdf5, path: str, group: Group, depth: int) -> None:
    for name in h5.groups(path):
        inner_path = f"{path}/{name}" if path else name
        if name == "vars":
            if group.arrays or group.name is not None:
                raise WeightsError(f"{inner_path[:80]!a} is there twice: expected once")
            group.arrays = _variables(h5, inner_path)
            group.name = h5.text(inner_path, "name")
            continue
        # Keras 2.13 on Windows: one group called layers\gru\cell, not three.
        parts = name.split("\\")
        if depth + len(parts) > _MAX_DEPTH:
            raise WeightsError(
                f"{inner_path[:80]!a} is {depth + len(parts)} groups deep: expected at most "
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

"""The groups of an HDF5 file, as the objects of a Keras 3 model."""

from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.hdf5 import Hdf5
from jaxgru._weights.libraries.keras.groups import Group

# The depth of nested models, with two levels each.
_MAX_DEPTH = 64


def read_groups(h5: Hdf5) -> Group:
    """Return the tree of all groups of a file, without reading any array."""
    root = Group("")
    _fill(h5, "", root, 0)
    return root


def _fill(h5: Hdf5, path: str, group: Group, depth: int) -> None:
    for name in h5.groups(path):
        inner_path = f"{path}/{name}" if path else name
        if name == "vars":
            if group.arrays or group.name is not None:
                raise WeightsError(f"{shown(inner_path)} is a duplicate name: expected once")
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
    # An object that saves its variables under other names is not a GRU.
    return tuple(f"{path}/{name}" for name in expected) if set(names) == set(expected) else ()

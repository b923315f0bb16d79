"""Checkpoints of Orbax: folders with the names of a tree in JSON, and its arrays as Zarr.

The tree is not restored. Only the arrays with the names of a GRU are read, by TensorStore, which
Orbax also uses. A folder may be a checkpoint, or one step of a ``CheckpointManager`` with a
checkpoint for each item.

Source: ``orbax/checkpoint/_src/metadata/tree.py``.
"""

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru._optional import need
from jaxgru._weights.contract import Stored
from jaxgru._weights.dtypes import NUMBERS, OnAccess, Unread
from jaxgru._weights.errors import WeightsError, damaged, each_once, shown
from jaxgru._weights.json_text import parse_json
from jaxgru._weights.limits import bytes_of, check_declared

_NAMES = "_METADATA"  # of a checkpoint
_STEP = "_CHECKPOINT_METADATA"  # of a step
_LARGEST = 16 * 2**20  # of the JSON with the names


def recognizes(folder: Path) -> bool:
    """Return whether a folder is a checkpoint of Orbax or a step, or contains steps."""
    return any((folder / name).is_file() for name in (_NAMES, _STEP)) or bool(_steps(folder))


def read(folder: Path) -> Stored:
    """Return the arrays of a checkpoint, named by their paths in the tree."""
    steps = sorted(_steps(folder), key=int)
    if len(steps) > 1:
        raise WeightsError(
            f"it holds the steps {', '.join(steps[-20:])}: expected one of them, such as "
            f"{folder / steps[-1]}"
        )
    folder = folder / steps[0] if steps else folder
    items = {"": folder} if (folder / _NAMES).is_file() else {}
    for path in sorted(folder.iterdir()) if not items else ():
        if (path / _NAMES).is_file():
            items[path.name] = path
    if not items:
        raise WeightsError(f"it has no {_NAMES}: expected one, as Orbax writes beside the arrays")
    specs = each_once(
        (name, (path, spec))
        for item, path in items.items()
        # The only item of a step, or one named by Orbax, is not part of the names.
        for name, spec in _specs(path, [] if len(items) == 1 else [item])
    )
    # Each folder is walked once.
    size_of = functools.cache(lambda path: sum(part.stat().st_size for part in path.rglob("*")))
    return Stored(OnAccess(specs, lambda name: _opened(name, *specs[name], size_of)))


def _opened(
    name: str, folder: Path, spec: dict[str, Any], size_of: Callable[[Path], int]
) -> Unread:
    tensorstore = need("tensorstore", "orbax", "reading a checkpoint of Orbax")
    # Damaged files may raise any error in the library.
    with damaged(f"{shown(name)} is missing or damaged", Exception):
        store = tensorstore.open(spec, read=True).result()
        shape, dtype = tuple(store.shape), store.dtype.numpy_dtype

    def read() -> NDArray[Any]:
        size = bytes_of(shown(name), shape, dtype.itemsize)
        check_declared(size, size_of(folder), shown(name))
        with damaged(f"{shown(name)} is missing or damaged", Exception):
            return np.asarray(store.read().result())

    return Unread(shape, dtype.name, read if dtype.name in NUMBERS else None)


def _steps(folder: Path) -> list[str]:
    return [
        path.name
        for path in folder.iterdir()
        if path.name.isdecimal() and path.name.isascii() and (path / _STEP).is_file()
    ]


def _specs(folder: Path, place: list[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Return the name of each array of a checkpoint, and its TensorStore spec."""
    path = folder / _NAMES
    if path.stat().st_size > _LARGEST:
        raise WeightsError(f"{_NAMES} has {path.stat().st_size} bytes: expected at most {_LARGEST}")
    metadata = parse_json(path.read_bytes(), _NAMES)
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tree_metadata"), dict):
        raise WeightsError(f"{_NAMES} has no tree_metadata: expected the names of the arrays")
    spec: dict[str, Any] = {"driver": "zarr3" if metadata.get("use_zarr3") else "zarr"}
    # If chunks of fill values are written too, a missing chunk is damage.
    if metadata.get("store_array_data_equal_to_fill_value"):
        spec["fill_missing_data_reads"] = False
    base = f"{folder.absolute()}/"
    for entry in metadata["tree_metadata"].values():
        try:
            keys = [str(part["key"]) for part in entry["key_metadata"]]
        except (KeyError, TypeError):
            raise WeightsError(f"{_NAMES} has an entry without keys: expected some") from None
        own = f"{'.'.join(keys)}/"
        store = {"driver": "file", "path": base + own}
        if metadata.get("use_ocdbt"):
            store = {"driver": "ocdbt", "base": f"file://{base}", "path": own}
        yield "/".join([*place, *keys]), spec | {"kvstore": store}

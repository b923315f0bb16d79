"""The tensors in what a pickle holds, by the names of the ways to them, as NumPy arrays."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.dtypes import FLOATS, Unread
from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.formats.torch.objects import ITEM_SIZES, Embedded, Storage, Tensor, tensor_of
from jaxgru.weights.formats.torch.pickles import Stub
from jaxgru.weights.limits import check_declared

# By PyTorch's names of the types of its storages.
_DTYPES = {
    "Half": FLOATS["float16"],
    "BFloat16": FLOATS["bfloat16"],
    "Float": FLOATS["float32"],
    "Double": FLOATS["float64"],
}
# The attributes in which modules and frozen dicts keep what has names: no part of those names.
_HOLDERS = frozenset({"_parameters", "_buffers", "_modules", "_dict"})
_DEEPEST = 64

# Returns the bytes of a storage, given the size of one of its numbers.
ReadStorage = Callable[[Storage, int], bytes | bytearray | memoryview]


class TensorArrays(Mapping[str, "NDArray[Any] | Unread"]):
    """Tensors as NumPy arrays; a storage is read when a tensor in it is first asked for."""

    def __init__(self, tensors: Mapping[str, Tensor], read: ReadStorage) -> None:
        self._tensors = tensors
        self._read = read
        self._contents: dict[str, bytes | bytearray | memoryview] = {}

    def __getitem__(self, name: str) -> "NDArray[Any] | Unread":
        tensor = self._tensors[name]
        storage, dtype = tensor.storage, _DTYPES.get(tensor.kind)
        if dtype is None:
            return Unread(tensor.shape, tensor.kind)
        content = storage.content
        if content is None:
            if storage.key not in self._contents:
                self._contents[storage.key] = self._read(storage, dtype.itemsize)
            content = self._contents[storage.key]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        try:
            # NumPy compares what the view reaches with what there is.
            return np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides)
        except (OverflowError, TypeError, ValueError):
            raise WeightsError(
                f"{shown(name)} has shape {tensor.shape[:8]}, strides {tensor.strides[:8]} and "
                f"offset {tensor.offset}: expected a view of the {storage.length} numbers "
                "that its storage has"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def named_tensors(root: Any, file_size: int, embedded: Embedded) -> dict[str, Tensor]:
    """Return the tensors in a pickle, named by the keys, attributes and positions on the way."""
    tensors: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    declared = 0
    for name, tensor in _walk(root, embedded):
        if name in tensors:
            raise WeightsError(f"two tensors are called {shown(name)}: expected one")
        tensors[name] = tensor
        storage = tensor.storage
        if storage.content is None and storages.setdefault(storage.key, storage) != storage:
            raise WeightsError(f"storage {shown(storage.key)} has two forms: expected one")
        declared += len(name) + ITEM_SIZES.get(storage.kind, 1) * math.prod(tensor.shape)
        check_declared(declared, file_size, "its tensors")
    return tensors


def _walk(root: Any, embedded: Embedded) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors in order; a container met again, perhaps in itself, is passed over."""
    met: set[int] = set()
    # For each container on the way, what is left of it.
    open_: list[Iterator[tuple[tuple[str, ...], Any]]] = [iter([((), root)])]
    while open_:
        path, value = next(open_[-1], (None, None))
        if path is None:
            open_.pop()
            continue
        if isinstance(value, Stub) and (tensor := tensor_of(value, embedded)) is not None:
            yield ".".join(path), tensor
        elif isinstance(value, Stub | dict | list | tuple) and id(value) not in met:
            met.add(id(value))
            if len(open_) > 3 * _DEEPEST or len(path) > _DEEPEST:
                raise WeightsError(
                    f"its containers are nested over {_DEEPEST} levels: expected fewer"
                )
            open_.append(_members(path, value))


def _members(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, Stub):
        yield from (((*path, str(key)), item) for key, item in _items(value))
        return
    yield from (((*path, str(key)), item) for key, item in (value.items or {}).items())
    # An object with slots has two dicts for its state.
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    for state in states:
        if isinstance(state, dict):
            for key, item in state.items():
                yield (path if key in _HOLDERS else (*path, str(key))), item
    if value.name == "collections.OrderedDict" and value.arguments:
        # Python 2 gave the items as a list of pairs.
        pairs = value.arguments[0] if type(value.arguments[0]) is list else []
        for pair in pairs:
            if type(pair) in (list, tuple) and len(pair) == 2 and isinstance(pair[0], str):
                yield (*path, pair[0]), pair[1]
    else:
        yield from (((*path, str(i)), item) for i, item in enumerate(value.arguments))


def _items(value: Any) -> Iterable[tuple[Any, Any]]:
    return value.items() if isinstance(value, dict) else enumerate(value)

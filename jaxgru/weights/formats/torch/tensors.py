"""The tensors in what a pickle of PyTorch holds, by their names, as NumPy arrays."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru.weights.dtypes import FLOATS, Unread
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.torch.objects import ITEM_SIZES, Storage, Tensor
from jaxgru.weights.limits import check_declared

# By what PyTorch calls the types of its storages.
_DTYPES = {
    "Half": FLOATS["float16"],
    "BFloat16": FLOATS["bfloat16"],
    "Float": FLOATS["float32"],
    "Double": FLOATS["float64"],
}
_DEEPEST = 64

# Returns the bytes of a storage, given how many one of its numbers takes.
ReadStorage = Callable[[Storage, int], bytes | bytearray | memoryview]


class TensorArrays(Mapping[str, "NDArray[Any] | Unread"]):
    """Tensors as NumPy arrays; a storage is read when a tensor in it is first asked for.

    Args:
        tensors: by their names.
        read: how to read a storage.
    """

    def __init__(self, tensors: Mapping[str, Tensor], read: ReadStorage) -> None:
        self._tensors = tensors
        self._read = read
        self._contents: dict[Storage, bytes | bytearray | memoryview] = {}

    def __getitem__(self, name: str) -> "NDArray[Any] | Unread":
        tensor = self._tensors[name]
        dtype = _DTYPES.get(tensor.kind)
        if dtype is None:
            return Unread(tensor.shape, tensor.kind)
        if tensor.storage not in self._contents:
            self._contents[tensor.storage] = self._read(tensor.storage, dtype.itemsize)
        content = self._contents[tensor.storage]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        try:
            # NumPy compares what the view reaches with what there is.
            return np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides)
        except (OverflowError, TypeError, ValueError):
            raise WeightsError(
                f"{name[:80]!a} has shape {tensor.shape[:8]}, strides {tensor.strides[:8]} and "
                f"offset {tensor.offset}: expected a view of the {tensor.storage.length} numbers "
                "that its storage has"
            ) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def named_tensors(root: Any, file_size: int) -> dict[str, Tensor]:
    """Return the tensors in containers, named by the keys and positions on the way to them.

    Args:
        root: what ``read_pickle`` returned.
        file_size: the file's size in bytes.

    Raises:
        WeightsError: containers are nested too deeply, two tensors have one name, or they are all
            larger than such a file may hold, as few numbers may be viewed as many.
    """
    tensors: dict[str, Tensor] = {}
    declared = 0
    for name, tensor in _walk(root, (), set()):
        if name in tensors:
            raise WeightsError(f"two tensors are called {name[:80]!a}: expected one")
        tensors[name] = tensor
        item_size = ITEM_SIZES.get(tensor.storage.kind, 1)
        declared += len(name) + item_size * math.prod(tensor.shape)
        check_declared(declared, file_size, "its tensors")
    return tensors


def _walk(value: Any, path: tuple[str, ...], met: set[int]) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield ".".join(path), value
        return
    # One met again, perhaps in itself, is passed over.
    if type(value) not in (dict, list, tuple) or id(value) in met:
        return
    met.add(id(value))
    if len(path) == _DEEPEST:
        raise WeightsError(f"its containers are nested over {_DEEPEST} levels: expected fewer")
    for key, item in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _walk(item, (*path, str(key)), met)

"""The dtypes of weights, and placeholders for arrays of other types, which are not read."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError

FLOATS: dict[str, np.dtype[Any]] = {
    dtype.name: dtype
    for dtype in map(np.dtype, (np.float16, ml_dtypes.bfloat16, np.float32, np.float64))
}
# What ``jaxgru.load_arrays`` returns too.
NUMBERS: dict[str, np.dtype[Any]] = FLOATS | {
    dtype.name: dtype
    for dtype in map(
        np.dtype,
        (
            *(np.bool_, np.int8, np.int16, np.int32, np.int64),
            *(np.uint8, np.uint16, np.uint32, np.uint64, np.complex64, np.complex128),
        ),
    )
}


class Unread(NamedTuple):
    """An array in a file that is not read yet, or never because it is not numeric."""

    shape: tuple[int, ...]
    dtype: str  # by its name; in the file, if it is not read at all
    read: "Callable[[], NDArray[Any]] | None" = None  # None: no numbers


# The arrays of a file by name. Those that do not belong to a GRU may have any type.
Arrays: TypeAlias = Mapping[str, "NDArray[Any] | Unread"]


class OnAccess(Mapping[str, "NDArray[Any] | Unread"]):
    """Arrays by name, each examined on access, so that damage to other arrays does not matter."""

    def __init__(
        self, names: Collection[str], get: "Callable[[str], NDArray[Any] | Unread]"
    ) -> None:
        self._names, self._get = dict.fromkeys(names), get

    def __getitem__(self, name: str) -> "NDArray[Any] | Unread":
        if name not in self._names:
            raise KeyError(name)
        return self._get(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def read_now(array: "NDArray[Any] | Unread") -> Any:
    """Return an array of a numeric type, which may have been read already."""
    return array.read() if isinstance(array, Unread) and array.read else array


def from_bits(content: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the numbers in some bytes. Any byte but 0 is True."""
    is_bool = dtype == np.bool_
    array: NDArray[Any] = np.frombuffer(content, np.uint8 if is_bool else dtype)
    return array.astype(np.bool_) if is_bool else array


def check_floats(arrays: Arrays) -> None:
    """Raise WeightsError unless the arrays of a GRU have one dtype of weights and are not empty."""
    found: dict[str, str] = {}
    for name, array in arrays.items():
        dtype = array.dtype if isinstance(array, Unread) else array.dtype.name
        if dtype not in FLOATS or (isinstance(array, Unread) and array.read is None):
            raise WeightsError(
                f"{name} has dtype {dtype}: expected floating-point numbers ({', '.join(FLOATS)})"
            )
        if 0 in array.shape:
            raise WeightsError(
                f"{name} has shape {array.shape}: expected every size to be at least 1"
            )
        found[dtype] = name
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise WeightsError(f"{first} is {one} and {second} {other}: expected one dtype in a GRU")

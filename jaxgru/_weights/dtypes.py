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


class Unread(NamedTuple):
    """An array in a file that is not read, because weights do not have this type."""

    shape: tuple[int, ...]
    dtype: str  # by its name in the file


# The arrays of a file by name. Those that do not belong to a GRU may have any type.
Arrays: TypeAlias = Mapping[str, "NDArray[Any] | Unread"]


class Lazy(Mapping[str, "NDArray[Any] | Unread"]):
    """Arrays by name, each of which is read when it is accessed."""

    def __init__(
        self, names: Collection[str], read: Callable[[str], "NDArray[Any] | Unread"]
    ) -> None:
        self._names = dict.fromkeys(names)
        self._read = read

    def __getitem__(self, name: str) -> "NDArray[Any] | Unread":
        return self._read(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def check_floats(arrays: Arrays) -> None:
    """Raise WeightsError unless the arrays of a GRU were read, have one dtype and are not empty."""
    for name, array in arrays.items():
        if isinstance(array, Unread) or array.dtype.name not in FLOATS:
            dtype = array.dtype if isinstance(array, Unread) else array.dtype.name
            raise WeightsError(
                f"{name} has dtype {dtype}: expected floating-point numbers ({', '.join(FLOATS)})"
            )
        if array.size == 0:
            raise WeightsError(
                f"{name} has shape {array.shape}: expected every size to be 1 or more"
            )
    found = {str(array.dtype): name for name, array in arrays.items()}
    if len(found) > 1:
        (one, first), (other, second) = list(found.items())[:2]
        raise WeightsError(f"{first} is {one} and {second} {other}: expected one dtype in a GRU")

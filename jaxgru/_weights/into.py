"""Weights back to the arrays of a file that they were read from.

Reading only moves numbers and changes signs: it transposes, reorders and splits arrays. So it is
run once more on arrays whose numbers are their own positions, which shows where each number of the
net comes from. No library needs a second, inverse conversion.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError

# The arrays of a file by name, and what they are read as: a pytree, such as a net or a model.
Named = Mapping[str, NDArray[Any]]
Read = Callable[[Named], Any]


def arrays_with(read: Read, arrays: Named, new: Any, *, rounds: bool = False) -> dict[str, Any]:
    """Return the arrays that change, by name, so that ``read`` returns ``new``.

    Args:
        read: a function of named arrays that moves numbers and changes signs alone.
        arrays: the arrays of the file.
        new: a pytree of the structure of ``read(arrays)``.
        rounds: whether numbers may be rounded to the type of the file.

    Raises:
        WeightsError: the structure or a shape of ``new`` is another, it has numbers where the file
            has no place for them, two for one place, or a wider type.
    """
    old = read(arrays)
    _check_structure(old, new)
    starts: dict[str, int] = {}
    count = 1  # 0 is a number that is in no array
    for name, array in arrays.items():
        starts[name] = count
        count += array.size
    # float64 holds integers up to 2**53.
    positions = read(
        {
            name: np.arange(start, start + arrays[name].size, dtype=np.float64).reshape(
                arrays[name].shape
            )
            for name, start in starts.items()
        }
    )
    values: dict[str, NDArray[Any]] = {}
    given: dict[str, NDArray[np.bool_]] = {}
    names, firsts = list(starts), np.array([*starts.values()], np.int64)
    leaves = zip(
        *(jax.tree_util.tree_leaves_with_path(t) for t in (old, positions, new)), strict=True
    )
    for (path, before), (_, where), (_, after) in leaves:
        place = jax.tree_util.keystr(path).lstrip(".")
        before, after = np.asarray(before).ravel(), np.asarray(after).ravel()
        index, signs = np.abs(where).ravel().astype(np.int64), np.signbit(where).ravel()
        owner = np.searchsorted(firsts, index, side="right") - 1  # -1: of no array
        if np.any(after[owner < 0] != before[owner < 0]):
            raise WeightsError(
                f"{place} has other numbers than {_first(before[owner < 0])} in places that the "
                "file does not have: expected them unchanged"
            )
        for i in np.unique(owner[owner >= 0]):
            name, mine = names[i], owner == i
            array = arrays[name]
            at, flips = index[mine] - firsts[i], signs[mine]
            if not _same(_signed(array.ravel()[at], flips), before[mine]):
                raise WeightsError(
                    f"{place} is computed from {name} and others: expected numbers that are read "
                    "as they are"
                )
            number = _signed(_of_type(after[mine], array.dtype, place, name, rounds), flips)
            if name not in values:
                values[name], given[name] = array.ravel().copy(), np.zeros(array.size, bool)
            twice = given[name][at]
            if not _same(values[name][at][twice], number[twice]):
                raise WeightsError(
                    f"{place} has other numbers than another part of the net that is read from "
                    f"{name} too: expected the same"
                )
            values[name][at], given[name][at] = number, True
    return {name: value.reshape(arrays[name].shape) for name, value in values.items()}


def _check_structure(old: Any, new: Any) -> None:
    expected: Any = jax.tree.structure(old)
    found: Any = jax.tree.structure(new)
    if expected != found:
        raise WeightsError(f"the net is {found}: expected the structure in the file, {expected}")
    for (path, before), after in zip(
        jax.tree_util.tree_leaves_with_path(old), jax.tree.leaves(new), strict=True
    ):
        if before.shape != after.shape:
            raise WeightsError(
                f"{jax.tree_util.keystr(path).lstrip('.')} has shape {after.shape}: expected "
                f"{before.shape}, as in the file"
            )


def _of_type(
    numbers: NDArray[Any], dtype: np.dtype[Any], place: str, name: str, rounds: bool
) -> NDArray[Any]:
    converted = numbers.astype(dtype)
    if not rounds and not _same(converted.astype(numbers.dtype), numbers):
        raise WeightsError(
            f"{place} is {numbers.dtype} and {name} in the file {dtype}: expected numbers of that "
            'type, or dtype="file" to round them'
        )
    return converted


def _signed(numbers: NDArray[Any], flips: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(flips, -numbers, numbers)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _first(numbers: NDArray[Any]) -> Any:
    return numbers[0] if len(numbers) else 0

"""Weights back to the arrays of a file that they were read from.

Reading only moves numbers and changes signs: it transposes, reorders and splits arrays. So it is
run again on arrays that contain their own positions, which shows the source of each number of the
net. No library needs an inverse conversion.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.dtypes import FLOATS, NUMBERS, Arrays, OnAccess, Unread, read_now
from jaxgru._weights.errors import WeightsError, listed, shown
from jaxgru.model import Model

# The result of reading named arrays: a pytree, such as a net or a model.
Read = Callable[[Arrays], Any]


def arrays_with(
    read: Read, arrays: Arrays, new: Any, *, rounds: bool = False
) -> dict[str, NDArray[Any]]:
    """Return the arrays that change, by name, so that ``read`` returns ``new``.

    Args:
        read: a function of named arrays that only moves numbers and changes signs.
        arrays: the arrays of the file.
        new: a pytree of the structure of ``read(arrays)``.
        rounds: whether numbers may be rounded to the dtypes of the file.

    Raises:
        WeightsError: ``new`` has another structure or shape, numbers without a place in the file,
            two numbers for one place, or a wider dtype.
    """
    values: dict[str, NDArray[Any]] = {}  # those that are read, and have numbers

    def described(name: str) -> NDArray[Any] | Unread:
        array = arrays[name]
        if str(array.dtype) not in FLOATS or (isinstance(array, Unread) and array.read is None):
            return array

        def recorded() -> NDArray[Any]:
            values[name] = np.asarray(read_now(array))
            return values[name]

        return Unread(tuple(array.shape), str(array.dtype), recorded)

    old = read(OnAccess(arrays, described))
    _check_structure(old, new)
    firsts = np.cumsum([1, *(array.size for array in values.values())])  # 0: in no array
    names = list(values)
    # float64 holds integers up to 2**53.
    numbered = {
        name: np.arange(first, first + array.size, dtype=np.float64).reshape(array.shape)
        for first, (name, array) in zip(firsts, values.items(), strict=False)
    }
    positions = read(
        OnAccess(arrays, lambda name: numbered[name] if name in numbered else arrays[name])
    )
    changed: dict[str, NDArray[Any]] = {}
    given = {name: np.zeros(array.size, bool) for name, array in values.items()}
    trees = map(jax.tree_util.tree_leaves_with_path, (old, positions, new))
    for (path, before), (_, where), (_, after) in zip(*trees, strict=True):
        place = jax.tree_util.keystr(path, simple=True, separator=".")
        before, after = np.asarray(before).ravel(), np.asarray(after).ravel()
        index, flips = np.abs(where).ravel().astype(np.int64), np.signbit(where).ravel()
        owner = np.searchsorted(firsts, index, side="right") - 1  # -1: of no array
        if np.any(after[owner < 0] != before[owner < 0]):
            raise WeightsError(
                f"{place} has numbers other than 0 that are not stored in the file: expected them "
                "unchanged"
            )
        for i in np.unique(owner[owner >= 0]):
            name, mine = names[i], owner == i
            array = values[name].ravel()
            at = index[mine] - firsts[i]
            if not _same(_signed(array[at], flips[mine]), before[mine]):
                raise WeightsError(
                    f"{place} is computed from {name} and others: expected numbers that are stored "
                    "in the file"
                )
            numbers = _of_type(after[mine], array.dtype, place, name, rounds)
            numbers = _signed(numbers, flips[mine])
            whole = changed.setdefault(name, array.copy())
            twice = given[name][at]
            if not _same(whole[at][twice], numbers[twice]):
                raise WeightsError(
                    f"{place} differs from another part of the net that is also read from {name}: "
                    "expected equal numbers"
                )
            whole[at] = numbers
            given[name][at] = True
    return {name: array.reshape(values[name].shape) for name, array in changed.items()}


def replaced(
    arrays: Arrays,
    named: Mapping[str, str],
    new: Mapping[str, Any],
    *,
    rounds: bool = False,
) -> dict[str, NDArray[Any]]:
    """Return arrays by their names in the file, given those by the names that users see.

    Raises:
        WeightsError: the file has no such array, or one of another shape or of a narrower dtype.
    """
    changed = {}
    for name, given in new.items():
        if name not in named:
            raise WeightsError(f"it has no array {shown(name)}: expected one of {listed(named)}")
        old, array = arrays[named[name]], np.asarray(given)
        if str(old.dtype) not in NUMBERS:
            raise WeightsError(f"{shown(name)} has dtype {old.dtype}: expected numbers")
        if tuple(old.shape) != array.shape:
            raise WeightsError(
                f"{name} has shape {array.shape}: expected {tuple(old.shape)}, as in the file"
            )
        dtype = NUMBERS[str(old.dtype)]
        changed[named[name]] = _of_type(array, dtype, "it", name, rounds)
    return changed


def _check_structure(old: Any, new: Any, place: str = "") -> None:
    if isinstance(old, Model) and isinstance(new, Model):
        if list(old.layers) != list(new.layers):
            layers, known = (", ".join(model.layers) for model in (new, old))
            raise WeightsError(f"the layers are {layers}: expected {known}, as in the file")
        for name, layer in old.layers.items():
            _check_structure(layer, new.layers[name], f"layer {name!r}")
        return
    expected: Any = jax.tree.structure(old)
    if jax.tree.structure(new) != expected:
        raise WeightsError(
            f"{place or 'the net'} is {_described(new)}: expected {_described(old)}, as in the file"
        )
    for (path, before), after in zip(
        jax.tree_util.tree_leaves_with_path(old), jax.tree.leaves(new), strict=True
    ):
        if before.shape != after.shape:
            name = jax.tree_util.keystr(path).lstrip(".")
            raise WeightsError(
                f"{place}{': ' if place else ''}{name} has shape {after.shape}: expected "
                f"{before.shape}, as in the file"
            )


def _of_type(
    numbers: NDArray[Any], dtype: np.dtype[Any], place: str, name: str, rounds: bool
) -> NDArray[Any]:
    converted = numbers.astype(dtype)
    if not rounds and not _same(converted.astype(numbers.dtype), numbers):
        raise WeightsError(
            f"{place} has dtype {numbers.dtype} and {name} in the file {dtype}: expected equal "
            'dtypes, or dtype="file" to round the numbers'
        )
    return converted


def _signed(numbers: NDArray[Any], flips: NDArray[np.bool_]) -> NDArray[Any]:
    return np.where(flips, -numbers, numbers)


def _same(one: NDArray[Any], other: NDArray[Any]) -> bool:
    return np.array_equal(one, other, equal_nan=True)


def _described(tree: Any) -> str:
    return str(jax.tree.map(lambda array: _Shape(array.shape), tree))


class _Shape:
    def __init__(self, shape: tuple[int, ...]) -> None:
        self._text = "x".join(map(str, shape))

    def __repr__(self) -> str:
        return self._text

"""Weights that a model keeps in other files, read only where they are allowed to be."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from jaxgru.weights.errors import WeightsError, shown
from jaxgru.weights.limits import Budget

_KEYS = ("location", "offset", "length", "checksum", "basepath")


class External:
    """The files with data that a model may have beside it.

    Args:
        folder: where they may lie, there or deeper; None: nowhere.
        budget: how much may be allocated; each file adds its own size once.
    """

    def __init__(self, folder: Path | None, budget: Budget) -> None:
        self._folder = folder
        self.budget = budget
        self._counted: set[str] = set()

    def read(self, name: str, entries: Iterable[Any], size: int) -> bytes:
        """Return the bytes of a tensor.

        Args:
            name: of the tensor, for errors.
            entries: its ``external_data``: pairs of a key and a value.
            size: how many bytes its shape takes.

        Raises:
            WeightsError: no such file may be read, it lies elsewhere or behind a link, or has
                not as many bytes at that place.
        """
        if self._folder is None:
            raise WeightsError(
                f"{name} has its data in another file: expected it in the model, or "
                "external_data=True and a file in the model's folder"
            )
        given = _by_key(name, entries)
        offset = _number(name, "offset", given.get("offset", "0"))
        length = _number(name, "length", given.get("length", str(size)))
        if length != size:
            raise WeightsError(f"{name} has {length} bytes of external data: expected {size}")
        path = _inside(name, self._folder, given.get("location", ""))
        try:
            status = os.stat(path)
            # Checked before opening: opening a pipe waits for its writer.
            if not stat.S_ISREG(status.st_mode):
                raise WeightsError(f"{name} has its data in no regular file")
            if status.st_nlink > 1:
                raise WeightsError(
                    f"{name} has its data in a file with {status.st_nlink} names (hard links): "
                    "expected one"
                )
            if offset + length > status.st_size:
                raise WeightsError(
                    f"{name} has its data at bytes {offset} to {offset + length} of a file of "
                    f"{status.st_size}: expected them within it"
                )
            if path not in self._counted:
                self._counted.add(path)
                self.budget.file_size += status.st_size
            self.budget.spend(length)
            with open(path, "rb") as file:
                file.seek(offset)
                return file.read(length)
        except OSError as error:
            raise WeightsError(
                f"{name} has its data in a file that cannot be read: {error.strerror}"
            ) from None


def _by_key(name: str, entries: Iterable[Any]) -> dict[str, str]:
    given: dict[str, str] = {}
    for entry in entries:
        if entry.key not in _KEYS or entry.key in given or not isinstance(entry.value, str):
            raise WeightsError(
                f"{name} has {shown(entry.key)} among its external data: expected each of "
                f"{', '.join(_KEYS)} once at most"
            )
        given[entry.key] = entry.value
    return given


def _number(name: str, key: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise WeightsError(f"{name} has {key} {shown(value)}: expected a number of bytes")
    return int(value)


def _inside(name: str, folder: Path, location: str) -> str:
    """Return the path of a file in the folder, or below, that is reached through no link."""
    # As either system reads it: a model travels.
    posix, windows = PurePosixPath(location), PureWindowsPath(location)
    is_plain = location and "\0" not in location and ".." not in windows.parts
    if not is_plain or posix.is_absolute() or windows.anchor:
        raise WeightsError(
            f"{name} has its data in {shown(location)}: expected a relative path within the "
            "model's folder"
        )
    expected = os.path.join(os.path.realpath(folder), *posix.parts)
    if os.path.normcase(os.path.realpath(expected)) != os.path.normcase(expected):
        raise WeightsError(f"{name} has its data in {shown(location)}: expected no link on the way")
    return expected

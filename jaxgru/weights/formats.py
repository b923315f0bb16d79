"""The formats of weights files: one module each, found by a file's content or a new file's name."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from jaxgru.params import GRUParams
from jaxgru.weights import npz
from jaxgru.weights.errors import WeightsError


class Format(NamedTuple):
    """How to know, read and write one format. Weights are NumPy arrays here, errors WeightsError.

    Whoever opens the file adds its path to an error, so the functions name what is inside alone.
    """

    name: str
    suffixes: tuple[str, ...]
    recognises: Callable[[bytes], bool]  # from the first HEAD bytes
    read: Callable[[BinaryIO], GRUParams]
    write: Callable[[GRUParams, BinaryIO], None]


FORMATS = (Format("npz", (".npz",), npz.recognises, npz.read, npz.write),)
HEAD = 64


def find_by_content(file: BinaryIO) -> Format:
    """Return the format of an open file, and leave the file at its beginning.

    Raises:
        WeightsError: the file is empty or in no known format.
    """
    head = file.read(HEAD)
    file.seek(0)
    for candidate in FORMATS:
        if candidate.recognises(head):
            return candidate
    held = f"it begins with {head[:16]!r}" if head else "it is empty"
    raise WeightsError(f"{held}: expected weights as {_names()}")


def find_by_suffix(path: str | os.PathLike[str]) -> Format:
    """Return the format that a file of this name is written in.

    Raises:
        WeightsError: the name's ending belongs to no known format.
    """
    suffix = Path(path).suffix.lower()
    for candidate in FORMATS:
        if suffix in candidate.suffixes:
            return candidate
    endings = " or ".join(suffix for known in FORMATS for suffix in known.suffixes)
    raise WeightsError(f"its name ends in {suffix!r}: expected {endings}, which name the format")


def _names() -> str:
    return " or ".join(known.name for known in FORMATS)

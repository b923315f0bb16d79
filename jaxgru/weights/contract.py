"""What a format implements: how its files are recognised, read and written."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from jaxgru.net import Net
from jaxgru.weights.results import Gathered

HEAD = 512  # how many bytes of a file a format is recognised by


class Look(NamedTuple):
    """What a format is recognised by."""

    head: bytes  # the first HEAD bytes, or fewer if the file has fewer
    entries: tuple[str, ...] | None  # the names in a zip archive; None: no archive, or damaged
    size: int  # of the file, in bytes


class Source(NamedTuple):
    """An open file to read weights from."""

    file: BinaryIO  # at its beginning
    size: int  # in bytes
    assume: Mapping[str, Any]  # see jaxgru.weights.unspecified
    data_folder: Path | None = None  # where external data may lie; None: nowhere


class Format(NamedTuple):
    """How to recognise, read and write one format.

    Weights are NumPy arrays here, errors WeightsError. ``reading`` adds the file's path to an
    error, so that these functions name only what is inside.
    """

    name: str
    content: str  # what such a file is, for people
    recognises: Callable[[Look], bool]
    read: Callable[[Source], Gathered]
    suffixes: tuple[str, ...] = ()  # endings of names that are written in this format
    write: Callable[[Net, Path], None] | None = None  # None: such files are only read

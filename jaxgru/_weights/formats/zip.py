"""Reading an untrusted zip archive: nothing is extracted, and every size is checked first."""

import struct
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from jaxgru._weights.errors import WeightsError, damaged, each_once, shown
from jaxgru._weights.limits import check_declared, fill

# A zip archive begins with an entry, or with the end of the directory if it is empty.
MAGIC = (b"PK\x03\x04", b"PK\x05\x06")

# The errors of zipfile and zlib for damaged archives. Among them OSError, for seeking to where a
# damaged directory points, and RuntimeError, for an entry that is encrypted.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    MemoryError,
    NotImplementedError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


def open_archive(file: BinaryIO, size: int, expected: str) -> zipfile.ZipFile:
    """Return a zip archive with a checked directory; ``expected`` is for errors.

    It can be read while the file is open, and need not be closed.
    """
    what = "the zip archive is damaged or cut short"
    with damaged(what, *DAMAGE, expected=f": expected {expected}"):
        archive = zipfile.ZipFile(file)
    entries = archive.infolist()
    each_once((entry.filename, entry) for entry in entries)
    _check_sizes(entries, size)
    return archive


def read_entry(archive: zipfile.ZipFile, name: str) -> bytearray:
    """Return the content of an entry of a checked archive."""
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise WeightsError(f"{shown(name)} is missing in the archive") from None
    with damaged(f"{shown(name)} is damaged", *DAMAGE):
        content = bytearray(entry.file_size)
        with archive.open(entry) as file:
            fill(file, memoryview(content))
            file.read(1)  # zipfile compares the checksum at the end, also that of an empty entry
    return content


def copy_archive(
    archive: zipfile.ZipFile, target: Path, changed: Mapping[str, bytes | bytearray]
) -> None:
    """Write an archive with the content of some entries replaced."""
    with zipfile.ZipFile(target, "w") as new:
        for entry in archive.infolist():
            copied = zipfile.ZipInfo(entry.filename, entry.date_time)
            copied.compress_type, copied.external_attr = entry.compress_type, entry.external_attr
            content = changed.get(entry.filename)
            new.writestr(
                copied, read_entry(archive, entry.filename) if content is None else content
            )


def _check_sizes(entries: list[zipfile.ZipInfo], file_size: int) -> None:
    for entry in entries:
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise WeightsError(
                f"{shown(entry.filename)} is compressed by method {entry.compress_type}: expected "
                "none or deflate"
            )
        is_stored = entry.compress_type == zipfile.ZIP_STORED
        if entry.compress_size > file_size or (is_stored and entry.file_size > file_size):
            raise WeightsError(
                f"{shown(entry.filename)} declares {max(entry.compress_size, entry.file_size)} "
                f"bytes: expected at most the file's own {file_size}"
            )
    check_declared(sum(entry.file_size for entry in entries), file_size, "its entries")

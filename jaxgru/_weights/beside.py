"""Files in the folder of a weights file to which it refers, without links."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from jaxgru._weights.errors import WeightsError, shown


def beside(folder: Path | None, name: object) -> Path:
    """Return the path of a file in a folder; raise WeightsError unless its name is a plain one."""
    is_plain = isinstance(name, str) and name not in ("", ".", "..") and name.isprintable()
    if folder is None or not is_plain or any(sign in str(name) for sign in "/\\:"):
        raise WeightsError(
            f"its file {shown(name)} is in another folder: expected the plain name of a file "
            "beside it"
        )
    return folder / str(name)


def open_beside(path: Path) -> BinaryIO:
    """Open a file; raise WeightsError unless it is a regular file of one name."""
    name = shown(path.name)
    try:
        status = os.lstat(path)
        # Checked before opening: opening a pipe waits for its writer.
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise WeightsError(
                f"{name} is a link or not a regular file: expected a regular file (cp -L copies "
                "the targets of links)"
            )
        return open(path, "rb")
    except OSError as error:
        raise WeightsError(
            f"{name} cannot be read ({error.strerror}): expected a file beside it"
        ) from None


def read_beside(path: Path, most: int) -> bytes:
    """Return the content of a file that ``open_beside`` opens; refuse more than ``most`` bytes."""
    with open_beside(path) as file:
        size = os.fstat(file.fileno()).st_size
        if size > most:
            raise WeightsError(f"{path.name} has {size} bytes: expected at most {most}")
        return file.read(size)


def size_beside(path: Path) -> int:
    """Return the size of a file that ``open_beside`` opens."""
    with open_beside(path) as file:
        return os.fstat(file.fileno()).st_size

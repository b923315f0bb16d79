"""Files beside a file of weights, which it names: in the same folder, and no links."""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from jaxgru._weights.errors import WeightsError, shown


def size_beside(folder: Path | None, name: object) -> int:
    """Return the size of a file in a folder; raise WeightsError unless it may be opened."""
    what = f"its file {shown(name)}"
    is_plain = isinstance(name, str) and name not in ("", ".", "..") and name.isprintable()
    if folder is None or not is_plain or any(sign in str(name) for sign in "/\\:"):
        raise WeightsError(f"{what} is elsewhere: expected the plain name of a file beside it")
    try:
        status = os.lstat(folder / str(name))
    except OSError as error:
        raise WeightsError(f"{what} cannot be read ({error.strerror}): expected it here") from None
    if stat.S_ISLNK(status.st_mode):
        raise WeightsError(
            f"{what} is a link: expected a file of its own (cp -RL copies a folder without links)"
        )
    # Checked before opening: opening a pipe waits for its writer.
    if not stat.S_ISREG(status.st_mode):
        raise WeightsError(f"{what} is no regular file: expected one")
    return status.st_size


def open_beside(folder: Path | None, name: str) -> BinaryIO:
    """Open a file in a folder; raise WeightsError if it may not be opened."""
    size_beside(folder, name)
    try:
        return open(Path(folder or "", name), "rb")
    except OSError as error:
        raise WeightsError(
            f"its file {shown(name)} cannot be read ({error.strerror}): expected it here"
        ) from None

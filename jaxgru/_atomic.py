"""Atomic file replacement, so that no reader sees an incomplete file."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary file in the folder of ``path`` that becomes ``path`` if the block succeeds.

    Until then an existing file at ``path`` is not changed, even if the process is killed. If the
    block raises, the temporary file is removed.

    Args:
        path: the file to write. For a symbolic link, its target is replaced. A device or a pipe has
            no content to keep and is written directly.

    Yields:
        The path to write to. It has the suffix of ``path``, because many writers choose their
        format by the suffix, or append a missing one.

    Raises:
        OSError: ``path`` is a directory, or its folder is missing or not writable.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if target.exists() and not target.is_file():
        yield target
        return
    ending = "".join(target.suffixes[-2:])  # of two parts, as in .weights.h5
    temporary = target.with_name(f".jaxgru-{secrets.token_hex(6)}{ending}")
    try:
        # Not tempfile.mkstemp, which creates files with 0o600 instead of the usual permissions.
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except OSError as error:
        raise type(error)(error.errno, error.strerror, os.fspath(path)) from None
    try:
        if target.exists():
            shutil.copymode(target, temporary)
        yield temporary
        with open(temporary, "rb+") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise

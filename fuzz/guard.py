"""Detection of forbidden actions while a file is read, by the audit events of Python."""

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Starting programs, loading code, the network, and changes to the file system.
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "pickle.",
    "socket.", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.chmod", "shutil.", "os.putenv", "os.chdir", "code.__new__", "cpython.run_",
)  # fmt: skip


class Forbidden(BaseException):
    """A forbidden action of a reader; not an ``Exception``, so that no handler catches it."""


class Guard:
    """Watches this process inside of ``reading``.

    An audit hook cannot be removed, so a process has one guard.
    """

    def __init__(self) -> None:
        self._path: str | None = None
        self._libraries = tuple(
            f"{Path(place).resolve()}{os.sep}" for place in (*sys.path, sys.prefix, sys.base_prefix)
        )
        sys.addaudithook(self._hear)

    @contextlib.contextmanager
    def reading(self, path: Path) -> Iterator[None]:
        """Forbid in the block everything except the actions for reading one file."""
        self._path = str(path)
        try:
            yield
        finally:
            self._path = None

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._path is None:
            return
        forbidden = event.startswith(_FORBIDDEN)
        if event == "open":
            forbidden = not self._may_open(*arguments)
        elif event == "exec":
            # Modules are run under the name of their file; text from a weights file has no name.
            forbidden = arguments[0].co_filename == "<string>"
        if forbidden:
            self._path = None  # allows actions for reporting it
            raise Forbidden(f"{event} with {arguments!r}"[:300])

    def _may_open(self, path: Any, mode: str | None, flags: int) -> bool:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return False
        # A file descriptor comes from an allowed open.
        return isinstance(path, int) or str(path) == self._path or self._is_library(path)

    def _is_library(self, path: Any) -> bool:
        return os.path.abspath(os.fsdecode(path)).startswith(self._libraries)

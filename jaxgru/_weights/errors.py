"""The errors and warnings about weights, and the quoting of file contents in messages."""

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, ParamSpec, TypeVar

_T = TypeVar("_T")
_P = ParamSpec("_P")


class WeightsError(ValueError):
    """A file whose weights cannot be used, or weights that a format does not support.

    The message is one line with the file, the array, the value and the expected value.
    """


class WeightsWarning(UserWarning):
    """A report of NaN, Inf, rounding or an assumption in weights that were read."""


@contextlib.contextmanager
def prefix_errors(what: str | os.PathLike[str]) -> Iterator[None]:
    """Prefix the message of every WeightsError of a block, for example with the path of a file."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"{os.fspath(what)}: {error}") from error.__cause__


def result_or_error(
    function: Callable[_P, _T], *args: _P.args, **options: _P.kwargs
) -> "_T | WeightsError":
    """Return the result of a function, or its WeightsError."""
    try:
        return function(*args, **options)
    except WeightsError as error:
        return error.with_traceback(None)  # the frames refer to the arrays read so far


def shown(value: Any, most: int = 80) -> str:
    r"""Return a value from a file for a message: printable ASCII, one line, truncated if long.

    >>> shown("gru/kernel"), shown(b"\x00" * 9, 4), shown([1, 2])
    ("'gru/kernel'", "b'\\x00\\x00\\x00\\x00'...", '[1, 2]')
    """
    if isinstance(value, str | bytes):
        return ascii(value[:most]) + "..." * (len(value) > most)
    try:
        text = ascii(value)
    except RecursionError:  # lists in lists in lists
        text = f"a {type(value).__name__}"
    return text[:most] + "..." * (len(text) > most)


def each_once(pairs: Iterable[tuple[str, _T]], kind: str = "") -> dict[str, _T]:
    """Return a dict of named values of a file; raise WeightsError for a duplicate name.

    Readers differ in whether they use the first or the last of two values. ``kind`` precedes the
    name in the error, such as ``"attribute "``.
    """
    held: dict[str, _T] = {}
    for name, value in pairs:
        if name in held:
            raise WeightsError(f"{kind}{shown(name)} is a duplicate name: expected it once")
        held[name] = value
    return held


def plain(name: str, most: int = 80) -> str:
    """Return a name from a file for a message, unchanged if it is printable and short.

    A long name is truncated at its beginning, because the names of a file differ at the end.
    """
    if name.isprintable() and len(name) <= most:
        return name
    return "..." * (len(name) > most) + ascii(name[-most:])


def listed(names: Collection[str], most: int = 3) -> str:
    """Return names from a file for a message, the first ones if there are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown, itertools.islice(names, most))) + more


@contextlib.contextmanager
def damaged(what: str, *errors: type[Exception], expected: str = "") -> Iterator[None]:
    """Convert other errors of a block to a WeightsError that begins with ``what``.

    Their first line follows, then ``expected``.
    """
    try:
        yield
    except WeightsError:
        raise
    except errors as error:
        raise WeightsError(f"{what} ({first_line(error)}){expected}") from error


def first_line(error: BaseException) -> str:
    """Return the first line of another library's error, printable ASCII, truncated if long."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
    return line if line.isascii() and line.isprintable() else ascii(line)

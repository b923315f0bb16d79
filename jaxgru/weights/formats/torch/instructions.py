"""The instructions of a pickle one by one: those that ``torch.save`` writes, of protocol 2.

Python's ``pickletools`` reads them all, but also what no instruction here needs: it undoes
backslashes in names, with a warning where there is none to undo.

Source: Python's ``pickletools``, which describes every instruction.
"""

import struct
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from jaxgru.weights.errors import WeightsError


def instructions(file: BinaryIO) -> Iterator[tuple[str, Any]]:
    """Give the name and the argument, or None, of each instruction up to STOP.

    Args:
        file: in memory, at the pickle's beginning; it is left behind the pickle.

    Raises:
        WeightsError: the pickle is cut short, or has an instruction that is not known here.
    """
    while True:
        code = _read(file, 1)
        if code not in _INSTRUCTIONS:
            raise WeightsError(
                f"its pickle has the instruction {code!r}: expected those that torch.save writes"
            )
        name, argument = _INSTRUCTIONS[code]
        if name == "STOP":
            return
        yield name, argument(file)


def _read(file: BinaryIO, size: int) -> bytes:
    content = file.read(size)
    if len(content) != size:
        raise WeightsError("its pickle is cut short: expected it to go on")
    return content


def _number(form: str) -> Callable[[BinaryIO], Any]:
    size = struct.calcsize(form)
    return lambda file: struct.unpack(form, _read(file, size))[0]


_byte, _word = _number("<B"), _number("<I")


def _nothing(file: BinaryIO) -> None:
    """Read no argument."""


def _text(file: BinaryIO) -> str:
    return str(_read(file, _word(file)), "utf-8", "surrogatepass")


def _short_text(file: BinaryIO) -> str:
    return str(_read(file, _byte(file)), "latin-1")


def _long(file: BinaryIO) -> int:
    return int.from_bytes(_read(file, _byte(file)), "little", signed=True)


def _import(file: BinaryIO) -> str:
    """Return a module's name and a name in it, joined with a dot."""
    module, name = file.readline(), file.readline()
    if not (module.endswith(b"\n") and name.endswith(b"\n")):
        raise WeightsError("its pickle is cut short: expected it to go on")
    return str(module[:-1] + b"." + name[:-1], "utf-8")


_INSTRUCTIONS: dict[bytes, tuple[str, Callable[[BinaryIO], Any]]] = {
    b"\x80": ("PROTO", _byte),
    b"N": ("NONE", _nothing),
    b"\x88": ("NEWTRUE", _nothing),
    b"\x89": ("NEWFALSE", _nothing),
    b"J": ("BININT", _number("<i")),
    b"K": ("BININT1", _byte),
    b"M": ("BININT2", _number("<H")),
    b"\x8a": ("LONG1", _long),
    b"G": ("BINFLOAT", _number(">d")),
    b"X": ("BINUNICODE", _text),
    b"U": ("SHORT_BINSTRING", _short_text),
    b"}": ("EMPTY_DICT", _nothing),
    b"]": ("EMPTY_LIST", _nothing),
    b")": ("EMPTY_TUPLE", _nothing),
    b"(": ("MARK", _nothing),
    b"t": ("TUPLE", _nothing),
    b"\x85": ("TUPLE1", _nothing),
    b"\x86": ("TUPLE2", _nothing),
    b"\x87": ("TUPLE3", _nothing),
    b"a": ("APPEND", _nothing),
    b"e": ("APPENDS", _nothing),
    b"s": ("SETITEM", _nothing),
    b"u": ("SETITEMS", _nothing),
    b"q": ("BINPUT", _byte),
    b"r": ("LONG_BINPUT", _word),
    b"h": ("BINGET", _byte),
    b"j": ("LONG_BINGET", _word),
    b"c": ("GLOBAL", _import),
    b"R": ("REDUCE", _nothing),
    b"b": ("BUILD", _nothing),
    b"Q": ("BINPERSID", _nothing),
    b".": ("STOP", _nothing),
}

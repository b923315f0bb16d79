"""What the pickles of ``torch.save`` say, read as data: nothing in one is looked up or run.

A pickle is a program for a small stack machine, which can import and call anything. The machine
here carries out the few in ``instructions``, and what they may make is in ``objects``. Every other
instruction and name is refused.

``torch.load(weights_only=True)`` sets out to do the same, and is not enough here. Given files of a
few bytes to a few megabytes, PyTorch 2.13 allocates gigabytes (a ``bytearray`` of a number), ends
the process (a deep tuple as a key), or returns memory that nothing was read into (a storage that
the old format's list of storages leaves out).

Source: ``torch/_weights_only_unpickler.py``.
"""

from typing import Any, BinaryIO, NamedTuple

from jaxgru.weights.errors import WeightsError, first_line
from jaxgru.weights.formats.torch.instructions import instructions
from jaxgru.weights.formats.torch.objects import (
    Ignored,
    Storage,
    is_count,
    known,
    make,
    refuse,
    storage_of,
)
from jaxgru.weights.limits import SMALL

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}


class Pickled(NamedTuple):
    """What a pickle holds."""

    root: Any  # dicts, whose keys are text or whole numbers, lists, tuples, text, numbers, Tensors
    storages: dict[str, Storage]  # all that are mentioned, by their keys


def read_pickle(file: BinaryIO, size: int) -> Pickled:
    """Return what a pickle holds, and leave the file behind it.

    Args:
        file: in memory, at the pickle's beginning.
        size: of the pickle in bytes, at most.

    Raises:
        WeightsError: the pickle is damaged, or holds more than tensors in plain containers.
    """
    # An instruction makes at most about 64 bytes: an empty dict, say. So this is the limit of
    # weights.limits in instructions, SMALL or 32 times the file.
    most = max(SMALL // 64, size // 2)
    machine = _Machine()
    try:
        for count, (name, argument) in enumerate(instructions(file)):
            if count > most:
                raise WeightsError(f"its pickle has over {most} instructions: expected fewer")
            machine.step(name, argument)
        return Pickled(machine.stack.pop(), machine.storages)
    except WeightsError:
        raise
    # Nothing on the stack or in the memo where it is taken from; text that is none.
    except (IndexError, KeyError, ValueError) as error:
        raise WeightsError(f"its pickle is damaged ({first_line(error)})") from error


class _Machine:
    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.storages: dict[str, Storage] = {}
        self._below: list[list[Any]] = []  # the stacks under the marks
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        match name:
            case "PROTO":
                if argument != 2:
                    refuse(f"is of protocol {argument}")
            case "BINUNICODE" | "SHORT_BINSTRING":
                self.stack.append(argument)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                self.stack.append(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                self.stack.append(_CONSTANTS[name])
            case "EMPTY_DICT":
                self.stack.append({})
            case "EMPTY_LIST":
                self.stack.append([])
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self._taken(int(name[-1]))))
            case "TUPLE":
                items = self._taken_to_mark()
                self.stack.append(tuple(items))
            case "MARK":
                self._below.append(self.stack)
                self.stack = []
            case "APPEND":
                self._extend(self._taken(1))
            case "APPENDS":
                self._extend(self._taken_to_mark())
            case "SETITEM":
                self._set_items(self._taken(2))
            case "SETITEMS":
                self._set_items(self._taken_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._memo[argument])
            case "GLOBAL":
                self.stack.append(known(argument))
            case "REDUCE":
                self.stack.append(make(*self._taken(2)))
            case "BUILD":
                # What a state dict has beside its items, the versions of its modules; or what
                # belongs to an object that is not made.
                self._taken(1)
                if not isinstance(self.stack[-1], dict | Ignored):
                    refuse("sets the attributes of an object")
            case "BINPERSID":
                self.stack.append(self._storage(self.stack.pop()))
            case _:  # no other is among the instructions
                raise AssertionError(name)

    def _taken(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("the stack is too short")
        del self.stack[-count:]
        return items

    def _taken_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not list:
            refuse("appends to what is no list")
        self.stack[-1].extend(items)

    def _set_items(self, items: list[Any]) -> None:
        if type(self.stack[-1]) is not dict or len(items) % 2:
            refuse("sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # What has another key has no name. And a key is hashed: a deep tuple must not be.
            if isinstance(key, str) or is_count(key):
                self.stack[-1][key] = value

    def _storage(self, reference: Any) -> Storage:
        storage = storage_of(reference)
        if self.storages.setdefault(storage.key, storage) != storage:
            refuse("refers to one storage in two forms")
        return storage

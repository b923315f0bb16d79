"""Reading pickles as data, without importing or calling anything.

A pickle is a program for a small stack machine, which can import and call any function. This
machine creates only numbers, text and containers. Any other object becomes a ``Stub`` with a name
and the arguments, state and items of the object.

``torch.load(weights_only=True)`` has the same purpose but is not sufficient. For files of a few
bytes to a few megabytes, PyTorch 2.13 allocates gigabytes (a ``bytearray`` of a number), ends the
process (a deep tuple as a key), or returns uninitialized memory (a storage that is missing in the
list of storages of the old format).

Source: Python's ``pickletools``, which describes every instruction.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from jaxgru._weights.errors import WeightsError, damaged, shown
from jaxgru._weights.formats.zip import MAGIC
from jaxgru._weights.limits import SMALL

# The name of a stub for data outside of the pickle, such as the numbers of a tensor.
OUTSIDE = "outside the pickle"
_LONGEST = 200  # name of a module or an object
# The instructions with a value as argument, and those that create an empty container.
_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8",
)  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}  # fmt: skip
# The table of pickletools, without its genops, which decodes backslashes in names, with warnings
# for invalid ones, and reads the text arguments of protocol 0, which Python 3 does not write.
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


class Name(NamedTuple):
    """An import of a pickle: module and name, joined with a dot."""

    text: str


class Stub:
    """An object of a pickle that is not created."""

    __slots__ = ("arguments", "items", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.arguments = arguments
        self.state: Any = None
        # By key, or by position if they were appended.
        self.items: dict[Any, Any] | None = None


# Functions that read data in the file after the state of an object, by the name of the object.
Hooks = Mapping[str, Callable[[Stub, io.BytesIO], None]]


class Pickles:
    """The pickles of one file, with one budget for all instructions."""

    def __init__(self, size: int, hooks: Hooks | None = None) -> None:
        # An instruction allocates at most about 64 bytes, the size of an empty dict. So this is the
        # limit of weights.limits in instructions, SMALL or 32 times the file.
        self._most = self._left = max(SMALL // 64, size // 2)
        self._hooks = hooks or {}
        self.outside: list[Stub] = []  # of the last pickle
        self.archives: list[bytes] = []  # the zip archives in bytes of the last pickle

    def read(self, file: io.BytesIO) -> Any:
        """Return the object of a pickle, with the file position after it."""
        machine = _Machine(file, self._hooks)
        self.outside, self.archives = machine.outside, machine.archives
        # An empty stack, a missing entry in the memo, or incomplete arguments.
        with damaged("its pickle is damaged", IndexError, KeyError, ValueError):
            while (code := file.read(1)) != pickle.STOP:
                if code not in _OPCODES:
                    raise ValueError(f"there is {code!r} instead of an instruction")
                opcode = _OPCODES[code]
                self._left -= 1
                if self._left < 0:
                    raise WeightsError(
                        f"its pickle has over {self._most} instructions: expected fewer"
                    )
                machine.step(opcode.name, _argument(opcode, file))
            return machine.stack.pop()


def is_count(value: Any) -> bool:
    """Return whether a value is an integer, at least 0."""
    return type(value) is int and 0 <= value < 2**60


def refuse(what: str) -> NoReturn:
    """Raise WeightsError for an invalid pickle."""
    raise WeightsError(
        f"its pickle {what}: expected tensors in containers, as "
        "torch.save(module.state_dict(), path) writes them; nothing in a file is run"
    )


def _argument(opcode: pickletools.OpcodeInfo, file: io.BytesIO) -> Any:
    if opcode.name == "GLOBAL":
        module, name = file.readline(), file.readline()
        if not name.endswith(b"\n"):
            raise ValueError("a name is cut short")
        return str(module[:-1] + b"." + name[:-1], "utf-8")
    if opcode.arg is None:
        return None
    if opcode.arg.n == pickletools.UP_TO_NEWLINE:
        refuse(f"has the instruction {opcode.name} of protocol 0")
    return opcode.arg.reader(file)


class _Machine:
    def __init__(self, file: io.BytesIO, hooks: Hooks) -> None:
        self.stack: list[Any] = []
        self.outside: list[Stub] = []
        self.archives: list[bytes] = []
        self._file = file
        self._hooks = hooks
        self._below: list[list[Any]] = []  # the stacks below the marks
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Execute one instruction."""
        match name:
            case "PROTO" | "FRAME":
                pass
            case _ if name in _VALUES:
                self.stack.append(argument)
                if isinstance(argument, bytes | bytearray) and argument.startswith(MAGIC):
                    self.archives.append(bytes(argument))
            case _ if name in _MADE:
                self.stack.append(_MADE[name]())
            case "NEWTRUE" | "NEWFALSE":
                self.stack.append(name == "NEWTRUE")
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                self.stack.append(tuple(self._taken(int(name[-1]))))
            case "TUPLE" | "FROZENSET":
                items = self._taken_to_mark()
                self.stack.append(tuple(items))
            case "MARK":
                self._below.append(self.stack)
                self.stack = []
            case "POP":
                self.stack.pop()
            case "POP_MARK":
                self._taken_to_mark()
            case "APPEND":
                self._extend(self._taken(1))
            case "APPENDS" | "ADDITEMS":
                self._extend(self._taken_to_mark())
            case "SETITEM":
                self._set_items(self._taken(2))
            case "SETITEMS":
                self._set_items(self._taken_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self._memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self._memo[len(self._memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                self.stack.append(self._memo[argument])
            case "GLOBAL":
                self.stack.append(Name(argument))
            case "STACK_GLOBAL":
                module, own = self._taken(2)
                if type(module) is not str or type(own) is not str:
                    refuse("has a name that is not text")
                # Cut, because a long text may be used many times.
                self.stack.append(Name(f"{module[:_LONGEST]}.{own[:_LONGEST]}"))
            case "REDUCE" | "NEWOBJ":
                self._make(*self._taken(2))
            case "NEWOBJ_EX":
                self._make(*self._taken(3)[:2])
            case "BUILD":
                self._build(*self._taken(1))
            case "BINPERSID":
                self.outside.append(Stub(OUTSIDE, (self.stack.pop(),)))
                self.stack.append(self.outside[-1])
            case _:
                refuse(f"has the instruction {name}")

    def _taken(self, count: int) -> list[Any]:
        items = self.stack[-count:]
        if len(items) < count:
            raise IndexError("the stack is too short")
        del self.stack[-count:]
        return items

    def _taken_to_mark(self) -> list[Any]:
        items, self.stack = self.stack, self._below.pop()
        return items

    def _make(self, function: Any, arguments: Any) -> None:
        if type(arguments) is not tuple:
            refuse(f"calls something with {shown(type(arguments).__name__)}")
        self.stack.append(Stub(function.text if isinstance(function, Name) else "", arguments))

    def _build(self, state: Any) -> None:
        owner = self.stack[-1]
        if not isinstance(owner, Stub):
            refuse("sets the attributes of a container")
        owner.state = state
        if owner.name in self._hooks:
            self._hooks[owner.name](owner, self._file)

    def _extend(self, items: list[Any]) -> None:
        owner = self.stack[-1]
        if isinstance(owner, Stub):
            known = self._items_of(owner)
            known.update(enumerate(items, len(known)))
        elif type(owner) is list:
            owner.extend(items)
        else:
            refuse("appends to something other than a list")

    def _set_items(self, items: list[Any]) -> None:
        owner = self.stack[-1]
        known = self._items_of(owner) if isinstance(owner, Stub) else owner
        if type(known) is not dict or len(items) % 2:
            refuse("sets items of something other than a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Only these keys are names, and hashing a deep tuple would end the process.
            if isinstance(key, str) or is_count(key):
                known[key] = value

    def _items_of(self, stub: Stub) -> dict[Any, Any]:
        if stub.items is None:
            stub.items = {}
        return stub.items

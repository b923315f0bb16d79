"""Pickles read as data: nothing in one is imported, looked up or called.

A pickle is a program for a small stack machine, which can import and call anything. The machine
here makes numbers, text and containers. Everything else becomes a ``Stub``: a name, and the
arguments, state and items that the object would have been made of.

``torch.load(weights_only=True)`` sets out to read as safely, and is not enough here. Given files of
a few bytes to a few megabytes, PyTorch 2.13 allocates gigabytes (a ``bytearray`` of a number), ends
the process (a deep tuple as a key), or returns memory that nothing was read into (a storage that
the old format's list of storages leaves out).

Source: Python's ``pickletools``, which describes every instruction.
"""

import io
import pickle
import pickletools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

from jaxgru.weights.errors import WeightsError, first_line, shown
from jaxgru.weights.limits import SMALL

# The name of a stub for what is kept outside of the pickle, such as the numbers of a tensor.
OUTSIDE = "outside the pickle"
_LONGEST = 200  # name of a module, or in one
# The instructions whose argument is a value, and those that make one of nothing.
_VALUES = (
    "BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE",
    "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8",
    "BYTEARRAY8",
)  # fmt: skip
_MADE: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None, "EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list,
    "EMPTY_TUPLE": tuple,
}  # fmt: skip
# The table of pickletools, not its genops: that undoes backslashes in names, with a warning where
# there is none to undo, and reads the arguments of protocol 0, text that Python 3 does not write.
_OPCODES = {opcode.code.encode("latin-1"): opcode for opcode in pickletools.opcodes}


class Name(NamedTuple):
    """What a pickle would import: module and name, joined with a dot."""

    text: str


class Stub:
    """An object of a pickle that is not made."""

    __slots__ = ("arguments", "items", "name", "state")

    def __init__(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.name = name
        self.arguments = arguments
        self.state: Any = None
        # By key, or by place if they were appended.
        self.items: dict[Any, Any] | None = None


# What reads on in the file after an object's state, by the object's name.
Hooks = Mapping[str, Callable[[Stub, io.BytesIO], None]]


class Pickles:
    """The pickles of one file, whose instructions count against one budget."""

    def __init__(self, size: int, hooks: Hooks | None = None) -> None:
        # An instruction makes at most about 64 bytes, as an empty dict has. So this is the limit of
        # weights.limits in instructions, SMALL or 32 times the file.
        self._most = self._left = max(SMALL // 64, size // 2)
        self._hooks = hooks or {}
        self.outside: list[Stub] = []  # of the pickle read last

    def read(self, file: io.BytesIO) -> Any:
        """Return what a pickle holds, and leave the file after it."""
        machine = _Machine(file, self._hooks)
        self.outside = machine.outside
        try:
            while (code := file.read(1)) != pickle.STOP:
                if code not in _OPCODES:
                    raise ValueError(f"there is {code!r} in the place of an instruction")
                opcode = _OPCODES[code]
                self._left -= 1
                if self._left < 0:
                    raise WeightsError(
                        f"its pickle has over {self._most} instructions: expected fewer"
                    )
                machine.step(opcode.name, _argument(opcode, file))
            return machine.stack.pop()
        except WeightsError:
            raise
        # Nothing on the stack or in the memo where it is taken from; arguments cut short.
        except (IndexError, KeyError, ValueError) as error:
            raise WeightsError(f"its pickle is damaged ({first_line(error)!a})") from error


def is_count(value: Any) -> bool:
    """Return whether a value is a whole number that can count something."""
    return type(value) is int and 0 <= value < 2**60


def refuse(what: str) -> NoReturn:
    """Raise WeightsError for what a pickle does."""
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
        self._file = file
        self._hooks = hooks
        self._below: list[list[Any]] = []  # the stacks under the marks
        self._memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        match name:
            case "PROTO" | "FRAME":
                pass
            case _ if name in _VALUES:
                self.stack.append(argument)
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
                    refuse("has a name that is no text")
                # Cut: a long text may be used again and again.
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
            refuse("appends to what is no list")

    def _set_items(self, items: list[Any]) -> None:
        owner = self.stack[-1]
        known = self._items_of(owner) if isinstance(owner, Stub) else owner
        if type(known) is not dict or len(items) % 2:
            refuse("sets items of what is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # What has another key has no name. And a key is hashed: a deep tuple must not be.
            if isinstance(key, str) or is_count(key):
                known[key] = value

    def _items_of(self, stub: Stub) -> dict[Any, Any]:
        if stub.items is None:
            stub.items = {}
        return stub.items

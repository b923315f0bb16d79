"""What the pickles of ``torch.save`` may make: tensors and containers, known by heart.

Each is made here as data, by name; what the name stands for in PyTorch is not imported.

Source: ``torch/_utils.py``, ``torch/serialization.py``.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, NoReturn

from jaxgru.weights.errors import WeightsError

# The bytes that a number takes, by what PyTorch calls its type.
ITEM_SIZES = {
    **{"Half": 2, "BFloat16": 2, "Float": 4, "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16},
    **{"Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Int": 4, "Long": 8},
    **{"QUInt8": 1, "QInt8": 1, "QInt32": 4, "Untyped": 1},
}

_STORAGE = re.compile(r"torch\.(?:storage\.)?([A-Za-z0-9]{1,32})Storage")
_DTYPE = re.compile(r"torch\.(?:bool|b?float[0-9][0-9a-z_]*|u?int[0-9]+|complex[0-9]+)")


class Storage(NamedTuple):
    """A row of numbers that tensors are views of."""

    key: str
    kind: str  # what PyTorch calls its type, such as "Float" or "Long"
    length: int


class Tensor(NamedTuple):
    """A view of a storage; offset and strides are counted in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str  # the storage's, or what sets the tensor's numbers apart from those stored


class Name(NamedTuple):
    """What a pickle would import."""

    text: str


class Ignored(NamedTuple):
    """What stands for an object that holds no tensor, and is not made."""


def known(text: str) -> Name:
    """Return a name, with its module, as it is; raise WeightsError unless it is one of a few."""
    if not (text in _MAKERS or _STORAGE.fullmatch(text) or _DTYPE.fullmatch(text)):
        refuse(f"names {text[:80]!a}")
    return Name(text)


def make(function: Any, arguments: Any) -> Any:
    """Return what a call would make; raise WeightsError for a call that is not known by heart."""
    if not isinstance(function, Name) or function.text not in _MAKERS:
        refuse("calls what is no way to make a tensor or a container")
    if type(arguments) is not tuple:
        refuse(f"calls {function.text} in an unknown way")
    return _MAKERS[function.text](arguments)


def storage_of(reference: Any) -> Storage:
    """Return the storage that a pickle refers to; raise WeightsError if it refers to another."""
    match reference:
        case ("storage", Name(text), str(key), _, int(length), *view) if is_count(length):
            kind = _STORAGE.fullmatch(text)
            # PyTorch before 1.0 had views of storages, too.
            if kind is not None and view in ([], [None]):
                return Storage(key, kind[1], length)
    return refuse("refers to what is no storage of a known form")


def is_count(value: Any) -> bool:
    """Tell whether a value is a whole number that can count something."""
    return type(value) is int and 0 <= value < 2**60


def refuse(what: str) -> NoReturn:
    """Raise WeightsError for what a pickle does."""
    raise WeightsError(
        f"its pickle {what}: expected tensors in plain containers, as "
        "torch.save(module.state_dict(), path) writes them; nothing in a file is run"
    )


def _tensor(arguments: tuple[Any, ...]) -> Tensor:
    storage, offset, shape, strides = arguments[:4]
    if not (
        isinstance(storage, Storage)
        and is_count(offset)
        and _are_counts(shape)
        and _are_counts(strides)
        and len(shape) == len(strides)
    ):
        refuse("has a tensor of an unknown form")
    # The last argument says of a few tensors that their numbers are negated or conjugated.
    kind = f"changed {storage.kind}" if any(arguments[6:]) else storage.kind
    return Tensor(storage, offset, shape, strides, kind)


def _typed_tensor(arguments: tuple[Any, ...]) -> Tensor:
    """Make a tensor of a type that has no storages of its own, such as one of 8 bits."""
    dtype = arguments[6]
    if not isinstance(dtype, Name):
        refuse("has a tensor of an unknown type")
    return _tensor(arguments[:4])._replace(kind=dtype.text)


def _empty_dict(arguments: tuple[Any, ...]) -> dict[Any, Any]:
    if arguments:
        refuse("fills an OrderedDict as Python 2 does")
    return {}


def _first(arguments: tuple[Any, ...]) -> Any:
    return arguments[0]


def _ignored(arguments: tuple[Any, ...]) -> Ignored:
    return Ignored()


_MAKERS: dict[str, Callable[[tuple[Any, ...]], Any]] = {
    "collections.OrderedDict": _empty_dict,
    "torch.Size": _first,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _typed_tensor,
    "torch._utils._rebuild_parameter": _first,
    # What checkpoints hold beside tensors.
    "torch.device": _ignored,
    "_codecs.encode": _ignored,
    "__builtin__.bytearray": _ignored,
    "__builtin__.complex": _ignored,
    "__builtin__.set": _ignored,
    "collections.Counter": _ignored,
    "numpy.dtype": _ignored,
    "numpy.ndarray": _ignored,
    "numpy.core.multiarray._reconstruct": _ignored,
    "numpy.core.multiarray.scalar": _ignored,
    "numpy._core.multiarray._reconstruct": _ignored,
    "numpy._core.multiarray.scalar": _ignored,
}


def _are_counts(values: Any) -> bool:
    # PyTorch and NumPy have at most 64 axes.
    return type(values) is tuple and len(values) <= 64 and all(map(is_count, values))

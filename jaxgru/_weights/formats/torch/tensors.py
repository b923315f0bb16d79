"""The tensors of PyTorch and the arrays of NumPy and JAX in a pickle, by name, as NumPy arrays.

Source: ``torch/_utils.py``, ``torch/serialization.py``; NumPy's ``array_reduce``;
``jax/_src/array.py``; ``joblib/numpy_pickle.py``.
"""

import functools
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.dtypes import FLOATS, NUMBERS, Unread
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.torch.pickles import OUTSIDE, Name, Stub, is_count, refuse
from jaxgru._weights.limits import check_declared

# The bytes of a number, by the name of its type in PyTorch.
ITEM_SIZES = {
    **{"Half": 2, "BFloat16": 2, "Float": 4, "Double": 8, "ComplexFloat": 8, "ComplexDouble": 16},
    **{"Bool": 1, "Byte": 1, "Char": 1, "Short": 2, "Int": 4, "Long": 8},
    **{"UInt16": 2, "UInt32": 4, "UInt64": 8},
    **{"QUInt8": 1, "QInt8": 1, "QInt32": 4, "Untyped": 1},
}
_STORAGE = re.compile(r"torch\.(?:storage\.)?([A-Za-z0-9]{1,32})Storage")
# Of the types that are read, as NumPy has them.
_CODES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
_BFLOAT16 = Name("ml_dtypes.bfloat16")

_ARRAYS = re.compile(r"numpy\.(?:_?core\.)?(?:multiarray|numeric)\.(_reconstruct|_frombuffer)")
_JAX = "jax._src.array._reconstruct_array"
# Wrappers of tensors: parameters and their types.
_MOST_AROUND = 8
WITH_BYTES = "torch.storage._load_from_bytes"
JOBLIB = "joblib.numpy_pickle.NumpyArrayWrapper"
# By the names of the types of storages in PyTorch.
_DTYPES = {
    "Half": FLOATS["float16"],
    "BFloat16": FLOATS["bfloat16"],
    "Float": FLOATS["float32"],
    "Double": FLOATS["float64"],
    "ComplexFloat": NUMBERS["complex64"],
    "ComplexDouble": NUMBERS["complex128"],
    "Bool": NUMBERS["bool"],
    "Byte": NUMBERS["uint8"],
    "Char": NUMBERS["int8"],
    "Short": NUMBERS["int16"],
    "Int": NUMBERS["int32"],
    "Long": NUMBERS["int64"],
    "UInt16": NUMBERS["uint16"],
    "UInt32": NUMBERS["uint32"],
    "UInt64": NUMBERS["uint64"],
}
_KINDS = {dtype: kind for kind, dtype in _DTYPES.items()}
# Attributes with the named members of modules and frozen dicts, which are not part of the names.
_HOLDERS = frozenset({"_parameters", "_buffers", "_modules", "_dict"})
_DEEPEST = 64


class Storage(NamedTuple):
    """A sequence of numbers with tensors as views."""

    key: str
    kind: str  # the name of the type in PyTorch, such as "Float" or "Long"
    length: int
    content: Any = None  # the numbers, if they are in the pickle


class Tensor(NamedTuple):
    """A view of a storage; offset and strides are counted in numbers."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    kind: str  # that of the storage, or a description of how the tensor differs from it


# Returns a storage in bytes, as written by torch.save.
Embedded = Callable[[bytes], Storage]


def tensor_of(stub: Stub, embedded: Embedded) -> Tensor | None:
    """Return the tensor or array of a stub, None for another object."""
    name, arguments, state = stub.name, stub.arguments, stub.state
    for _ in range(_MOST_AROUND):
        if name == _JAX and len(arguments) > 2 and isinstance(arguments[0], Name):
            name, arguments, state = arguments[0].text, arguments[1], arguments[2]
        elif name == "torch._tensor._rebuild_from_type_v2" and len(arguments) > 2:
            if not isinstance(arguments[0], Name) or type(arguments[2]) is not tuple:
                return None
            name, arguments = arguments[0].text, arguments[2]
        elif name.startswith("torch._utils._rebuild_parameter") and arguments:
            if not isinstance(arguments[0], Stub):
                return None
            name, arguments, state = arguments[0].name, arguments[0].arguments, arguments[0].state
        else:
            break
    match name.removeprefix("torch._utils."):
        case "_rebuild_tensor" | "_rebuild_tensor_v2":
            return _tensor(arguments, embedded)
        case "_rebuild_tensor_v3":
            if len(arguments) < 7 or not isinstance(arguments[6], Name):
                refuse("has a tensor of an unknown type")
            # A tensor of a type without a storage class, such as one of 8 bits.
            return _tensor(arguments[:4], embedded)._replace(kind=arguments[6].text)
    if array := _ARRAYS.fullmatch(name):
        return _array(array[1], arguments, state)
    if name == JOBLIB and isinstance(state, Tensor):
        return state
    return None


def storage_of(value: Any, embedded: Embedded | None = None) -> Storage:
    """Return the storage of a stub; raise WeightsError for another object."""
    storage: Storage
    if isinstance(value, Stub):
        if isinstance(value.state, Storage):
            return value.state
        match value.name, value.arguments:
            case name, (inner,) if name == WITH_BYTES and embedded is not None:
                content = _bytes(inner)
                if content is not None:
                    value.state = storage = embedded(content)
                    return storage
            case name, (("storage", Name(text), str(key), _, int(length), *view),) if (
                name == OUTSIDE and is_count(length)
            ):
                kind = _STORAGE.fullmatch(text)
                # PyTorch before 1.0 also had views of storages.
                if kind is not None and view in ([], [None]):
                    value.state = storage = Storage(key, kind[1], length)
                    return storage
    return refuse("refers to a storage of unknown form")


def read_joblib(stub: Stub, file: io.BytesIO) -> None:
    """Read the numbers after the state of an array of joblib, as the state of the stub."""
    fields = stub.state if isinstance(stub.state, dict) else {}
    shape: Any = fields.get("shape")
    dtype = _dtype(fields.get("dtype"))
    if not _are_counts(shape) or dtype is None:
        refuse("has an array of joblib's of no type of number")
    if "numpy_array_alignment_bytes" in fields:
        file.seek(int.from_bytes(file.read(1), "little"), io.SEEK_CUR)
    size = math.prod(shape) * dtype.itemsize
    if size > len(file.getbuffer()) - file.tell():
        raise WeightsError(f"an array of joblib's is cut short: expected {size} bytes of it")
    content = file.read(size)
    stub.state = _view(shape, dtype, content, fields.get("order") == "F")


def _tensor(arguments: tuple[Any, ...], embedded: Embedded) -> Tensor:
    if len(arguments) < 4:
        refuse("has a tensor of an unknown form")
    value, offset, shape, strides = arguments[:4]
    storage = storage_of(value, embedded)
    if isinstance(shape, Stub) and shape.name == "torch.Size" and shape.arguments:
        shape = shape.arguments[0]
    if not (
        is_count(offset)
        and _are_counts(shape)
        and _are_counts(strides)
        and len(shape) == len(strides)
    ):
        refuse("has a tensor of an unknown form")
    # The last argument is set for negated or conjugated tensors.
    changed = len(arguments) > 6 and arguments[6] not in (None, {})
    kind = f"changed {storage.kind}" if changed else storage.kind
    return Tensor(storage, offset, shape, strides, kind)


def _array(function: str, arguments: tuple[Any, ...], state: Any) -> Tensor:
    """Return an array from its state in NumPy, or from its arguments in protocol 5."""
    match function, arguments, state:
        case "_reconstruct", _, (_, shape, stub, is_fortran, inner) if _are_counts(shape):
            pass
        case "_frombuffer", (inner, stub, shape, str(order)), _ if _are_counts(shape):
            is_fortran = order == "F"
        case _:
            refuse("has an array of an unknown form")
    dtype, content = _dtype(stub), _bytes(inner)
    if dtype is None or content is None:
        code = stub.arguments[0] if isinstance(stub, Stub) and stub.arguments else None
        kind = shown(code) if isinstance(code, str) else "object"
        return Tensor(Storage("", kind, 0, b""), 0, shape, (0,) * len(shape), kind)
    return _view(shape, dtype, content, bool(is_fortran))


def _bytes(value: Any) -> bytes | None:
    """Return bytes, which are text with an encoding in protocol 2 of Python 3."""
    if isinstance(value, Stub) and value.name == "_codecs.encode" and value.arguments:
        value = value.arguments[0]
    if isinstance(value, str):
        return value.encode("latin-1", "replace")
    return bytes(value) if isinstance(value, bytes | bytearray) else None


def _view(shape: Any, dtype: np.dtype[Any], content: bytes, is_fortran: bool) -> Tensor:
    if math.prod(shape) * dtype.itemsize != len(content):
        raise WeightsError(
            f"an array of shape {shown(shape)} and type {dtype.name} has {len(content)} bytes: "
            "expected others"
        )
    kind = _KINDS[dtype.newbyteorder("=")]
    if dtype.str[0] == ">":
        content = np.frombuffer(content, dtype).byteswap().tobytes()
    strides, step = [], 1
    for size in shape if is_fortran else reversed(shape):
        strides.append(step)
        step *= size
    strides = strides if is_fortran else strides[::-1]
    storage = Storage("", kind, len(content) // dtype.itemsize, content)
    return Tensor(storage, 0, shape, tuple(strides), kind)


def _dtype(stub: Any) -> np.dtype[Any] | None:
    """Return the dtype of a stub of ``numpy.dtype``, None for those that are not read."""
    if not isinstance(stub, Stub) or stub.name != "numpy.dtype" or not stub.arguments:
        return None
    code, state = stub.arguments[0], stub.state
    if code == _BFLOAT16:
        return FLOATS["bfloat16"]
    order = state[1] if isinstance(state, tuple) and len(state) > 1 else "<"
    if isinstance(code, str) and code in _CODES and order in ("<", ">", "|"):
        return np.dtype(f"{order}{code}")
    return None


def _are_counts(values: Any) -> bool:
    # PyTorch and NumPy have at most 64 axes.
    return type(values) is tuple and len(values) <= 64 and all(map(is_count, values))


# Returns the bytes of a storage, given the size of one of its numbers.
ReadStorage = Callable[[Storage, int], bytes | bytearray | memoryview]


def arrays_of(tensors: Mapping[str, Tensor], read_storage: ReadStorage) -> dict[str, Unread]:
    """Return tensors as arrays that are not read yet; a storage is read once."""
    contents: dict[str, bytes | bytearray | memoryview] = {}

    def read(name: str, tensor: Tensor, dtype: np.dtype[Any]) -> NDArray[Any]:
        storage = tensor.storage
        content = storage.content
        if content is None:
            if storage.key not in contents:
                contents[storage.key] = read_storage(storage, dtype.itemsize)
            content = contents[storage.key]
        strides = [stride * dtype.itemsize for stride in tensor.strides]
        try:
            # NumPy checks the bounds of the view.
            bits = np.dtype(np.uint8) if dtype == np.bool_ else dtype
            view = np.ndarray(tensor.shape, bits, content, tensor.offset * bits.itemsize, strides)
            return view != 0 if dtype == np.bool_ else view
        except (OverflowError, TypeError, ValueError):
            raise WeightsError(
                f"{shown(name)} has shape {tensor.shape[:8]}, strides {tensor.strides[:8]} and "
                f"offset {tensor.offset}: expected a view of the {storage.length} numbers "
                "that its storage has"
            ) from None

    arrays = {}
    for name, tensor in tensors.items():
        dtype = _DTYPES.get(tensor.kind)
        reader = None if dtype is None else functools.partial(read, name, tensor, dtype)
        arrays[name] = Unread(tensor.shape, tensor.kind if dtype is None else dtype.name, reader)
    return arrays


def with_numbers(content: bytearray, tensor: Tensor, array: NDArray[Any], *, is_big: bool) -> None:
    """Put the numbers of a tensor into the bytes of its storage."""
    dtype = _DTYPES[tensor.kind].newbyteorder(">" if is_big else "<")
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    place = np.ndarray(tensor.shape, dtype, content, tensor.offset * dtype.itemsize, strides)
    place[...] = array


def named_tensors(root: Any, file_size: int, embedded: Embedded) -> dict[str, Tensor]:
    """Return the tensors in a pickle, named by the keys, attributes and positions on the path."""
    tensors: dict[str, Tensor] = {}
    storages: dict[str, Storage] = {}
    declared = 0
    for name, tensor in _walk(root, embedded):
        if name in tensors:
            raise WeightsError(f"two tensors are called {shown(name)}: expected one")
        tensors[name] = tensor
        storage = tensor.storage
        if storage.content is None and storages.setdefault(storage.key, storage) != storage:
            raise WeightsError(f"storage {shown(storage.key)} has two forms: expected one")
        declared += len(name) + ITEM_SIZES.get(storage.kind, 1) * math.prod(tensor.shape)
        check_declared(declared, file_size, "its tensors")
    return tensors


def _walk(root: Any, embedded: Embedded) -> Iterator[tuple[str, Tensor]]:
    """Yield tensors in order; a repeated container, for example in itself, is skipped."""
    met: set[int] = set()
    # The remaining members of each container in the path.
    open_: list[Iterator[tuple[tuple[str, ...], Any]]] = [iter([((), root)])]
    while open_:
        path, value = next(open_[-1], (None, None))
        if path is None:
            open_.pop()
            continue
        if isinstance(value, Stub) and (tensor := tensor_of(value, embedded)) is not None:
            yield ".".join(path), tensor
        elif isinstance(value, Stub | dict | list | tuple) and id(value) not in met:
            met.add(id(value))
            if len(open_) > 3 * _DEEPEST or len(path) > _DEEPEST:
                raise WeightsError(
                    f"its containers are nested over {_DEEPEST} levels: expected fewer"
                )
            open_.append(_members(path, value))


def _members(path: tuple[str, ...], value: Any) -> Iterator[tuple[tuple[str, ...], Any]]:
    if not isinstance(value, Stub):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        yield from (((*path, str(key)), item) for key, item in items)
        return
    yield from (((*path, str(key)), item) for key, item in (value.items or {}).items())
    # The state of an object with slots is two dicts.
    states = value.state if isinstance(value.state, tuple) else (value.state,)
    for state in states:
        if isinstance(state, dict):
            for key, item in state.items():
                yield (path if key in _HOLDERS else (*path, str(key))), item
    if value.name == "collections.OrderedDict" and value.arguments:
        # In Python 2, the items are a list of pairs.
        pairs = value.arguments[0] if type(value.arguments[0]) is list else []
        for pair in pairs:
            if type(pair) in (list, tuple) and len(pair) == 2 and isinstance(pair[0], str):
                yield (*path, pair[0]), pair[1]
    else:
        yield from (((*path, str(i)), item) for i, item in enumerate(value.arguments))

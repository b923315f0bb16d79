"""Files of ``torch.save`` (.pt, .pth, .tar and other names) and pickles, read without PyTorch.

Since PyTorch 1.6, a file is a zip archive of one folder with any name: ``data.pkl`` is a pickle of
the object, ``data/0``, ``data/1``, ... are the storages of its tensors, and ``byteorder`` is
"little" or "big".

Before, it was a sequence of five pickles: a number that marks the format, its version, the machine
that wrote it, the object, and a list of storages. The storages follow, each with its count in 8
bytes and its little-endian numbers. In a plain pickle, the storage of a tensor is such a stream as
bytes.

Source: ``torch/serialization.py``, ``caffe2/serialize/inline_container.cc``.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxgru._weights.contract import FileProbe, Source, Stored
from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.keras import archive as keras
from jaxgru._weights.formats.torch import tensors
from jaxgru._weights.formats.torch.pickles import Pickles, refuse
from jaxgru._weights.formats.zip import MAGIC, copy_archive, open_archive, read_entry
from jaxgru._weights.libraries.torch import QUANTIZED

# The beginning of a pickle: a protocol, and a frame, a container or a name; but not the length at
# the beginning of a safetensors file, which is followed by a brace.
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\](c\x8a](?!.{5}\{)", re.DOTALL)
PICKLE = "data.pkl"
_QUANTIZED = b"_packed_params"
MARK = 0x1950A86A20F9469CFC6C
VERSION = 1001
_Contents = dict[str, memoryview]  # of storages, by key


def recognizes(look: FileProbe) -> bool:
    """Return whether a file is one of torch.save, or similar enough for an error by the reader."""
    if look.head.startswith(MAGIC):
        # In a damaged archive without a directory, the first entry is the pickle.
        if look.entries is None:
            return b"/" + PICKLE.encode() in look.head
        return bool(folders_of(look.entries))
    return _PICKLE.match(look.head) is not None or _is_tar(look.head)


def read(source: Source) -> Stored:
    """Return the tensors of a file, see ``Format.read``."""
    head = source.file.read(512)
    source.file.seek(0)
    if head.startswith(MAGIC):
        return _read_archive(source)
    if _is_tar(head):
        raise WeightsError(
            "it is a tar archive: expected a file of torch.save, which may have the suffix .tar; "
            "if the archive contains one, unpack it first"
        )
    return _read_pickles(source)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"


def folders_of(entries: Iterable[str]) -> list[str]:
    """Return the prefixes of names, such as "archive/", with a pickle in the archive."""
    return [name.removesuffix(PICKLE) for name in entries if f"/{name}".endswith(f"/{PICKLE}")]


def _read_archive(source: Source) -> Stored:
    """Return the tensors of an archive, see ``Format.read``."""
    archive = open_archive(source.file, source.size, "an archive of torch.save")
    folder = _folder(archive.namelist())
    pickle = read_entry(archive, folder + PICKLE)
    root = Pickles(len(pickle)).read(io.BytesIO(pickle))
    is_big = _is_big_endian(archive, folder)

    def storage(stored: tensors.Storage, item_size: int) -> bytes | bytearray:
        name = f"{folder}data/{stored.key}"
        content = read_entry(archive, name)
        if len(content) != stored.length * item_size:
            raise WeightsError(
                f"{name[:80]!a} has {len(content)} bytes: expected "
                f"{stored.length * item_size}, as the pickle has {stored.length} numbers of "
                f"type {stored.kind}"
            )
        if not is_big:
            return content
        return np.frombuffer(content, f"u{item_size}").byteswap().tobytes()

    found = tensors.named_tensors(root, source.size, lambda _: refuse("has a storage in bytes"))
    arrays = tensors.arrays_of(found, storage)
    # Quantized layers are objects of C++ in a pickle.
    is_quantized = not any("weight_hh" in name for name in arrays) and _QUANTIZED in pickle
    if is_quantized:
        raise WeightsError(f"it is {QUANTIZED}")

    def rewrite(changed: Mapping[str, NDArray[Any]], path: Path) -> None:
        contents: dict[str, bytearray] = {}
        for name, array in changed.items():
            entry = f"{folder}data/{found[name].storage.key}"
            if entry not in contents:
                contents[entry] = read_entry(archive, entry)
            tensors.with_numbers(contents[entry], found[name], array, is_big=is_big)
        copy_archive(archive, path, contents)

    return Stored(arrays, rewrite=rewrite)


def _folder(names: list[str]) -> str:
    folders = folders_of(names)
    if len(folders) != 1:
        raise WeightsError(f"{len(folders)} entries are called {PICKLE}: expected one")
    folder = folders[0]
    if any(name.startswith((f"{folder}code/", f"{folder}constants.pkl")) for name in names):
        raise WeightsError(
            "it is a TorchScript archive, a program beside its weights: expected a state dict; in "
            "PyTorch, torch.save(torch.jit.load(path).state_dict(), new_path) writes it"
        )
    return folder


def _is_big_endian(archive: zipfile.ZipFile, folder: str) -> bool:
    # The first versions had no such entry and wrote little-endian numbers on all common machines.
    name = f"{folder}byteorder"
    order = bytes(read_entry(archive, name)) if name in archive.NameToInfo else b"little"
    if order not in (b"little", b"big"):
        raise WeightsError(f"{name[:80]!a} is {order[:16]!r}: expected b'little' or b'big'")
    return order == b"big"


def _read_pickles(source: Source) -> Stored:
    """Return the tensors of a stream or a pickle, see ``Format.read``."""
    content = source.file.read()
    pickles = Pickles(len(content), {tensors.JOBLIB: tensors.read_joblib})

    def embedded(inner: bytes) -> tensors.Storage:
        root, contents = _read(pickles, inner)
        storage = tensors.storage_of(root)
        return storage._replace(content=_content_of(storage, contents))

    root, contents = _read(pickles, content)
    if pickles.archives:
        # A pickled model of Keras: its .keras file in bytes.
        if len(pickles.archives) > 1:
            raise WeightsError(
                f"its pickle holds {len(pickles.archives)} models of Keras: expected one"
            )
        inner = pickles.archives[-1]
        return keras.read(Source(io.BytesIO(inner), len(inner)))
    found = tensors.named_tensors(root, source.size, embedded)
    arrays = tensors.arrays_of(found, lambda storage, _: _content_of(storage, contents))
    return Stored(arrays)


def _read(pickles: Pickles, content: bytes) -> tuple[Any, _Contents]:
    """Return the object of a pickle or a stream, and the contents of the storages of a stream."""
    stream = io.BytesIO(content)
    root = pickles.read(stream)
    if root != MARK:
        return root, {}
    if pickles.read(stream) != VERSION:
        raise WeightsError("it is a stream of another version: expected 1001, as torch.save writes")
    pickles.read(stream)  # of the machine, with the byte order of its memory, not of the file
    root = pickles.read(stream)
    storages = {}
    for stub in pickles.outside:
        reference = stub.arguments[0]
        if type(reference) is tuple and reference[:1] == ("storage",):  # or one to a class
            storage = tensors.storage_of(stub)
            storages[storage.key] = storage
    keys = pickles.read(stream)
    if type(keys) is not list or not all(isinstance(key, str) and key in storages for key in keys):
        raise WeightsError("its last pickle is not a list of the storages: expected one")
    contents: _Contents = {}
    for key in keys:
        stored = storages[key]
        if stored.kind not in tensors.ITEM_SIZES:
            raise WeightsError(f"a storage has the unknown type {stored.kind!r}: expected another")
        length = int.from_bytes(stream.read(8), "little")
        start, size = stream.tell(), stored.length * tensors.ITEM_SIZES[stored.kind]
        if length != stored.length or start + size > len(content):
            raise WeightsError(
                f"storage {shown(key)} has {length} numbers of type {stored.kind}, or is cut "
                f"short: expected {stored.length}, as the pickle has it"
            )
        contents[key] = memoryview(content)[start : start + size]
        stream.seek(start + size)
    return root, contents


def _content_of(storage: tensors.Storage, contents: _Contents) -> memoryview:
    if storage.key not in contents:
        raise WeightsError(f"storage {shown(storage.key)} is not there: expected it at the end")
    return contents[storage.key]

"""The zip archives that ``torch.save`` writes since PyTorch 1.6.

An archive has one folder, of any name: ``data.pkl`` in it is a pickle of the whole, ``data/0``,
``data/1``, ... are the storages of its tensors, and ``byteorder`` is "little" or "big".

Source: ``torch/serialization.py``, ``caffe2/serialize/inline_container.cc``.
"""

import io
import zipfile
from collections.abc import Iterable

import numpy as np

from jaxgru.weights.contract import Source
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.torch.objects import Storage
from jaxgru.weights.formats.torch.pickles import Pickles, refuse
from jaxgru.weights.formats.torch.tensors import TensorArrays, named_tensors
from jaxgru.weights.formats.zip import open_archive, read_entry
from jaxgru.weights.libraries import find
from jaxgru.weights.results import Gathered

PICKLE = "data.pkl"


def folders_of(entries: Iterable[str]) -> list[str]:
    """Return the beginnings of names, such as "archive/", under which an archive has a pickle."""
    return [name.removesuffix(PICKLE) for name in entries if f"/{name}".endswith(f"/{PICKLE}")]


def read(source: Source) -> Gathered:
    """Return every GRU in an archive, see ``Format.read``."""
    with open_archive(source.file, source.size, "an archive of torch.save") as archive:
        folder = _folder(archive.namelist())
        pickle = read_entry(archive, folder + PICKLE)
        root = Pickles(len(pickle)).read(io.BytesIO(pickle))
        is_big = _is_big_endian(archive, folder)

        def storage(stored: Storage, item_size: int) -> bytes | bytearray:
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

        tensors = named_tensors(root, source.size, _embedded)
        return find(TensorArrays(tensors, storage), source.assume)


def _embedded(content: bytes) -> Storage:
    return refuse("has a storage in bytes")


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
    # The first versions had no such entry: they wrote little-endian numbers on all usual machines.
    name = f"{folder}byteorder"
    order = bytes(read_entry(archive, name)) if name in archive.NameToInfo else b"little"
    if order not in (b"little", b"big"):
        raise WeightsError(f"{name[:80]!a} is {order[:16]!r}: expected b'little' or b'big'")
    return order == b"big"

"""Mutations of zip archives, packed again with correct sizes and checksums."""

import functools
import io
import zipfile
from collections.abc import Callable
from random import Random

from fuzz.mutations import hdf5, npy, pickles, raw, trees

Entries = list[tuple[str, bytes]]

# The mutations of an entry by suffix; other entries are changed as bytes.
_BY_ENDING: dict[str, Callable[[Random, bytes], bytes]] = {
    ".h5": hdf5.mutate,
    ".npy": npy.mutate,
    ".json": trees.mutate_json,
    ".pkl": pickles.mutate,
}
_NAMES = (
    "", "/", "a/b", "../../a", "/etc/passwd", "a\nb\x1b[31m", "C:\\a", "x" * 300, "config.json",
    "metadata.json", "model.weights.h5", "wMatrix.npy", "biases.npy", "archive/data.pkl",
)  # fmt: skip


def mutate_entry(rng: Random, content: bytes) -> bytes:
    """Return the archive with the content of one entry changed."""
    entries = _unpacked(content)
    if not entries:
        return raw.mutate(rng, content)
    place = rng.randrange(len(entries))
    name, inner = entries[place]
    mutation = next((_BY_ENDING[end] for end in _BY_ENDING if name.endswith(end)), raw.mutate)
    return packed([*entries[:place], (name, mutation(rng, inner)), *entries[place + 1 :]])


def mutate_listing(rng: Random, content: bytes) -> bytes:
    """Return the archive with an entry removed, added, renamed, exchanged or deflated."""
    entries = _unpacked(content)
    if not entries:
        return raw.mutate(rng, content)
    place, other = (rng.randrange(len(entries)) for _ in range(2))
    name, inner = entries[place]
    way = rng.randrange(6)
    if way == 0:
        del entries[place]
    elif way == 1:
        entries.append((rng.choice((*_NAMES, name)), inner))
    elif way == 2:
        entries[place] = rng.choice((*_NAMES, name + "x", name[1:])), inner
    elif way == 3:
        entries[place] = name, entries[other][1]
    elif way == 4:
        entries[place], entries[other] = entries[other], entries[place]
    return packed(entries, zipfile.ZIP_DEFLATED if way == 5 else zipfile.ZIP_STORED)


def packed(entries: Entries, compression: int = zipfile.ZIP_STORED) -> bytes:
    """Return an archive of the entries with a fixed date, so that the bytes are reproducible."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, inner in entries:
            # zipfile warns of a duplicate name, which is intended here.
            archive.NameToInfo.pop(name, None)
            archive.writestr(zipfile.ZipInfo(name), inner, compression)
    return file.getvalue()


def _unpacked(content: bytes) -> Entries:
    """Return the entries of an archive in their order, none if it is damaged."""
    return list(_unpacked_once(content))


@functools.lru_cache(maxsize=32)
def _unpacked_once(content: bytes) -> tuple[tuple[str, bytes], ...]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return tuple((entry.filename, archive.read(entry)) for entry in archive.infolist())
    except Exception:  # damaged by a previous mutation
        return ()

"""Mutations of HDF5 files by the HDF5 library, and in structures with correct checksums."""

import collections
import contextlib
import functools
import io
import re
from random import Random
from typing import Any, NamedTuple

import h5py
import numpy as np

from fuzz.mutations import raw, trees
from jaxgru._weights.formats.hdf5.blocks import lookup3

_SHAPES: tuple[Any, ...] = (
    (), (0,), (1,), (3,), (9,), (18,), (2, 9), (2, 3), (3, 9), (9, 3), (3, 3), (1,) * 12,
)  # fmt: skip
_HUGE = ((2**31, 2**31), (2**62,), (10**6, 10**6))
_TYPES: tuple[Any, ...] = (
    "f2", "f4", ">f4", "f8", "i4", "u2", "b1", "c8", "S3", "V2", h5py.string_dtype(),
    h5py.ref_dtype, h5py.vlen_dtype("f4"), [("a", "f4"), ("b", "i2")], h5py.enum_dtype({"RED": 0}),
    ("f4", (2,)),
)  # fmt: skip


# The signatures of structures with a checksum at the end, and the largest searched size.
_SIGNATURES = re.compile(
    rb"\x89HDF\r\n|OHDR|OCHK|BT(?:HD|IN|LF)|F(?:RHP|HIB|AHD|ADB)|EA(?:HD|IB|SB|DB)"
)
_LONGEST = 700
_TIME = re.compile(rb"(\x12\x00\x08\x00.\x00{3}\x01\x00{3}).{4}", re.DOTALL)
_changed_within: collections.deque[bytes] = collections.deque(maxlen=2)


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the file with one object, attribute or structure changed."""
    # A changed structure may crash the library, which trusts checksums.
    names = _Names() if content in _changed_within else _names(content)
    if not names.all or (_is_newer(content) and rng.random() < 0.5):
        content = _change_structure(rng, content)
        _changed_within.append(content)
        return content
    image = io.BytesIO(content)
    # Fixed bounds, as the defaults of the library determine the layout.
    bound = "v110" if _is_newer(content) else "earliest"
    with contextlib.suppress(Exception), h5py.File(image, "r+", libver=(bound, "v110")) as file:
        way = rng.choice((_change_attribute, _change_attribute, _change_dataset, _change_links))
        # The library refuses some changes, such as an existing link.
        with contextlib.suppress(Exception):
            way(rng, file, names)
    return without_times(image.getvalue())


def without_times(content: bytes) -> bytes:
    """Return a file with all times in the headers of its objects set to 0."""
    # A message in a header of the first version: its kind, size, flags and version.
    changed = bytearray(_TIME.sub(lambda match: match[1] + bytes(4), content))
    for match in re.finditer(b"OHDR\x02", content):
        start, flags = match.start(), content[match.end()] if match.end() < len(content) else 0
        before = 22 + (4 if flags & 0x10 else 0)
        width = 1 << (flags & 3)
        size = int.from_bytes(content[start + before : start + before + width], "little")
        end = start + before + width + size
        if flags & 0x20 and end + 4 <= len(content):
            changed[start + 6 : start + 22] = bytes(16)
            changed[end : end + 4] = lookup3(bytes(changed[start:end])).to_bytes(4, "little")
    return bytes(changed)


def _is_newer(content: bytes) -> bool:
    return content[8:9] > b"\x01"


def _change_structure(rng: Random, content: bytes) -> bytes:
    """Change bytes of a structure and update its checksum, which a reader checks first."""
    starts = [match.start() for match in _SIGNATURES.finditer(content)]
    if not starts:
        return raw.mutate(rng, content)
    start = rng.choice(starts)
    end = _checksum_of(content[start : start + _LONGEST])
    if end is None:
        return raw.mutate(rng, content)
    body = content[start : start + end]
    body = (body[:4] + raw.mutate(rng, body[4:]) + body)[:end]
    return content[:start] + body + lookup3(body).to_bytes(4, "little") + content[start + end + 4 :]


@functools.lru_cache(maxsize=256)
def _checksum_of(content: bytes) -> int | None:
    """Return the position of the checksum of the structure at the beginning of some content."""
    for end in range(10, len(content) - 3):
        if lookup3(content[:end]) == int.from_bytes(content[end : end + 4], "little"):
            return end
    return None


class _Names(NamedTuple):
    """The paths of objects in a file."""

    all: tuple[str, ...] = ()
    with_attributes: tuple[str, ...] = ()
    of_datasets: tuple[str, ...] = ()


@functools.lru_cache(maxsize=32)
def _names(content: bytes) -> _Names:
    """Return the names of all objects, none if the file is damaged."""
    found: list[tuple[str, int, int]] = []

    def visit(name: bytes, info: Any) -> None:
        found.append((name.decode("utf-8", "surrogateescape"), info.type, info.num_attrs))

    try:
        with h5py.File(h5py.h5f.open_file_image(content)) as file:
            found.append(("/", h5py.h5o.TYPE_GROUP, len(file.attrs)))
            h5py.h5o.visit(file.id, visit, info=True)
    except Exception:  # damaged by a previous mutation
        return _Names()
    return _Names(
        tuple(name for name, _, _ in found),
        tuple(name for name, _, attributes in found if attributes),
        tuple(name for name, kind, _ in found if kind == h5py.h5o.TYPE_DATASET),
    )


def _change_attribute(rng: Random, file: h5py.File, names: _Names) -> None:
    holder = file[rng.choice(names.with_attributes or names.all)]
    attributes = holder.attrs
    name = rng.choice([*attributes, "name", "weight_names"])
    old = attributes.get(name)
    way = rng.randrange(5)
    if way == 0:
        del attributes[name]
    elif way == 1:
        attributes.create(name, np.zeros(rng.choice(_SHAPES), "i4"), dtype=rng.choice(_TYPES))
    elif isinstance(old, (str, bytes)):
        text = old.encode() if isinstance(old, str) else bytes(old)
        attributes[name] = _decoded(rng, trees.mutate_json(rng, text))
    elif isinstance(old, np.ndarray) and old.size:
        attributes[name] = [_altered(rng, value) for value in old.ravel().tolist()]
    else:
        attributes[name] = rng.choice((0, 1.5, "", "a\nb\x1b[31m", b"\xff\xfe", h5py.Empty("f4")))


def _decoded(rng: Random, text: bytes) -> Any:
    return text if rng.random() < 0.3 else text.decode("utf-8", "surrogateescape")


def _altered(rng: Random, value: Any) -> Any:
    """Return one of the names, unchanged in most cases."""
    if rng.random() < 0.6 or not isinstance(value, (str, bytes)):
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return rng.choice(
        (text + "x", text[:-1], text.split("/")[-1], "/", "", "..", "../" + text, "/" + text)
    )


def _change_dataset(rng: Random, file: h5py.File, names: _Names) -> None:
    if not names.of_datasets:
        return
    name = rng.choice(names.of_datasets)
    old = file[name]
    content, shape, dtype = old[()], old.shape, old.dtype
    del file[name]
    way = rng.randrange(8)
    if way == 0:
        file.create_dataset(name, rng.choice(_SHAPES), rng.choice((dtype, rng.choice(_TYPES))))
    elif way == 1:
        file.create_dataset(name, shape, rng.choice(_TYPES))
    elif way == 2:
        file.create_dataset(name, rng.choice(_HUGE), dtype, chunks=True, fillvalue=1.0)
    elif way == 3:
        file[name] = h5py.Empty(dtype)
    elif way == 4:
        layout = h5py.VirtualLayout(shape, dtype)
        layout[...] = h5py.VirtualSource("elsewhere.h5", "data", shape)
        file.create_virtual_dataset(name, layout)
    elif way == 5:
        file.create_dataset(name, shape, dtype, external=[("/etc/hostname", 0, h5py.h5f.UNLIMITED)])
    elif way == 6:
        file.create_dataset(
            name, data=content, chunks=shape or None, compression="gzip", shuffle=True
        )
    else:
        file.create_dataset(name, data=np.ravel(content)[: rng.choice((0, 1, 3, 9))])


def _change_links(rng: Random, file: h5py.File, names: _Names) -> None:
    name, other = (rng.choice(names.all[1:] or names.all) for _ in range(2))
    way = rng.randrange(7)
    if way == 0:
        del file[name]
    elif way == 1:
        file.move(name, name + rng.choice(("x", "_1", ":0", "/a", "\\a")))
    elif way == 2:
        file[f"{name}/{rng.choice(('a', '0', 'gru', 'vars'))}"] = file[other]  # perhaps a cycle
    elif way == 3:
        del file[name]
        file[name] = h5py.SoftLink(rng.choice(("/", "/" + other, "nowhere")))
    elif way == 4:
        del file[name]
        file[name] = h5py.ExternalLink(rng.choice(("/etc/hostname", "a.h5")), "/" + other)
    elif way == 5:
        del file[name]
        file[name] = np.dtype("f4")  # a named type
    else:
        file.copy(other, name + "_1")

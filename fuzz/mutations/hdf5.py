"""Mutations of HDF5 files, written by the HDF5 library: attributes, datasets, groups and links."""

import contextlib
import functools
from random import Random
from typing import Any

import h5py
import numpy as np

from fuzz.mutations import raw, trees

_SHAPES: tuple[Any, ...] = (
    (), (0,), (1,), (3,), (9,), (18,), (2, 9), (2, 3), (3, 9), (9, 3), (3, 3), (1,) * 12,
)  # fmt: skip
_HUGE = ((2**31, 2**31), (2**62,), (10**6, 10**6))
_TYPES: tuple[Any, ...] = (
    "f2", "f4", ">f4", "f8", "i4", "u2", "b1", "c8", "S3", "V2", h5py.string_dtype(),
    h5py.ref_dtype, h5py.vlen_dtype("f4"), [("a", "f4"), ("b", "i2")], h5py.enum_dtype({"RED": 0}),
    ("f4", (2,)),
)  # fmt: skip


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the file with one object or attribute changed by the HDF5 library."""
    names = _names(content)
    if not names:
        return raw.mutate(rng, content)
    image = h5py.h5f.open_file_image(content, flags=h5py.h5f.FILE_IMAGE_OPEN_RW)
    with h5py.File(image) as file:
        way = rng.choice((_change_attribute, _change_attribute, _change_dataset, _change_links))
        # What the library would not do is not done, such as a link that is there already.
        with contextlib.suppress(Exception):
            way(rng, file, names)
        file.flush()
        return bytes(image.get_file_image())


@functools.lru_cache(maxsize=32)
def _names(content: bytes) -> tuple[str, ...]:
    """Return the names of all objects, none if the file is damaged."""
    names = ["/"]
    try:
        with h5py.File(h5py.h5f.open_file_image(content)) as file:
            file.visit(names.append)
    except Exception:  # whatever a mutation before this one has done to it
        return ()
    return tuple(names)


def _change_attribute(rng: Random, file: h5py.File, names: tuple[str, ...]) -> None:
    holders = [name for name in names if len(file[name].attrs)]
    holder = file[rng.choice(holders or names)]
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
    """Return a name among names unchanged more often than not."""
    if rng.random() < 0.6 or not isinstance(value, (str, bytes)):
        return value
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return rng.choice(
        (text + "x", text[:-1], text.split("/")[-1], "/", "", "..", "../" + text, "/" + text)
    )


def _change_dataset(rng: Random, file: h5py.File, names: tuple[str, ...]) -> None:
    datasets = [name for name in names if isinstance(file[name], h5py.Dataset)]
    if not datasets:
        return
    name = rng.choice(datasets)
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


def _change_links(rng: Random, file: h5py.File, names: tuple[str, ...]) -> None:
    name, other = (rng.choice(names[1:] or names) for _ in range(2))
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

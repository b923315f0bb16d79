"""Wrong HDF5 files, as Keras' .weights.h5; all but the damaged ones are written by HDF5."""

import struct
import zlib

import pytest

from hostile.sound import arrays, keras_h5
from jaxgru._weights.formats.hdf5.blocks import lookup3

h5py = pytest.importorskip("h5py")

FIRST = "layers/gru/cell/vars/0"
LATEST = {"libver": "latest"}


def secret(folder):
    """Write a sound file of weights for the hostile one to reach for; return its path."""
    path = folder / "secret.h5"
    path.write_bytes(keras_h5())
    return str(path)


def replaced(replace):
    """Return a file in which the first array is what ``replace(file, array)`` puts there."""

    def spoil(file):
        array = file[FIRST][()]
        del file[FIRST]
        replace(file, array)

    return keras_h5(spoil)


def dataset(shape=None, chunk=None, fill=None, **options):
    """Return a file whose first array is created so, with a chunk by its bytes."""

    def replace(file, array):
        created = file.create_dataset(FIRST, shape or array.shape, "f4", **options)
        if chunk is not None:
            created.id.write_direct_chunk((0, 0), chunk)
        if fill is not None:
            created[...] = fill

    return replaced(replace)


def external(folder):
    link = h5py.ExternalLink(secret(folder), FIRST)
    return replaced(lambda file, _: file.update({FIRST: link}))


def soft():
    link = h5py.SoftLink("/layers/gru/cell/vars/1")
    return replaced(lambda file, _: file.update({FIRST: link}))


def external_storage(folder):
    (folder / "secret").write_bytes(bytes(range(72)))
    return dataset(external=[(str(folder / "secret"), 0, 72)])


def virtual(folder):
    def replace(file, array):
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[...] = h5py.VirtualSource(secret(folder), FIRST, array.shape)
        file.create_virtual_dataset(FIRST, layout)

    return replaced(replace)


def unknown_filter():
    # The number of lzf, and the size of its name.
    content = dataset(chunks=(2, 9), compression="lzf", fill=1)
    return content.replace(b"\x00\x7d\x08\x00", b"\x01\x7d\x08\x00")


def shared_type():
    def replace(file, array):
        file["type"] = array.dtype
        file.create_dataset(FIRST, array.shape, file["type"])[...] = array

    return replaced(replace)


def escape(file):
    file.move("layers/gru", "layers/gru\n\x1b[31m")
    cell = file["layers/gru\n\x1b[31m/cell/vars"]
    del cell["1"]
    cell["1"] = arrays()["uMatrix"][:, :5]


def patched(*changes):
    """Return a file with bytes replaced, each at a place or after where a signature stands."""
    content = bytearray(keras_h5())
    for place, offset, new in changes:
        start = offset + (content.index(place) if isinstance(place, bytes) else place)
        content[start : start + len(new)] = new
    return bytes(content)


def header_in_a_circle():
    # Version 1, one message, ... the root's: made a continuation at the root's own address.
    place = struct.unpack_from("<Q", keras_h5(), 64)[0]
    message = struct.pack("<HHBxxxQQ", 0x10, 16, 0, place + 16, 24)
    return patched((place, 2, struct.pack("<H", 1000)), (place, 16, message))


def tree_in_itself():
    place = keras_h5().index(b"TREE")
    return patched((place, 5, b"\1"), (place, 32, struct.pack("<Q", place)))  # above the leaves


def sealed(content):
    """Return a structure of the newer versions with its checksum."""
    return content + lookup3(content).to_bytes(4, "little")


def with_root(*messages):
    """Return a file of the newer version, its root's header made of these messages, and its end."""
    content = keras_h5(libver="v110")
    body = b"".join(struct.pack("<BHB", kind, len(m), 0) + m for kind, m in messages)
    header = sealed(b"OHDR\x02\x02" + struct.pack("<L", len(body)) + body)
    superblock = content[:12] + struct.pack("<4Q", 0, 2**64 - 1, len(content), len(content))
    return sealed(superblock) + content[48:] + header, len(content) + len(header)


def with_links(records, **heap):
    """Return a newer file whose root keeps links in a heap, with a tree of these records."""
    content, end = with_root((2, b"\0\0" + struct.pack("<2Q", 0, 0)))
    tree, root = end, end + 38
    fields = {"huge": 2**64 - 1, "rows": 0, "root": 2**64 - 1} | heap
    node = sealed(b"BTLF\0\x05" + records)
    head = sealed(
        b"BTHD\0\x05"
        + struct.pack("<LHHBB", 512, 11, 0, 100, 40)
        + struct.pack("<QHQ", root, len(records) // 11, len(records) // 11)
    )
    frhp = sealed(
        b"FRHP\0"
        + struct.pack("<HHBL", 7, 0, 2, 4096)
        + struct.pack("<2Q", 0, fields["huge"])
        + bytes(80)
        + struct.pack("<H2QHH", 4, 512, 65536, 32, 1)
        + struct.pack("<QH", fields["root"], fields["rows"])
    )
    content, _ = with_root((2, b"\0\0" + struct.pack("<2Q", end + 38 + len(node), tree)))
    return content + head + node + frhp, end + 38 + len(node) + len(frhp)


def newer_header_in_a_circle():
    _, end = with_root((16, bytes(16)))
    message = struct.pack("<2Q", end, 4 + 4 + 16 + 4)
    content, _ = with_root((16, message))
    return content + sealed(b"OCHK" + struct.pack("<BHB", 16, 16, 0) + message)


def heap_whose_table_is_itself():
    """Return a table of blocks whose every entry is the table: a way down that never ends."""
    records = bytes(4) + b"\0" + b"\xff\xff\xff\x7f\x10\0"
    _, end = with_links(records, rows=21)
    content, _ = with_links(records, rows=21, root=end)
    return content + sealed(b"FHIB\0" + bytes(12) + struct.pack("<Q", end) * 84)


_EXTERNAL = "a link of another kind (external): expected hard links only"
_LARGE = "vars/0 declares ... expected at most"
_WHOLE = {"chunks": (2, 9)}

FILES = {
    "as it should be": (keras_h5(), None),
    # What reaches elsewhere
    "external link": (external, _EXTERNAL),
    "soft link": (soft(), "a link of another kind (soft)"),
    "external storage": (external_storage, "values in another file (external storage)"),
    "virtual dataset": (virtual, "made of others (virtual)"),
    "filter that is a plugin": (unknown_filter(), "filter number 32001, a plugin"),
    "type elsewhere in the file": (shared_type(), "type of ... vars/0 is shared"),
    # Circles, and ways without end
    "group within itself": (
        keras_h5(lambda file: file["layers/gru"].update({"again": file["layers"]})),
        "/layers/gru/again is linked more than once"),
    "groups a thousand deep": (
        keras_h5(lambda file: file.create_group("/".join(["a"] * 1000))),
        "more than 32 groups deep"),
    "tree that is its own child": (tree_in_itself(), "symbol table of / refers twice"),
    "header in a circle": (header_in_a_circle(), "continues in a circle"),
    "newer header in a circle": (newer_header_in_a_circle(), "continues in a circle"),
    "heap of 4 GiB without rows": (
        with_links(bytes(4) + b"\0" + b"\xff" * 6, rows=3)[0], "the heap of links in / has no row"),
    "heap whose table is itself": (
        heap_whose_table_is_itself(), "has an object beyond its block of 65536 bytes"),
    "large object that is nowhere": (
        with_links(bytes(4) + b"\x10" + bytes(6))[0], "has no large object"),
    "addresses beyond the file": (
        patched((64, 0, struct.pack("<Q", 2**63))), "expected a place within the file"),
    # Sizes
    "4 exabytes of fill value": (
        dataset((2**30, 2**30), chunks=(2**10, 2**10), fillvalue=1.0), _LARGE),
    "chunk that becomes 80 MiB": (
        lambda f: dataset(chunk=zlib.compress(bytes(80 * 2**20), 9), compression="gzip", **_WHOLE),
        "vars/0 has a chunk of"),
    "chunk of LZF that grows to 80 MiB": (
        lambda f: dataset(chunk=b"\0x" + b"\xe0\xff\0" * 300_000, compression="lzf", **_WHOLE),
        "vars/0 has a chunk of"),
    # Damage
    "an unknown version": (patched((8, 0, b"\7")), "its HDF5 layout is version 7: expected 0 to 3"),
    "name that writes to the terminal": (
        keras_h5(escape), r"\n\x1b[31m': expected a printable name"),
}  # fmt: skip

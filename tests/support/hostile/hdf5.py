"""Hostile HDF5 files, as Keras' .weights.h5; all but the damaged ones are written by HDF5."""

import struct

from hostile.cases import refused
from hostile.sound import arrays, keras_h5
from jaxgru.weights.formats.hdf5.checksums import lookup3

FIRST = "layers/gru/cell/vars/0"


def _secret(folder):
    """Write a sound file of weights for the hostile one to reach for; return its path."""
    path = folder / "secret.h5"
    path.write_bytes(keras_h5())
    return str(path)


def _replaced(replace, **options):
    """Return a file in which the first array is what ``replace(file, array)`` puts there."""

    def spoil(file):
        array = file[FIRST][()]
        del file[FIRST]
        replace(file, array)

    return keras_h5(spoil, **options)


def _sealed(content):
    """Return a structure of the newer versions with its checksum."""
    return content + lookup3(content).to_bytes(4, "little")


def _with_root(*messages):
    """Return a file of the newer version, its root's header made of these messages, and its end."""
    content = keras_h5(libver="v110")
    body = b"".join(struct.pack("<BHB", kind, len(m), 0) + m for kind, m in messages)
    header = _sealed(b"OHDR\x02\x02" + struct.pack("<L", len(body)) + body)
    superblock = content[:12] + struct.pack("<4Q", 0, 2**64 - 1, len(content), len(content))
    return _sealed(superblock) + content[48:] + header, len(content) + len(header)


def _with_links(records, **heap):
    """Return a newer file whose root keeps links in a heap, with a tree of these records."""
    content, end = _with_root((2, b"\0\0" + struct.pack("<2Q", 0, 0)))
    tree, root = end, end + 38
    fields = {"huge": 2**64 - 1, "rows": 0, "root": 2**64 - 1} | heap
    node = _sealed(b"BTLF\0\x05" + records)
    head = _sealed(
        b"BTHD\0\x05"
        + struct.pack("<LHHBB", 512, 11, 0, 100, 40)
        + struct.pack("<QHQ", root, len(records) // 11, len(records) // 11)
    )
    frhp = _sealed(
        b"FRHP\0"
        + struct.pack("<HHBL", 7, 0, 2, 4096)
        + struct.pack("<2Q", 0, fields["huge"])
        + bytes(80)
        + struct.pack("<H2QHH", 4, 512, 65536, 32, 1)
        + struct.pack("<QH", fields["root"], fields["rows"])
    )
    content, _ = _with_root((2, b"\0\0" + struct.pack("<2Q", end + 38 + len(node), tree)))
    return content + head + node + frhp, end + 38 + len(node) + len(frhp)


@refused(r"a link of another kind \(external\)", "h5py")
def external_link_in_a_newer_file(folder):
    """A link to another file's array, in a header of the newer version."""
    import h5py

    secret = _secret(folder)
    return _replaced(
        lambda file, _: file.update({FIRST: h5py.ExternalLink(secret, FIRST)}), libver="latest"
    )


@refused("goes on in a circle", "h5py")
def newer_header_that_goes_on_in_itself(folder):
    """An object's header whose continuation continues with itself."""
    _, end = _with_root((16, bytes(16)))
    message = struct.pack("<2Q", end, 4 + 4 + 16 + 4)
    content, _ = _with_root((16, message))
    return content + _sealed(b"OCHK" + struct.pack("<BHB", 16, 16, 0) + message)


@refused("the heap of links in / has (no row|an object of kind)", "h5py")
def heap_of_rows_without_end(folder):
    """A reference to an object at the end of a heap of 4 GiB, which has no rows there."""
    content, _ = _with_links(bytes(4) + b"\0" + b"\xff" * 6, rows=3)
    return content


@refused("has an object beyond its block of 65536 bytes", "h5py")
def heap_whose_table_is_itself(folder):
    """A table of blocks whose every entry is the table: a way down that never ends."""
    content, end = _with_links(bytes(4) + b"\0" + b"\xff\xff\xff\x7f\x10\0", rows=21)
    content, _ = _with_links(bytes(4) + b"\0" + b"\xff\xff\xff\x7f\x10\0", rows=21, root=end)
    table = b"FHIB\0" + bytes(12) + struct.pack("<Q", end) * 84
    return content + _sealed(table)


@refused("has no large object", "h5py")
def large_object_that_is_nowhere(folder):
    """A link that is a large object, in a heap that has none."""
    return _with_links(bytes(4) + b"\x10" + bytes(6))[0]


@refused("expected its checksum", "h5py")
def header_with_another_checksum(folder):
    """An object's header whose bytes are not those that were summed."""
    content = bytearray(keras_h5(libver="latest"))
    content[content.index(b"OHDR") + 20] ^= 1
    return bytes(content)


@refused("reading it would take more than|damaged chunk|a chunk of", "h5py")
def lzf_that_grows(folder):
    """A chunk of LZF whose 3 bytes are 264 each, of 80 MiB in all."""

    def replace(file, array):
        options = {"chunks": array.shape, "compression": "lzf"}
        dataset = file.create_dataset(FIRST, array.shape, "f4", **options)
        dataset.id.write_direct_chunk((0, 0), b"\0x" + b"\xe0\xff\0" * 300_000)

    return _replaced(replace, libver="latest")


@refused(r"a link of another kind \(external\)", "h5py")
def external_link(folder):
    """An array that is a link to another file's: weights read from anywhere on the disk."""
    import h5py

    secret = _secret(folder)
    return _replaced(lambda file, _: file.update({FIRST: h5py.ExternalLink(secret, FIRST)}))


@refused(r"a link of another kind \(external\)", "h5py")
def external_link_for_the_layers(folder):
    """A group that is a link to another file's root."""
    import h5py

    secret = _secret(folder)

    def spoil(file):
        del file["layers"]
        file["layers"] = h5py.ExternalLink(secret, "/layers")

    return keras_h5(spoil)


@refused(r"a link of another kind \(soft\)", "h5py")
def soft_link(folder):
    """An array that is a link by name within the file."""
    import h5py

    return _replaced(lambda file, _: file.update({FIRST: h5py.SoftLink("/layers/gru/cell/vars/1")}))


@refused(r"a link of another kind \(soft\)", "h5py")
def soft_link_to_itself(folder):
    """A link that leads to itself, which is never resolved."""
    import h5py

    return _replaced(lambda file, _: file.update({FIRST: h5py.SoftLink(f"/{FIRST}")}))


@refused(r"values in another file \(external storage\)", "h5py")
def external_storage(folder):
    """An array whose numbers are the bytes of any other file."""
    (folder / "secret").write_bytes(bytes(range(72)))
    external = [(str(folder / "secret"), 0, 72)]

    def replace(file, array):
        file.create_dataset(FIRST, array.shape, array.dtype, external=external)

    return _replaced(replace)


@refused(r"made of others \(virtual\)", "h5py")
def virtual_dataset(folder):
    """An array put together of other files' arrays."""
    import h5py

    secret = _secret(folder)

    def replace(file, array):
        layout = h5py.VirtualLayout(array.shape, array.dtype)
        layout[...] = h5py.VirtualSource(secret, FIRST, array.shape)
        file.create_virtual_dataset(FIRST, layout)

    return _replaced(replace)


@refused("/layers/gru/again is linked twice", "h5py")
def group_within_itself(folder):
    """A group that is a member of itself: a walk through the file never ends."""
    return keras_h5(lambda file: file["layers/gru"].update({"again": file["layers"]}))


@refused("/layers/gru/b is linked twice", "h5py")
def links_that_double(folder):
    """Thirty groups, each twice in the one before: a thousand million paths to an array."""

    def spoil(file):
        group = file["layers/gru"]
        for _ in range(30):
            inner = group.create_group("a")
            group["b"] = inner
            group = inner

    return keras_h5(spoil)


@refused("more than 32 groups deep", "h5py")
def groups_nested_deeply(folder):
    """Groups, a thousand deep."""
    return keras_h5(lambda file: file.create_group("/".join(["a"] * 1000)))


@refused("vars/0 declares .*expected at most", "h5py")
def huge_shape_without_data(folder):
    """An array of 4 exabytes, none of which is stored: it is all fill value."""

    def replace(file, array):
        file.create_dataset(FIRST, (2**30, 2**30), "f4", chunks=(2**10, 2**10), fillvalue=1.0)

    return _replaced(replace)


@refused("vars/0 declares .*expected at most", "h5py")
def shape_whose_product_overflows(folder):
    """An array whose number of bytes is 0 modulo 2 to the 64."""

    def replace(file, array):
        file.create_dataset(FIRST, (2**31, 2**31, 4), "f4", chunks=(1, 1, 1))

    return _replaced(replace)


@refused("vars/0 declares .*expected at most", "h5py")
def compressed_zeros(folder):
    """An array of 80 MiB of zeros in some kilobytes."""

    def replace(file, array):
        options = {"chunks": (2**10, 2**10), "compression": "gzip", "compression_opts": 1}
        file.create_dataset(FIRST, (20 * 2**10, 2**10), "f4", **options)[...] = 0

    return _replaced(replace)


@refused("vars/0 has a chunk of", "h5py")
def chunk_larger_than_said(folder):
    """A chunk of 72 bytes that becomes 80 MiB."""
    import zlib

    def replace(file, array):
        options = {"chunks": array.shape, "compression": "gzip"}
        dataset = file.create_dataset(FIRST, array.shape, "f4", **options)
        dataset.id.write_direct_chunk((0, 0), zlib.compress(bytes(80 * 2**20), 9))

    return _replaced(replace)


@refused("filter number 32001, a plugin", "h5py")
def unknown_filter(folder):
    """A filter for which HDF5 would load a plugin: a program from the disk."""

    def replace(file, array):
        file.create_dataset(FIRST, data=array, chunks=array.shape, compression="lzf")

    # The number of lzf, and the size of its name.
    return _replaced(replace).replace(b"\x00\x7d\x08\x00", b"\x01\x7d\x08\x00")


@refused("vars/0 holds references", "h5py")
def references(folder):
    """References to objects where numbers should be."""
    import h5py

    def replace(file, array):
        file.create_dataset(FIRST, array.shape, h5py.ref_dtype)

    return _replaced(replace)


@refused("vars/0 holds sequences", "h5py")
def variable_lengths(folder):
    """Lists of any length where numbers should be."""
    import h5py

    def replace(file, array):
        file.create_dataset(FIRST, array.shape, h5py.vlen_dtype("f4"))

    return _replaced(replace)


@refused("type of .*vars/0 is shared", "h5py")
def type_shared_in_the_file(folder):
    """An array whose type is an object elsewhere in the file."""
    import numpy as np

    def replace(file, array):
        file["type"] = np.dtype("f4")
        file.create_dataset(FIRST, array.shape, file["type"])[...] = array

    return _replaced(replace)


@refused(r"\\n\\x1b\[31m.: expected a printable name", "h5py")
def name_that_writes_to_the_terminal(folder):
    """A group's name with a line's end and a terminal's escape, in a message about its arrays."""

    def spoil(file):
        file.move("layers/gru", "layers/gru\n\x1b[31m")
        cell = file["layers/gru\n\x1b[31m/cell/vars"]
        del cell["1"]
        cell["1"] = arrays()["uMatrix"][:, :5]

    return keras_h5(spoil)


@refused("symbol table of / leads twice", "h5py")
def tree_that_is_its_own_child(folder):
    """The root's tree of names with itself as a child: a walk through it never ends."""
    content = bytearray(keras_h5())
    place = content.index(b"TREE")
    content[place + 5] = 1  # a level above the leaves
    content[place + 32 : place + 40] = struct.pack("<Q", place)
    return bytes(content)


@refused("goes on in a circle", "h5py")
def header_that_goes_on_in_itself(folder):
    """An object's header whose continuation is the header again."""
    content = bytearray(keras_h5())
    # Version 1, one message, ... the root's: made a continuation at the root's own address.
    place = struct.unpack_from("<Q", content, 64)[0]
    message = struct.pack("<HHBxxxQQ", 0x10, 16, 0, place + 16, 24)
    content[place + 2 : place + 4] = struct.pack("<H", 1000)
    content[place + 16 : place + 40] = message
    return bytes(content)


@refused("expected a place within the file", "h5py")
def addresses_beyond_the_file(folder):
    """Every address of the root is beyond the end."""
    content = bytearray(keras_h5())
    content[64:72] = struct.pack("<Q", 2**63)
    return bytes(content)

"""Hostile HDF5 files, as Keras' .weights.h5; all but the damaged ones are written by HDF5."""

import struct

from hostile.cases import refused
from hostile.sound import arrays, keras_h5

FIRST = "layers/gru/cell/vars/0"


def _secret(folder):
    """Write a sound file of weights for the hostile one to reach for; return its path."""
    path = folder / "secret.h5"
    path.write_bytes(keras_h5())
    return str(path)


def _replaced(replace):
    """Return a file in which the first array is what ``replace(file, array)`` puts there."""

    def spoil(file):
        array = file[FIRST][()]
        del file[FIRST]
        replace(file, array)

    return keras_h5(spoil)


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

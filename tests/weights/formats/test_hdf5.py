"""HDF5 files: what h5py wrote is read bit-for-bit, and what is not read is refused with its reason.

h5py is the oracle: every dataset and attribute of text is compared with what it gives.
"""

import io
import re
import struct

import ml_dtypes
import numpy as np
import pytest
from equal import assert_same

from jaxgru._weights.formats.hdf5 import Hdf5
from jaxgru._weights.io import WeightsError

h5py = pytest.importorskip("h5py")

RANDOM = np.random.default_rng(0)
ARRAY = RANDOM.standard_normal((5, 12)).astype(np.float32)


def opened(fill, **options):
    """Return a file as it is read, once ``fill`` has written into it, and its bytes."""
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        fill(file)
    return Hdf5(content, len(content.getvalue())), content


# Every way in which h5py bounds a file's version, with and without the order of creation: these
# differ in headers, links, attributes and the indexes of chunks.
VERSIONS = [
    {"libver": libver, "track_order": tracked}
    for libver in ("earliest", "v108", "v110", "v112", "v114", "latest")
    for tracked in (False, True)
]
# An index of each kind: a single chunk, a list of fixed length, one that grows, a tree; the fixed
# ones of two levels or pages, and what each has beside a chunk that was filtered.
CHUNKS = [
    {"chunks": (5, 12)},
    {"chunks": (5, 12), "compression": "gzip"},
    {"chunks": (2, 5), "compression": "gzip", "shuffle": True},
    {"chunks": (2, 5), "compression": "lzf"},
    {"chunks": (3, 4), "compression": "lzf", "shuffle": True, "fletcher32": True},
    {"chunks": (1, 1), "maxshape": (70, 80)},
    {"chunks": (1, 1), "maxshape": (None, 12)},
    {"chunks": (2, 5), "maxshape": (5, None), "fletcher32": True},
    {"chunks": (1, 1), "maxshape": (None, None)},
    {"chunks": (8, 16), "maxshape": (None, None), "compression": "gzip"},
]


class TestAgainstH5py:
    @pytest.mark.parametrize("version", VERSIONS, ids=str)
    def test_versions(self, version):
        def fill(file):
            for i, options in enumerate(CHUNKS):
                file.create_dataset(f"chunks/z{7 * i % 10}", data=ARRAY, **options)
                file.create_dataset(f"big-endian/{i}", data=ARRAY.astype(">f8"), **options)
            for i in range(30):  # more than a header holds
                file[f"many/{7 * i % 30}"] = np.full((2,), i, np.float32)
                file.create_group(f"deep/{i}/er")
                file["deep"].attrs[f"{7 * i % 30}"] = "x" * i
            file["one number"] = np.float32(1.5)
            file["deep"].attrs["long"] = "x" * 70_000

        _assert_same(*opened(fill, **version), count=51)

    def test_types(self):
        dtypes = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]
        halves = ARRAY.astype(ml_dtypes.bfloat16)

        def fill(file):
            for dtype in dtypes:
                file[dtype] = ARRAY.astype(dtype)

        h5, content = opened(fill)
        _assert_same(h5, content, count=6)
        assert all(h5.read(path).dtype.isnative for path in dtypes)

        def fill_halves(file):
            file.create_dataset("0", data=halves)
            file["0"].attrs["dtype"] = "bfloat16"

        # h5py has no such numbers: Keras has it write their bits.
        assert_same(opened(fill_halves)[0].read("0"), halves)

    @pytest.mark.parametrize("libver", ["earliest", "latest"])
    def test_lists_of_several_levels(self, libver):
        """Pages of a list of chunks, blocks of blocks of a heap, and trees of several levels."""
        long = np.arange(9000, dtype=np.float32)

        def fill(file):
            for i in range(400):
                file.create_group(f"{i}" + "x" * 600)
                file.attrs[f"{i}"] = np.bytes_(b"x" * 500)
            for growing in (9000, None):
                file.create_dataset(f"{growing}", data=long, chunks=(2,), maxshape=(growing,))
            if libver == "latest":
                file.attrs["large"] = np.bytes_(b"x" * 100_000)

        _assert_same(*opened(fill, libver=libver), count=2)

    @pytest.mark.parametrize("layout", ["chunks in a row", "compact", "checksums shuffled"])
    def test_layouts_that_h5py_has_no_option_for(self, layout):
        def fill(file):
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            if layout == "compact":
                plist.set_layout(h5py.h5d.COMPACT)
            else:
                plist.set_chunk((2, 5))
            if layout == "chunks in a row":  # allotted at once they need no index
                plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
            if layout == "checksums shuffled":  # whose four bytes are no whole number
                plist.set_fletcher32()
                plist.set_shuffle()
            space = h5py.h5s.create_simple(ARRAY.shape)
            dataset = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F64LE, space, plist)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, ARRAY.astype(np.float64))

        _assert_same(*opened(fill, libver="latest"), count=1)

    def test_text(self):
        texts = {
            "str": "gruß",
            "bytes": b"gru",
            "fixed": np.bytes_(b"gru_1"),
            "long": "x" * 200_000,
            "empty": "",
            "list of str": ["a", "", "ccc"],
            "list of bytes": np.array([b"a", b"bbb"]),
            "none": np.array([], np.float64),
            "piece0": ["a", "b"],
            "piece1": ["c"],
        }

        def fill(file):
            group = file.create_group("group")
            for name, value in texts.items():
                file.attrs[name] = group.attrs[name] = value

        h5, content = opened(fill)
        _assert_same(h5, content, count=0)
        assert h5.text("group", "str") == "gruß"
        lists = {"list of bytes": ("a", "bbb"), "none": (), "piece": ("a", "b", "c")}
        assert {name: h5.texts("", name) for name in lists} == lists
        for path, name in (("", "absent"), ("nowhere", "str")):
            assert h5.text(path, name) is h5.texts(path, name) is None

    def test_places(self):
        def fill(file):
            file["a/b/c"] = ARRAY
            file["type"] = np.dtype("f4")
            file["nothing"] = h5py.Empty("f4")

        h5, _ = opened(fill)
        assert h5.groups() == ("a",)
        assert h5.arrays("a/b") == ("c",)
        assert h5.arrays("nowhere") == h5.groups("a/b/c") == ()
        paths = ["", "a/b", "a/b/c", "type"]
        assert [h5.has_group(path) for path in paths] == [True, True, False, False]
        assert [h5.has_array(path) for path in paths] == [False, False, True, False]
        assert h5.shape("a/b/c") == (5, 12)


def _dataset(**options):
    """Return what writes a dataset, perhaps with a chunk by its bytes or one row of numbers."""
    chunk, row = options.pop("chunk", None), options.pop("row", None)
    options = {"shape": (2, 2), "dtype": "f4"} | options

    def fill(file):
        dataset = file.create_dataset("a", **options)
        if chunk is not None:
            dataset.id.write_direct_chunk((0, 0), chunk)
        if row is not None:
            dataset[row] = 1.0

    return fill


_FLOATS = ": expected floating-point"
_WHOLE, _ROWS = {"chunks": (2, 2)}, {"shape": (3, 4), "chunks": (1, 4)}
_NO_FLOATS = np.zeros(3, ml_dtypes.bfloat16)
_UNREADABLE = {
    "integers": (_dataset(dtype="i4"), f"holds integers{_FLOATS}"),
    "text": (lambda f: f.update({"a": "x"}), f"holds text{_FLOATS}"),
    "references": (_dataset(dtype=h5py.ref_dtype), f"holds references{_FLOATS}"),
    "lists": (_dataset(dtype=h5py.vlen_dtype("f4")), f"holds sequences{_FLOATS}"),
    "compounds": (_dataset(dtype=[("x", "f4"), ("y", "f4")]), f"holds compounds{_FLOATS}"),
    "no bfloat16": (lambda f: f.update({"a": _NO_FLOATS}), f"holds opaque values{_FLOATS}"),
    "long doubles": (_dataset(dtype=np.longdouble), "of an unknown kind, 16 bytes each"),
    "nothing": (lambda f: f.update({"a": h5py.Empty("f4")}), r"has shape \(0,\)"),
    "nothing stored": (_dataset(), "has no values in the file"),
    "no chunk stored": (_dataset(**_ROWS), "has no chunks in the file"),
    "a chunk missing": (_dataset(**_ROWS, row=0), "has 1 chunks in the file: expected 3"),
    "a chunk missing in a list": (
        _dataset(shape=(9, 4), chunks=(1, 4), maxshape=(None, 4), row=8),
        "has 1 chunks in the file: expected 9"),
    "a filter of HDF5's own": (
        _dataset(scaleoffset=2, **_WHOLE),
        "filter scaleoffset: expected deflate, lzf, shuffle or fletcher32"),
    "a damaged checksum": (
        _dataset(fletcher32=True, chunk=bytes(16) + b"sums", **_WHOLE),
        "damaged chunk: expected its checksum"),
    "damaged LZF": (
        _dataset(compression="lzf", chunk=b"\xe0\x01\xff", **_WHOLE), "damaged chunk .no LZF"),
    "a damaged chunk": (
        _dataset(compression="gzip", chunk=b"no zlib", **_WHOLE), "has a damaged chunk"),
}  # fmt: skip


@pytest.mark.parametrize("name", _UNREADABLE)
def test_arrays_that_are_refused_once_asked_for(name):
    fill, message = _UNREADABLE[name]
    for libver in ("earliest", "latest"):
        h5, _ = opened(fill, libver=libver)
        with pytest.raises(WeightsError, match=f"^/a .*{message}"):
            h5.read("a")


def test_what_is_not_there_or_not_whole():
    h5, content = opened(lambda file: file.create_group("a"))
    for path in ("a", "b", "a/b"):
        with pytest.raises(WeightsError, match=f"^/{path} is missing: expected an array there"):
            h5.read(path)
    whole = content.getvalue()
    with pytest.raises(WeightsError, match=r"ends after \d+ of \d+ bytes"):
        Hdf5(io.BytesIO(whole[:100]), len(whole))  # shorter than it was when opened
    with pytest.raises(WeightsError, match=r"begins with b'.*': expected b'.x89HDF"):
        opened(lambda file: file.update({"a": ARRAY}), userblock_size=512)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([1, 2], "the attribute n of / holds integers: expected text"),
        (np.bytes_(b"\xff\xfe"), r"holds b'\\xff\\xfe': expected text in UTF-8"),
        (["a", "b"], "the attribute n of / holds 2 texts: expected 1"),
    ],
)
def test_attributes_that_are_no_text(value, message):
    h5, _ = opened(lambda file: file.attrs.update({"n": value}))
    with pytest.raises(WeightsError, match=message):
        h5.text("", "n")


def test_reading_much_of_a_small_file_again_and_again_is_refused():
    """A thousand attributes that are the same 100 kB: a small file, and much to read."""

    def fill(file):
        file.attrs["long"] = "x" * 100_000
        file.attrs["names"] = [""] * 1000

    _, content = opened(fill)
    damaged = bytearray(content.getvalue())
    # Each text of the list is made to be the long one: length, heap's address, number in it.
    reference = _reference_to(damaged, b"x" * 100_000)
    place = damaged.index(b"names\0")
    # Before the name are the sizes of the name, the type and the shape, each in eights.
    sizes = np.frombuffer(damaged[place - 6 : place], "<u2").astype(int)
    start = place + int(sum(-(-sizes // 8) * 8))
    for i in range(1000):
        damaged[start + 16 * i : start + 16 * (i + 1)] = reference
    h5 = Hdf5(io.BytesIO(bytes(damaged)), len(damaged))
    with pytest.raises(WeightsError, match="reading it would take more than 67108864 bytes"):
        h5.texts("", "names")


@pytest.mark.slow
def test_headers_that_share_their_messages_are_refused():
    """Fifty headers of 65,535 empty messages each, all of them in the same place."""
    _, content = opened(lambda file: [file.create_group(f"{i:02}") for i in range(50)])
    damaged = bytearray(content.getvalue())
    start = len(damaged)
    shared = start + 50 * 40
    for _ in range(50):
        # Version, number of messages, links, size of those here: one, for where others are.
        header = struct.pack("<BxHIIxxxx", 1, 65535, 1, 24)
        damaged += header + struct.pack("<HHBxxxQQ", 0x10, 16, 0, shared, 2**19)
    damaged += bytes(2**19)
    places = [match.start() for match in re.finditer(b"SNOD", bytes(damaged))]
    # A table of symbols has 40 bytes for each, an offset of its name and then its address.
    members = [place + 8 + 40 * i for place in places for i in range(damaged[place + 6])]
    for i, member in enumerate(members):
        struct.pack_into("<Q", damaged, member + 8, start + 40 * i)
    with pytest.raises(WeightsError, match="reading it would take more than 67108864 bytes"):
        Hdf5(io.BytesIO(bytes(damaged)), len(damaged))


def _reference_to(content, text):
    """Return how a text of any length is referred to: its length, heap and number there."""
    place = content.index(text)
    collection = content.rindex(b"GCOL", 0, place)
    index = int.from_bytes(content[place - 16 : place - 14], "little")
    parts = ((len(text), 4), (collection, 8), (index, 4))
    return b"".join(value.to_bytes(size, "little") for value, size in parts)


def _assert_same(h5, content, *, count):
    """Compare everything with what h5py reads."""
    found = []

    def visit(path, item):
        for name, value in item.attrs.items():
            values = value.tolist() if isinstance(value, np.ndarray) else [value]
            as_text = [v.decode() if isinstance(v, bytes) else v for v in values]
            assert h5.texts(path, name) == tuple(as_text)
        if isinstance(item, h5py.Dataset):
            found.append(path)
            native = np.asarray(item[()]).astype(item.dtype.newbyteorder("="))
            np.testing.assert_array_equal(h5.read(path), native, strict=True)
        else:
            groups = [name for name in item if isinstance(item[name], h5py.Group)]
            assert h5.groups(path) == tuple(groups)
            assert h5.arrays(path) == tuple(name for name in item if name not in groups)

    with h5py.File(content) as file:
        visit("", file)
        file.visititems(visit)
    assert len(found) == count

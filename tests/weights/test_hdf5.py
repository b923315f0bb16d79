"""HDF5 files: what h5py wrote is read to the bit, and what is not read is refused with its reason.

h5py is the oracle: every dataset and attribute of text is compared with what it gives.
"""

import io
import re
import struct

import ml_dtypes
import numpy as np
import pytest

from jaxgru.weights import WeightsError
from jaxgru.weights.formats.hdf5 import Hdf5

h5py = pytest.importorskip("h5py")

RANDOM = np.random.default_rng(0)
ARRAY = RANDOM.standard_normal((5, 12)).astype(np.float32)


def opened(fill, **options):
    """Return a file as it is read, once ``fill`` has written into it, and its bytes."""
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        fill(file)
    return Hdf5(content, len(content.getvalue())), content


class TestAgainstH5py:
    def test_types(self):
        dtypes = ["<f2", ">f2", "<f4", ">f4", "<f8", ">f8"]

        def fill(file):
            for dtype in dtypes:
                file[dtype] = ARRAY.astype(dtype)
            file["one number"] = np.float32(1.5)

        h5, content = opened(fill)
        _assert_same(h5, content, count=7)
        assert all(h5.read(path).dtype.isnative for path in dtypes)

    def test_bfloat16(self):
        def fill(file):
            file.create_dataset("0", data=ARRAY.astype(ml_dtypes.bfloat16))
            file["0"].attrs["dtype"] = "bfloat16"

        h5, _ = opened(fill)
        # As bits, since h5py knows no such numbers.
        expected = ARRAY.astype(ml_dtypes.bfloat16).view(np.uint16)
        np.testing.assert_array_equal(h5.read("0").view(np.uint16), expected)

    @pytest.mark.parametrize(
        "options",
        [
            {"chunks": (2, 5)},
            {"chunks": (2, 5), "compression": "gzip"},
            {"chunks": (3, 4), "compression": "gzip", "shuffle": True},
            {"chunks": (8, 16), "maxshape": (None, None), "shuffle": True},
            {"chunks": (1, 1)},  # a tree of two levels
        ],
        ids=str,
    )
    def test_chunks(self, options):
        def fill(file):
            file.create_dataset("a", data=ARRAY, **options)
            file.create_dataset("b", data=ARRAY.astype(">f8"), **options)

        _assert_same(*opened(fill), count=2)

    def test_many_members(self):
        def fill(file):  # more than one node of a tree has
            for i in range(400):
                file[f"group/{i}"] = np.full((2,), i, np.float32)
                file.create_group(f"other/{i}/deep/er")

        _assert_same(*opened(fill), count=400)

    def test_compact(self):
        def fill(file):
            plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            plist.set_layout(h5py.h5d.COMPACT)
            space = h5py.h5s.create_simple(ARRAY.shape)
            dataset = h5py.h5d.create(file.id, b"a", h5py.h5t.IEEE_F32LE, space, plist)
            dataset.write(h5py.h5s.ALL, h5py.h5s.ALL, ARRAY)

        _assert_same(*opened(fill), count=1)

    def test_links_of_a_group_with_messages(self):
        # A group that once had a link of the newer kinds keeps all its links in its header.
        def fill(file):
            file["a"], file["b"] = ARRAY, ARRAY + 1
            file["c"] = h5py.ExternalLink("elsewhere.h5", "/")
            del file["c"]

        _assert_same(*opened(fill), count=2)

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
        }

        def fill(file):
            group = file.create_group("group")
            for name, value in texts.items():
                file.attrs[name] = group.attrs[name] = value

        h5, content = opened(fill)
        _assert_same(h5, content, count=0)
        assert h5.text("group", "str") == "gruß"
        assert h5.texts("", "list of bytes") == ("a", "bbb")
        assert h5.texts("", "none") == ()
        assert h5.text("", "absent") is None
        assert h5.text("nowhere", "str") is None
        assert h5.texts("", "absent") is None

    def test_a_list_in_pieces(self):
        def fill(file):
            file.attrs["names0"], file.attrs["names1"] = ["a", "b"], ["c"]

        assert opened(fill)[0].texts("", "names") == ("a", "b", "c")

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


_UNREADABLE = {
    "integers": (lambda f: f.update({"a": [1]}), "holds integers: expected floating-point"),
    "text": (lambda f: f.update({"a": "x"}), "holds text: expected floating-point"),
    "compounds": (
        lambda f: f.create_dataset("a", (2,), [("x", "f4"), ("y", "f4")]),
        "holds compounds: expected floating-point",
    ),
    "no bfloat16": (
        lambda f: f.create_dataset("a", data=np.zeros(3, ml_dtypes.bfloat16)),
        "holds opaque values: expected floating-point",
    ),
    "long doubles": (
        lambda f: f.create_dataset("a", (2,), np.longdouble),
        "of an unknown kind, 16 bytes each",
    ),
    "nothing": (lambda f: f.update({"a": h5py.Empty("f4")}), r"has shape \(0,\)"),
    "nothing stored": (lambda f: f.create_dataset("a", (3, 4), "f4"), "has no values in the file"),
    "no chunk stored": (
        lambda f: f.create_dataset("a", (3, 4), "f4", chunks=(1, 4)),
        "has no chunks in the file",
    ),
    "a chunk missing": (
        lambda f: f.create_dataset("a", (3, 4), "f4", chunks=(1, 4)).__setitem__(0, 1.0),
        "has 1 chunks in the file: expected 3",
    ),
    "checksums": (
        lambda f: f.create_dataset("a", data=ARRAY, fletcher32=True),
        "filter fletcher32: expected deflate or shuffle",
    ),
    "a damaged chunk": (
        lambda f: f.create_dataset("a", (2, 2), "f4", chunks=(2, 2), compression="gzip").id
        .write_direct_chunk((0, 0), b"no zlib"),
        "has a damaged chunk",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", _UNREADABLE)
def test_arrays_that_are_refused_once_asked_for(name):
    fill, message = _UNREADABLE[name]
    h5, _ = opened(fill)
    with pytest.raises(WeightsError, match=f"^/a .*{message}"):
        h5.read("a")


def test_what_is_not_there():
    h5, _ = opened(lambda file: file.create_group("a"))
    for path in ("a", "b", "a/b"):
        with pytest.raises(WeightsError, match=f"^/{path} is missing: expected an array there"):
            h5.read(path)


_NO_TEXT = {
    "numbers": ([1, 2], "the attribute n of / holds integers: expected text"),
    "no UTF-8": (np.bytes_(b"\xff\xfe"), r"holds b'\\xff\\xfe': expected text in UTF-8"),
}


@pytest.mark.parametrize("name", _NO_TEXT)
def test_attributes_that_are_no_text(name):
    value, message = _NO_TEXT[name]
    h5, _ = opened(lambda file: file.attrs.update({"n": value}))
    with pytest.raises(WeightsError, match=message):
        h5.texts("", "n")


def test_a_list_where_one_text_is_expected():
    h5, _ = opened(lambda file: file.attrs.update({"n": ["a", "b"]}))
    with pytest.raises(WeightsError, match="the attribute n of / holds 2 texts: expected 1"):
        h5.text("", "n")


_LAYOUTS = {
    "the latest": ({"libver": "latest"}, "its HDF5 layout is version 3: expected 0 or 1"),
    "in order of creation": ({"track_order": True}, "begins with 0x4f: expected version 1"),
    "behind a user's block": ({"userblock_size": 512}, "begins with b'.*': expected b'.x89HDF"),
}


@pytest.mark.parametrize("name", _LAYOUTS)
def test_layouts_that_are_not_read(name):
    options, message = _LAYOUTS[name]
    with pytest.raises(WeightsError, match=message):
        opened(lambda file: file.update({"a": ARRAY}), **options)


def test_a_name_that_is_not_printable():
    with pytest.raises(WeightsError, match=r"the names in /a has .*expected a printable name"):
        opened(lambda file: file.create_group("a/\x1b[31m"))


def test_every_beginning_of_a_file_is_refused():
    _, content = opened(lambda file: file.update({"a/b": ARRAY}))
    whole = content.getvalue()
    for size in range(0, len(whole), 7):
        with pytest.raises(WeightsError) as error:
            Hdf5(io.BytesIO(whole[:size]), size)
        assert re.search("cut short|should take|begins with|ends after", str(error.value))


def test_a_file_shorter_than_it_was_when_opened():
    _, content = opened(lambda file: file.update({"a": ARRAY}))
    whole = content.getvalue()
    with pytest.raises(WeightsError, match=r"ends after \d+ of \d+ bytes"):
        Hdf5(io.BytesIO(whole[:1000]), len(whole))


def test_reading_much_of_a_small_file_again_and_again_is_refused():
    """A thousand attributes that are the same 100 kB: the file is small, what it says is not."""

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


def test_headers_that_share_their_messages_are_refused():
    """Fifty headers of 65,535 empty messages each, all of them in the same place."""
    _, content = opened(lambda file: [file.create_group(f"{i:02}") for i in range(50)])
    damaged = bytearray(content.getvalue())
    start = len(damaged)
    shared = start + 50 * 40
    for _ in range(50):
        # Version, number of messages, links, size of those here: one, which says where others are.
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

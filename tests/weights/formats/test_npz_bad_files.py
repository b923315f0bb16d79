"""Damaged, hostile and mistaken .npz files: each is one WeightsError that says what is wrong."""

import contextlib
import io
import os
import pickle
import re
import struct
import tracemalloc
import warnings
import zipfile

import numpy as np
import pytest
from bad_files import assert_refused
from hypothesis import given
from hypothesis import strategies as st

import jaxgru


def _arrays(**changed):
    """Return good arrays for 2 inputs and 3 units, with some of them replaced."""
    rng = np.random.default_rng(0)
    shapes = {"wMatrix": (2, 9), "uMatrix": (3, 9), "biases": (2, 9)}
    return {k: rng.normal(size=s).astype(np.float32) for k, s in shapes.items()} | changed


def _npz(**changed):
    file = io.BytesIO()
    np.savez(file, **_arrays(**changed))
    return file.getvalue()


def _zip(entries, **options):
    """Return a zip archive of the given entries: pairs of a name and its bytes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries:
            archive.writestr(name, content)
    return file.getvalue()


def _npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def _header(text):
    """Return the beginning of a .npy file whose header is any text."""
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


def _entries(**changed):
    return [(f"{k}.npy", _npy(v)) for k, v in _arrays(**changed).items()]


def _with_entry(key, content):
    return [(name, content if name == f"{key}.npy" else good) for name, good in _entries()]


def _without(key):
    return {k: v for k, v in _arrays().items() if k != key}


def _savez(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _flagged_encrypted():
    """Return an archive whose directory and first entry both say that it is encrypted."""
    content = bytearray(_npz())
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        content[content.index(signature) + offset] |= 1
    return bytes(content)


_FLOATS = "expected floating-point numbers (float16, bfloat16, float32, float64)"
_EXACTLY = "expected exactly wMatrix, uMatrix, biases"
_F4 = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }"

_BAD = {
    "empty": (b"", "it is empty: expected a file of torch.save or a pickle or "),
    "text": (b"wMatrix 1 2 3\n", "it begins with b'wMatrix ': expected a file of"),
    "pickle": (pickle.dumps(_arrays(), 4), "no GRU is among its 3 arrays"),
    "one array, no archive": (_npy(np.ones(3)), "arrays that have no names"),
    "only a zip's first bytes": (b"PK\x03\x04", "the zip archive is damaged or cut short"),
    "truncated": (_npz()[:-30], "the zip archive is damaged or cut short"),
    "first half": (_npz()[:500], "the zip archive is damaged or cut short"),
    "beginning lost": (b"PK\x03\x04" + _npz()[200:], "is damaged"),
    "empty archive": (_zip([]), "0 arrays"),
    "no uMatrix": (_savez(_without("uMatrix")), f"uMatrix is missing: {_EXACTLY}"),
    "no biases": (_savez(_without("biases")), f"biases is missing: {_EXACTLY}"),
    "other names": (
        _savez({"W": np.ones(3), "U": np.ones(3)}),
        "2 arrays ('W', 'U'",
    ),
    "an extra key": (_npz(epochs=np.ones(3)), f"epochs is unknown: {_EXACTLY}"),
    "a name that would climb": (
        _zip([*_entries(), ("../../evil.npy", _npy(np.ones(3)))]),
        f"'../../evil' is unknown: {_EXACTLY}",
    ),
    "a name of two lines": (
        _zip([*_entries(), ("a\nb.npy", _npy(np.ones(3)))]),
        r"'a\nb' is unknown",
    ),
    "an entry that is no .npy": (
        _zip([*_entries()[:2], ("biases", b"1 2 3")]),
        "'biases' is there: expected names that end in .npy",
    ),
    "twice the same key": (
        _zip([*_entries(), _entries()[0]]),
        "'wMatrix.npy' is there 2 times: expected once",
    ),
    "objects": (
        _npz(biases=np.array([{}, None], dtype=object)),
        f"biases has dtype '|O': {_FLOATS}",
    ),
    "integers": (
        _npz(wMatrix=np.ones((2, 9), np.int32)),
        f"wMatrix has dtype '<i4': {_FLOATS}",
    ),
    "booleans": (_npz(wMatrix=np.ones((2, 9), bool)), f"wMatrix has dtype '|b1': {_FLOATS}"),
    "complex": (_npz(uMatrix=np.ones((3, 9), complex)), f"uMatrix has dtype '<c16': {_FLOATS}"),
    "strings": (_npz(uMatrix=np.full((3, 9), "x")), "uMatrix has dtype '<U1'"),
    "records": (_npz(uMatrix=np.zeros(3, [("a", "f4")])), "uMatrix has dtype \"[('a', '<f4')]\""),
    "W of rank 1": (
        _npz(wMatrix=np.ones(9, np.float32)),
        "wMatrix has shape (9,): expected (I, 9), for I inputs and the 3 units of uMatrix",
    ),
    "W of rank 3": (_npz(wMatrix=np.ones((1, 2, 9), np.float32)), "wMatrix has shape (1, 2, 9)"),
    "W transposed": (
        _npz(wMatrix=np.ones((9, 2), np.float32)),
        "wMatrix has shape (9, 2): expected (I, 9)",
    ),
    "U of two gates": (
        _npz(uMatrix=np.ones((3, 6), np.float32)),
        "uMatrix has shape (3, 6): expected (H, 3H), for H units",
    ),
    "U a number": (_npz(uMatrix=np.float32(1)), "uMatrix has shape (): expected (H, 3H)"),
    "b of neither form": (
        _npz(biases=np.ones((2, 6), np.float32)),
        "biases has shape (2, 6): expected (2, 9) for reset_after=True or (9,) for "
        "reset_after=False, for the 3 units of uMatrix",
    ),
    "b of CuDNNGRU": (_npz(biases=np.ones(18, np.float32)), "biases has shape (18,): expected"),
    "no inputs": (
        _npz(wMatrix=np.ones((0, 9), np.float32)),
        "wMatrix has shape (0, 9): expected every size to be 1 or more",
    ),
    "no units": (
        _npz(uMatrix=np.ones((0, 0), np.float32)),
        "uMatrix has shape (0, 0): expected every size to be 1 or more",
    ),
    "a shape beyond the file": (
        _zip(_with_entry("wMatrix", _header(_F4 % "(1000000000, 9)") + b"\0" * 72)),
        "wMatrix declares shape (1000000000, 9) of float32, 36000000000 bytes: expected the 72 "
        "bytes that it has",
    ),
    "a shape beyond 64 bits": (
        _zip(_with_entry("wMatrix", _header(_F4 % f"({2**70}, 9)") + b"\0" * 72)),
        "wMatrix has shape (1180591620717411303424, 9): expected at most 8 axes, each from 1 to",
    ),
    "a shape below the file": (
        _zip(_with_entry("wMatrix", _npy(np.ones((2, 9), np.float32)) + b"more")),
        "wMatrix declares shape (2, 9) of float32, 72 bytes: expected the 76 bytes that it has",
    ),
    "a negative shape": (
        _zip(_with_entry("wMatrix", _header(_F4 % "(-2, -9)") + b"\0" * 72)),
        "wMatrix has shape (-2, -9): expected at most 8 axes, each from 1 to",
    ),
    "a hundred axes": (
        _zip(_with_entry("wMatrix", _header(_F4 % f"({'1,' * 100})") + b"\0" * 4)),
        "wMatrix has shape (1, 1, 1, 1, 1, 1, 1, 1) and more: expected at most 8 axes",
    ),
    "a header that is code": (
        _zip(_with_entry("wMatrix", _header("__import__('os').getcwd()") + b"\0" * 72)),
        "wMatrix is damaged",
    ),
    "a header nested deeply": (
        _zip(_with_entry("wMatrix", _header("(" * 9000) + b"\0" * 72)),
        "wMatrix is damaged",
    ),
    "a header of many signs": (
        _zip(_with_entry("wMatrix", _header("-" * 9000 + "1") + b"\0" * 72)),
        "wMatrix is damaged",
    ),
    "no .npy inside": (_zip(_with_entry("wMatrix", b"1 2 3 4 5 6 7 8 9")), "wMatrix is damaged"),
    "an empty .npy": (_zip(_with_entry("wMatrix", b"")), "wMatrix is damaged"),
    ".npy version 3": (
        _zip(_with_entry("wMatrix", b"\x93NUMPY\x03\x00" + b"\0" * 80)),
        "wMatrix is damaged (its .npy version is (3, 0): expected (1, 0) or (2, 0))",
    ),
    "another compression": (
        _zip(_entries(), compression=zipfile.ZIP_LZMA),
        "'wMatrix.npy' is compressed by method 14: expected none or deflate",
    ),
    "encrypted": (_flagged_encrypted(), "wMatrix is damaged"),
}


@pytest.mark.parametrize("name", _BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, name):
    assert "expected" in assert_refused(tmp_path / "weights.npz", *_BAD[name])


def test_what_a_pickle_would_run_is_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    objects = np.empty((2, 9), object)
    objects[:] = Payload()
    (tmp_path / "weights.npz").write_bytes(_npz(biases=objects))
    with pytest.raises(jaxgru.WeightsError, match=r"biases has dtype '\|O'"):
        jaxgru.load(tmp_path / "weights.npz")
    assert not (tmp_path / "ran").exists()


def test_a_changed_number_is_noticed(tmp_path):
    content = bytearray(_npz())
    content[content.index(_arrays()["uMatrix"].tobytes())] ^= 1
    (tmp_path / "weights.npz").write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=r"uMatrix is damaged .*CRC"):
        jaxgru.load(tmp_path / "weights.npz")


def test_a_zip_bomb_is_refused_without_memory(tmp_path):
    path = tmp_path / "weights.npz"
    units = 2500  # 75 MB of zeros for U alone, in under 100 kB
    np.savez_compressed(
        path,
        wMatrix=np.zeros((1, 3 * units), np.float32),
        uMatrix=np.zeros((units, 3 * units), np.float32),
        biases=np.zeros((2, 3 * units), np.float32),
    )
    _assert_refused_within(path, 2**20, r"its entries declare \d+ bytes: expected at most 67108864")


def test_a_directory_that_declares_too_much_is_refused_without_memory(tmp_path):
    content = bytearray(_npz())
    entry = content.index(b"PK\x01\x02")
    content[entry + 20 : entry + 28] = struct.pack("<II", 2**31, 2**31)
    path = tmp_path / "weights.npz"
    path.write_bytes(content)
    _assert_refused_within(
        path, 2**20, f"'wMatrix.npy' declares {2**31} bytes: expected at most the"
    )


def test_zeros_compress_well_and_are_read(tmp_path):
    arrays = {k: np.zeros(v.shape, np.float32) for k, v in _arrays().items()}
    np.savez_compressed(tmp_path / "weights.npz", **arrays)
    assert not np.any(jaxgru.load(tmp_path / "weights.npz").kernel)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(jaxgru.WeightsError, match="it is a directory: expected a file"):
        jaxgru.load(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # to open it would be to wait forever
    with pytest.raises(jaxgru.WeightsError, match="pipe: it is no regular file: expected a file"):
        jaxgru.load(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.npz"))):
        jaxgru.load(tmp_path / "none.npz")


_GOOD = _npz()
_COMPRESSED = _zip(_entries(), compression=zipfile.ZIP_DEFLATED)


@given(
    content=st.sampled_from([_GOOD, _COMPRESSED]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 255)), min_size=1, max_size=4),
    kept=st.floats(0.5, 1) | st.just(1.0),
)
def test_any_damage_is_one_error_or_none(tmp_path_factory, content, changes, kept):
    damaged = bytearray(content)
    for place, value in changes:
        damaged[int(place * (len(damaged) - 1))] = value
    path = tmp_path_factory.mktemp("damaged") / "weights.npz"
    path.write_bytes(damaged[: int(kept * len(damaged))])
    # A change may not matter, as that of a time stamp; any other exception would fail the test.
    with contextlib.suppress(jaxgru.WeightsError):
        assert jaxgru.load(path).recurrent_kernel.shape == (3, 9)


def _assert_refused_within(path, memory, reason):
    tracemalloc.start()
    try:
        with pytest.raises(jaxgru.WeightsError, match=reason):
            jaxgru.load(path)
        assert tracemalloc.get_traced_memory()[1] < memory
    finally:
        tracemalloc.stop()

"""Flax's MessagePack: what Flax writes is read as Flax reads it, and bad files are one error."""

import struct
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bad_files import assert_refused

import jaxgru

msgpack = pytest.importorskip("msgpack")

_HAIKU = {"w_i": (3, 6), "w_h": (2, 6), "b": (6,)}


def _params(dtype="float32"):
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(jnp.dtype(dtype)) for name, shape in _HAIKU.items()}


def _array(shape, dtype, content):
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, content)))


def _packed(array):
    return _array(array.shape, array.dtype.name, array.tobytes())


def _file(**changed):
    """Return a file of Haiku's parameters, some of them replaced by any other object."""
    held = {name: _packed(array) for name, array in _params().items()} | changed
    return msgpack.packb({"gru": held})


@pytest.mark.live
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_flax_writes_what_is_read_to_the_bit(tmp_path, dtype):
    serialization = pytest.importorskip("flax.serialization")
    params = _params(dtype)
    (tmp_path / "x.msgpack").write_bytes(serialization.to_bytes({"net": {"~": params}}))
    found = jaxgru.weights.read(tmp_path / "x.msgpack")
    assert found.dtype == jnp.dtype(dtype)
    expected = params["w_h"].copy()
    expected[:, :2] *= -1
    assert found.recurrent_kernel.tobytes() == expected.tobytes()


@pytest.mark.live
def test_arrays_in_pieces_are_put_together(tmp_path, monkeypatch):
    serialization = pytest.importorskip("flax.serialization")
    (tmp_path / "whole.msgpack").write_bytes(serialization.to_bytes({"gru": _params()}))
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 20)  # bytes, for 2**30
    (tmp_path / "pieces.msgpack").write_bytes(serialization.to_bytes({"gru": _params()}))
    assert b"__msgpack_chunked_array__" in (tmp_path / "pieces.msgpack").read_bytes()
    whole, pieces = (jaxgru.load(tmp_path / f"{name}.msgpack") for name in ("whole", "pieces"))
    jax.tree.map(np.testing.assert_array_equal, whole, pieces)


@pytest.mark.live
def test_what_else_a_state_holds_is_passed_over(tmp_path):
    serialization = pytest.importorskip("flax.serialization")
    state = {
        "step": 3,
        "rate": np.float32(0.1),
        "phase": 1 + 2j,
        "name": "run",
        "best": None,
        "flags": {"0": True, "1": b"\0"},
        "rng": np.array([1, 2], np.uint32),
        "counts": np.zeros((3, 4), np.int8),
        "params": {"gru": _params()},
        "opt_state": {"0": {"mu": {"gru": _params()}}},
    }
    (tmp_path / "x.msgpack").write_bytes(serialization.to_bytes(state))
    assert list(jaxgru.load_all(tmp_path / "x.msgpack")) == ["params/gru"]


def test_maps_of_every_length_are_recognised(tmp_path):
    for others in (0, 20, 70_000):  # heads of 4, 16 and 32 bits
        state = {f"x{i}": 0 for i in range(others)} | {"gru": _params()}
        content = msgpack.packb(state, default=_packed)
        (tmp_path / "x.msgpack").write_bytes(content)
        assert jaxgru.load(tmp_path / "x.msgpack").input_size == 3


def test_lists_have_positions_for_names(tmp_path):
    content = msgpack.packb({"layers": [1, {"gru": _params()}]}, default=_packed)
    (tmp_path / "x.msgpack").write_bytes(content)
    assert list(jaxgru.load_all(tmp_path / "x.msgpack")) == ["layers/1/gru"]


def _twice(key):
    pair = msgpack.packb(key) + msgpack.packb(_packed(_params()["b"]))
    return b"\x82" + pair + pair


def _pieces(**parts):
    return {"__msgpack_chunked_array__": True, **parts}


_FLOATS, _HALVES = np.arange(6, dtype="f4"), np.arange(3, dtype="f2")

_BAD = {
    "cut short": (_file()[:-3], "the MessagePack is damaged (No more data to unpack"),
    "cut short at an object": (b"\x81\xa1a", "the MessagePack ends early: expected more objects"),
    "more behind it": (_file() + b"more", "there are 4 bytes after the map: expected the end"),
    "a name twice": (_twice("b"), "'b' is there twice: expected once"),
    "two names for one array": (
        msgpack.packb({"b": {"x": _packed(_FLOATS)}, "b/x": _packed(_FLOATS)}),
        "'b/x' is there twice: expected once",
    ),
    "a key that is none": (b"\x82\xa1a\xc0\xc0\xc0", "a key begins with byte 0xc0: expected text"),
    "text that is none": (b"\x81\xa2\xff\xff\xc0", "the MessagePack is damaged ("),
    "an unused byte": (b"\x81\xa1a\xc1", "the MessagePack is damaged ("),
    "deep maps": (b"\x81\xa1a" * 100 + b"\xc0", "is 64 maps deep: expected fewer"),
    "deep lists": (b"\x81\xa1a" + b"\x91" * 100_000, "is 64 maps deep: expected fewer"),
    "a long list": (
        b"\x81\xa1a\xdd\xff\xff\xff\xff" + b"\xc0" * 2_000_000,
        "it has too many objects for weights",
    ),
    "long lists in lists": (
        b"\x81\xa1a" + b"\xdd\x7f\xff\xff\xff" * 60,
        "the MessagePack ends early: expected more objects",
    ),
    "long names in names": (
        msgpack.packb({"x" * 100_000: dict.fromkeys(map(str, range(2000)))}),
        "it has too many objects for weights",
    ),
    "a shape beyond its bytes": (
        _file(b=_array((10**9,), "float32", b"1234")),
        "an array declares shape (1000000000,) of float32, 4000000000 bytes: expected the 4 bytes",
    ),
    "an absurd shape": (
        _file(b=_array((2**60, 2**60), "float32", b"")),
        "an array has shape (1152921504606846976, 1152921504606846976): expected at most 8 axes",
    ),
    "a negative shape": (
        _file(b=_array((-6,), "float32", b"1234")),
        "an array is damaged: expected a shape, a dtype and bytes",
    ),
    "a hundred axes": (
        _file(b=_array((1,) * 100, "float32", b"1234")),
        "the MessagePack is damaged (100 exceeds max_array_len(8)",
    ),
    "a shape that is none": (_file(b=_array(b"\1", "float32", b"1234")), "an array is damaged"),
    "an array of text": (_file(b=msgpack.ExtType(1, b"\xa1a")), "an array is damaged"),
    "an empty array": (_file(b=msgpack.ExtType(1, b"")), "the MessagePack is damaged ("),
    "an array within an array": (
        _file(b=msgpack.ExtType(1, msgpack.packb((msgpack.ExtType(1, b"1"), "f4", b"")))),
        "the MessagePack is damaged (",
    ),
    "whole numbers": (
        _file(b=_packed(np.arange(6))),
        "gru/b has dtype 'int64': expected floating-point numbers",
    ),
    "an unknown type": (
        _file(b=_array((6,), "f\n4", b"1234")),
        r"gru/b has dtype 'f\n4': expected floating-point numbers",
    ),
    "pieces of other lengths": (
        _file(b=_pieces(shape={"0": 7}, chunks={"0": _packed(_FLOATS)})),
        "the chunks of gru/b do not fit its shape (7,)",
    ),
    "pieces of other types": (
        _file(b=_pieces(shape={"0": 9}, chunks={"0": _packed(_FLOATS), "1": _packed(_HALVES)})),
        "the chunks of gru/b do not fit its shape (9,)",
    ),
    "no pieces": (_file(b=_pieces(shape={"0": 6}, chunks={})), "the chunks of gru/b do not fit"),
    "pieces of nothing": (_file(b=_pieces()), "the chunks of gru/b do not fit its shape ()"),
    "pieces with a hole": (
        _file(b=_pieces(shape={"0": 6}, chunks={"1": _packed(_FLOATS)})),
        "gru/b/__msgpack_chunked_array__ has other parts: expected shape and chunks",
    ),
    "pieces that are numbers": (
        _file(b=_pieces(shape={"0": 6}, chunks={"0": 3})),
        "the chunks of gru/b do not fit",
    ),
    "no GRU": (msgpack.packb({"a": 1}), "no GRU is among its 0 arrays"),
}


@pytest.mark.parametrize("name", _BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, name):
    assert_refused(tmp_path / "weights.msgpack", *_BAD[name])


def test_the_good_file_behind_the_bad_ones_is_read_without_a_word(tmp_path):
    (tmp_path / "x.msgpack").write_bytes(_file())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert jaxgru.load(tmp_path / "x.msgpack").kernel.shape == (3, 6)


@pytest.mark.parametrize(
    "content",
    [
        b"\x80",  # an empty map
        b"\x80\x04\x95\x00\x00",  # a pickle
        b"\x81\x01\x02",  # a map whose key is a number
        b"\x08\x0a\x12\x07pytorch",  # ONNX
        "ހއ".encode(),  # text whose first byte is a map's
        b"\xdf" + struct.pack(">I", 2**31) + b"\xa1a",  # a map of more than the file has
    ],
)
def test_what_is_no_map_of_names_is_not_recognised(content):
    from jaxgru.weights.contract import Look
    from jaxgru.weights.formats import msgpack as ours

    assert not ours.recognises(Look(content, None, len(content)))

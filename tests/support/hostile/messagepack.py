"""Wrong files of MessagePack. Some are written byte by byte, as no library would write them."""

import numpy as np
import pytest

msgpack = pytest.importorskip("msgpack")

HAIKU = {"w_i": (3, 6), "w_h": (2, 6), "b": (6,)}
PIECES = "__msgpack_chunked_array__"
FLOATS, HALVES = np.arange(6, dtype="f4"), np.arange(3, dtype="f2")


def params(dtype="f4"):
    """Return a sound GRU of Haiku."""
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in HAIKU.items()}


def array(shape, dtype, content):
    """Return an array as Flax packs it: shape, dtype and bytes within an extension."""
    return msgpack.ExtType(1, msgpack.packb((shape, dtype, content)))


def packed(numbers):
    return array(numbers.shape, numbers.dtype.name, numbers.tobytes())


def packb(tree):
    return msgpack.packb(tree, default=packed)


def gru(**changed):
    """Return a file of Haiku's parameters, some of them replaced by any other object."""
    return packb({"gru": params() | changed})


def extension(code, content):
    return msgpack.ExtType(code, content)


def beside(head, content=b""):
    """Return a sound GRU, and another member by its bytes."""
    whole = bytearray(gru())
    whole[0] += 1  # a map of one more
    return bytes(whole) + b"\xa4more" + head + content


def pieces(**parts):
    return gru(b={PIECES: True, **parts})


def twice(key):
    pair = packb(key) + packb(params()["b"])
    return b"\x82" + pair + pair


_DAMAGED = "the MessagePack is damaged ("
_FIT = "the chunks of gru/b do not fit its shape "

FILES = {
    "as it should be": (gru(), None),
    "cut short": (gru()[:-3], f"{_DAMAGED}No more data to unpack"),
    "more after it": (gru() + b"more", "there are 4 bytes after the map: expected the end"),
    "a name twice": (twice("b"), "'b' is a duplicate name: expected it once"),
    "two names for one array": (
        packb({"b": {"x": FLOATS}, "b/x": FLOATS}), "'b/x' is a duplicate name: expected"),
    "a map twice": (
        b"\x82" + packb("gru") + packb(params()) + packb("gru") + packb({"more": FLOATS}),
        "'gru' is a duplicate name: expected it once"),
    "a key that is none": (b"\x82\xa1a\xc0\xc0\xc0", "a key begins with byte 0xc0: expected text"),
    "text that is none": (b"\x81\xa2\xff\xff\xc0", _DAMAGED),
    "text of 4 GiB": (beside(b"\xdb\xff\xff\xff\xff", b"abc"), _DAMAGED),
    "deep lists": (b"\x81\xa1a" + b"\x91" * 100_000, "is 64 maps deep: expected fewer"),
    "a long list": (
        b"\x81\xa1a\xdd\xff\xff\xff\xff" + b"\xc0" * 300_000, "it has too many objects for wei"),
    "long lists in lists": (
        b"\x81\xa1a" + b"\xdd\x7f\xff\xff\xff" * 60,
        "the MessagePack ends early: expected more objects"),
    "long names in names": (
        packb({"x" * 100_000: dict.fromkeys(map(str, range(2000)))}),
        "it has too many objects for weights"),
    "a shape beyond its bytes": (
        gru(b=array((10**9,), "float32", b"1234")),
        "an array declares shape (1000000000,) of float32, 4000000000 bytes: expected the 4 bytes"),
    "a hundred axes": (
        gru(b=array((1,) * 100, "float32", b"1234")), f"{_DAMAGED}100 exceeds max_array_len(8)"),
    "a shape that is none": (gru(b=array(b"\1", "f4", b"1234")), "an array is damaged"),
    "whole numbers": (
        gru(b=np.arange(6)), "gru/b has dtype int64: expected floating-point numbers"),
    "a type that is a program": (
        gru(b=array((6,), "V2147483647,(9999,9999)f8", b"12345678")),
        "gru/b has dtype 'V2147483647"),
    "pieces of other lengths": (pieces(shape={"0": 7}, chunks={"0": FLOATS}), f"{_FIT}(7,)"),
    "pieces of other types": (
        pieces(shape={"0": 9}, chunks={"0": FLOATS, "1": HALVES}), f"{_FIT}(9,)"),
    "pieces of whole numbers": (
        pieces(shape={"0": 6}, chunks={"0": np.arange(6)}), "gru/b has dtype int64: expected"),
    "a shape of numbers that are none": (
        pieces(shape={"0": FLOATS}, chunks={"0": FLOATS}), f"gru/b/{PIECES} has other parts"),
    "pieces of nothing": (pieces(), f"{_FIT}()"),
    "pieces with a hole": (
        pieces(shape={"0": 6}, chunks={"1": FLOATS}),
        f"gru/b/{PIECES} has other parts: expected shape and chunks"),
    "pieces that are numbers": (pieces(shape={"0": 6}, chunks={"0": 3}), f"{_FIT}(6,)"),
    "no GRU": (packb({"a": 1}), "no GRU is among its 0 arrays"),
    "a time": (beside(b"\xc7\x0c\xff", bytes(12)), None),
    "extensions that are pickles": (
        packb({"gru": params(), "more": extension(4, b"cos\nsystem\n.")}), None),
}  # fmt: skip

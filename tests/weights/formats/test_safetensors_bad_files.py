"""Bad safetensors files: each is one WeightsError that says what is wrong."""

import json
import struct
import tracemalloc

import numpy as np
import pytest
from bad_files import assert_refused

import jaxgru


def _good():
    """Return the header and the data of a good file: one layer of 3 inputs and 2 units."""
    net = {"kind": "GRUParams", "kernel": "kernel", "recurrent_kernel": "recurrent_kernel"}
    net |= {"bias": None, "recurrent_bias": None, "reset_after": True, "clip": None}
    net |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    header = {
        "__metadata__": {"format": "jaxgru", "version": "1", "net": json.dumps(net)},
        "kernel": {"dtype": "F32", "shape": [3, 6], "data_offsets": [0, 72]},
        "recurrent_kernel": {"dtype": "F32", "shape": [2, 6], "data_offsets": [72, 120]},
    }
    return header, np.linspace(-1, 1, 30, dtype=np.float32).tobytes()


def _file(header, data):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _changed(name, **changes):
    header, data = _good()
    return _file(header | {name: header[name] | changes}, data)


def _net(**changes):
    header, _ = _good()
    data = json.loads(header["__metadata__"]["net"]) | changes
    return _changed("__metadata__", net=json.dumps(data))


def _twice():
    header, data = _good()
    text = json.dumps(header)[:-1] + ', "kernel": ' + json.dumps(header["kernel"]) + "}"
    return _file(text.encode(), data)


def _deep():
    net = {"kind": "tuple", "layers": []}
    for _ in range(40):
        net = {"kind": "tuple", "layers": [net]}
    return _changed("__metadata__", net=json.dumps(net))


def _empty():
    header, _ = _good()
    for name in ("kernel", "recurrent_kernel"):
        header[name] = {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}
    return _file(header, b"")


_BAD = {
    "a newer version": (
        _changed("__metadata__", version="2"),
        "it is of version '2' of jaxgru's format: expected '1'; a newer jaxgru may read it",
    ),
    "cut short": (_file(*_good())[:-4], "the arrays end at byte 120: expected 116"),
    "more than the arrays": (_file(*_good()) + b"more", "end at byte 120: expected 124"),
    "cut short in the header": (
        _file(*_good())[:100],
        "bytes: expected fewer in a file of 100",
    ),
    "a header of 5 GB": (struct.pack("<Q", 5 * 10**9) + b'{"a": 1}', "it begins with"),
    "no JSON": (_file(b"{kernel}", b""), "the header is damaged (Expecting property name"),
    "no UTF-8": (_file(b'{"\xff"}', b""), "the header is damaged ("),
    "nested deeply": (_file(b'{"a":' + b"[" * 100_000, b""), "the header is damaged ("),
    "too many values": (_file(b"{" + b"," * 1_000_001, b""), "the header has over 1000000 values"),
    "a name twice": (_twice(), "'kernel' is there twice in the header: expected once"),
    "overlapping": (
        _changed("recurrent_kernel", data_offsets=[68, 116]),
        "'recurrent_kernel' goes from byte 68 to 116: expected it to begin at 72",
    ),
    "a hole": (
        _changed("recurrent_kernel", data_offsets=[76, 124]),
        "'recurrent_kernel' goes from byte 76 to 124: expected it to begin at 72",
    ),
    "negative offsets": (
        _changed("kernel", data_offsets=[-72, 0]),
        "'kernel' is described wrongly: expected dtype, shape and data_offsets",
    ),
    "the end before the beginning": (
        _changed("kernel", dtype="I8", data_offsets=[72, 0]),
        "goes from byte",
    ),
    "a shape beyond its bytes": (
        _changed("kernel", shape=[3, 7]),
        "'kernel' declares shape (3, 7) of F32, 84 bytes: expected the 72 bytes that it has",
    ),
    "an absurd shape": (
        _changed("kernel", shape=[2**62, 2**62]),
        "'kernel' has shape (4611686018427387904, 4611686018427387904): expected at most 8 axes",
    ),
    "a hundred axes": (_changed("kernel", shape=[1] * 100), "and more: expected at most 8 axes"),
    "a shape that is no list": (_changed("kernel", shape="3, 6"), "'kernel' is described wrongly"),
    "a size that is no number": (_changed("kernel", shape=[3, True]), "is described wrongly"),
    "an unknown key": (_changed("kernel", file="/etc/passwd"), "'kernel' is described wrongly"),
    "an array that is none": (_file({"kernel": 3}, b""), "'kernel' is described wrongly"),
    "metadata that is none": (
        _file({"__metadata__": {"format": 1}}, b""),
        "__metadata__ in the header is damaged: expected text by names",
    ),
    "whole numbers": (
        _changed("kernel", dtype="I32"),
        "'kernel' has dtype 'I32' and shape (3, 6): expected floating-point numbers",
    ),
    "an unknown type": (
        _changed("kernel", dtype="F4\n"),
        r"'kernel' has dtype 'F4\n' and shape (3, 6): expected floating-point numbers",
    ),
    "no description": (
        _changed("__metadata__", net="{"),
        "the net is described wrongly (Expecting property name",
    ),
    "no net": (_changed("__metadata__", net="3"), "a part of the net is 3: expected an object"),
    "an unknown kind": (
        _net(kind="LSTMParams"),
        "a part of the net is of kind 'LSTMParams' with",
    ),
    "a field too many": (_net(units=3), "is of kind 'GRUParams' with"),
    "a field of another type": (_net(reset_after=1), "reset_after of a layer is 1: expected"),
    "an unknown activation": (
        _net(activation="tan"),
        "activation 'tan' is unknown: expected one of",
    ),
    "an impossible clip": (_net(clip=-1), "clip is -1: expected None or a positive finite number"),
    "an array that is not there": (
        _net(bias="bias"),
        "'bias' is only in the net or only in the file",
    ),
    "an array too many": (
        _net(recurrent_kernel="kernel"),
        "'recurrent_kernel' is only in the net or only in the file",
    ),
    "an array used twice": (
        _net(bias="kernel"),
        "the net has 3 arrays and the file 2: expected",
    ),
    "parts in parts in parts": (_deep(), "expected an object, at most 32 deep"),
    "layers that do not fit": (
        _changed("kernel", shape=[6, 3]),
        "kernel has shape (6, 3): expected (I, 6)",
    ),
    "empty arrays": (
        _empty(),
        "has dtype float32 and shape (0, 0): expected floating-point numbers, one at least",
    ),
    "no GRU": (
        _file({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, b"1234"),
        "no GRU is among its 1 arrays ('a')",
    ),
    "a GRU of whole numbers": (
        _file(
            {
                "gru.w_i": {"dtype": "I8", "shape": [1, 3], "data_offsets": [0, 3]},
                "gru.w_h": {"dtype": "I8", "shape": [1, 3], "data_offsets": [3, 6]},
                "gru.b": {"dtype": "I8", "shape": [3], "data_offsets": [6, 9]},
            },
            b"123456789",
        ),
        "gru/w_h has dtype 'I8': expected floating-point numbers",
    ),
}


@pytest.mark.parametrize("name", _BAD)
def test_a_bad_file_is_refused_with_its_reason(tmp_path, name):
    assert_refused(tmp_path / "weights.safetensors", *_BAD[name])


def test_the_good_file_behind_the_bad_ones_is_read(tmp_path):
    (tmp_path / "weights.safetensors").write_bytes(_file(*_good()))
    assert jaxgru.load(tmp_path / "weights.safetensors").kernel.shape == (3, 6)


def test_what_belongs_to_no_gru_is_not_read(tmp_path):
    names = {"w_i": [3, 6], "w_h": [2, 6], "b": [6]}
    header, end = {}, 0
    for name, shape in names.items():
        header[name] = {"dtype": "F32", "shape": shape}
        header[name]["data_offsets"] = [end, end := end + 4 * int(np.prod(shape))]
    large = 2**32
    header["other"] = {"dtype": "F32", "shape": [large // 4], "data_offsets": [end, end + large]}
    path = tmp_path / "weights.safetensors"
    path.write_bytes(_file(header, np.zeros(end // 4, np.float32).tobytes()))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + large)  # a hole, which takes no room on the disk
    tracemalloc.start()
    try:
        assert jaxgru.load(path).kernel.shape == (3, 6)
        # Some kilobytes for three arrays of under 100 bytes, and none for the fourth.
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()

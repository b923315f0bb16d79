"""Wrong safetensors files: headers, places of arrays, and descriptions of a net."""

import json
import struct

import numpy as np


def good():
    """Return the header and the data of a good file of ours: one layer of 3 inputs and 2 units."""
    net = {"kind": "GRUParams", "kernel": "kernel", "recurrent_kernel": "recurrent_kernel"}
    net |= {"bias": None, "recurrent_bias": None, "reset_after": True, "clip": None}
    net |= {"activation": "tanh", "recurrent_activation": "sigmoid"}
    header = {
        "__metadata__": {"format": "jaxgru", "version": "1", "net": json.dumps(net)},
        "kernel": {"dtype": "F32", "shape": [3, 6], "data_offsets": [0, 72]},
        "recurrent_kernel": {"dtype": "F32", "shape": [2, 6], "data_offsets": [72, 120]},
    }
    return header, np.linspace(-1, 1, 30, dtype=np.float32).tobytes()


def file(header, data=b""):
    """Return a file of a header, given as JSON or as what becomes JSON, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def changed(name, **changes):
    """Return the good file with some values of one entry of the header replaced."""
    header, data = good()
    return file(header | {name: header[name] | changes}, data)


def net(**changes):
    """Return the good file with some values of the net's description replaced."""
    header, _ = good()
    return described(json.dumps(json.loads(header["__metadata__"]["net"]) | changes))


def described(text):
    return changed("__metadata__", net=text)


def twice():
    header, data = good()
    text = json.dumps(header)[:-1] + ', "kernel": ' + json.dumps(header["kernel"]) + "}"
    return file(text.encode(), data)


def without_numbers():
    header, _ = good()
    for name in ("kernel", "recurrent_kernel"):
        header[name] = {"dtype": "F32", "shape": [0, 0], "data_offsets": [0, 0]}
    return file(header)


def others(prefix="gru."):
    """Return the header and the data of Haiku's names, of one input and one unit."""
    header, end = {}, 0
    for name, shape in {"w_i": [1, 3], "w_h": [1, 3], "b": [3]}.items():
        entry = {"dtype": "F32", "shape": shape, "data_offsets": [end, end + 12]}
        header[f"{prefix}{name}"], end = entry, end + 12
    return header, bytes(end)


def escape():
    header, data = others("\n\x1b[31m.")
    header["\n\x1b[31m.w_i"]["shape"] = [3, 1]
    return file(header, data)


_WRONGLY = "'kernel' has an invalid description: expected dtype, shape and data_offsets"
_FLOATS = ": expected floating-point numbers"

FILES = {
    "as it should be": (file(*good()), None),
    # The header
    "a newer version": (
        changed("__metadata__", version="2"),
        "it is of version '2' of jaxgru's format: expected '1'; a newer jaxgru may read it"),
    "cut short": (file(*good())[:-4], "the arrays end at byte 120: expected 116"),
    "more than the arrays": (file(*good()) + b"more", "end at byte 120: expected 124"),
    "cut short in the header": (file(*good())[:100], "bytes: expected fewer in a file of 100"),
    "a header of 5 GB": (struct.pack("<Q", 5 * 10**9) + b'{"a": 1}', "it begins with"),
    "no JSON": (file(b"{kernel}"), "the header is not JSON (Expecting property name"),
    "no UTF-8": (file(b'{"\xff"}'), "the header is not JSON ("),
    "nested deeply": (file(b'{"a":' + b"[" * 100_000), "the header is not JSON ("),
    "too many values": (file(b"{" + b"," * 1_000_001), "the header has over 1000000 values"),
    "a list": (file(b"[" + b"1," * 1000 + b"1]"), "it begins with"),
    "a name twice": (twice(), "the header: the key 'kernel' is a duplicate name"),
    "metadata that is none": (
        file({"__metadata__": {"format": 1}}),
        "__metadata__ in the header is damaged: expected text by names"),
    "an array that is none": (file({"kernel": 3}), _WRONGLY),
    "an unknown key": (changed("kernel", file="/etc/passwd"), _WRONGLY),
    "a shape that is no list": (changed("kernel", shape="3, 6"), _WRONGLY),
    "a size that is true": (changed("kernel", shape=[3, True]), _WRONGLY),
    "offsets that are false and 72.0": (changed("kernel", data_offsets=[False, 72.0]), _WRONGLY),
    "negative offsets": (changed("kernel", data_offsets=[-72, 0]), _WRONGLY),
    # The places of arrays
    "overlapping": (
        changed("recurrent_kernel", data_offsets=[68, 116]),
        "'recurrent_kernel' goes from byte 68 to 116: expected it to begin at 72"),
    "a hole": (
        changed("recurrent_kernel", data_offsets=[76, 124]),
        "'recurrent_kernel' goes from byte 76 to 124: expected it to begin at 72"),
    "the end before the beginning": (
        changed("kernel", dtype="F4", data_offsets=[72, 0]), "goes from byte"),
    "a shape beyond its bytes": (
        changed("kernel", shape=[3, 7]),
        "'kernel' declares shape (3, 7) of float32, 84 bytes: expected the 72 bytes that it has"),
    "a hundred axes": (changed("kernel", shape=[1] * 100), "and more: expected at most 8 axes"),
    "whole numbers": (
        changed("kernel", dtype="I32"), f"'kernel' has dtype int32 and shape (3, 6){_FLOATS}"),
    "empty arrays": (
        without_numbers(), f"has dtype float32 and shape (0, 0){_FLOATS}, one at least"),
    # The net
    "no description": (described("{"), "the net is not JSON (Expecting property name"),
    "no net": (described("3"), "a part of the net is 3: expected an object"),
    "an unknown kind": (net(kind="LSTMParams"), "a part of the net is of kind 'LSTMParams' with"),
    "a field too many": (net(units=3), "is of kind 'GRUParams' with"),
    "a field of another type": (net(reset_after=1), "reset_after of a layer is 1: expected"),
    "an unknown activation": (net(activation="tan"), "activation 'tan' is unknown: expected one"),
    "an impossible clip": (net(clip=-1), "clip is -1: expected None or a positive finite number"),
    "an array that is not there": (
        net(bias="bias"), "'bias' is only in the net or only in the file"),
    "an array too many": (
        net(recurrent_kernel="kernel"), "'recurrent_kernel' is only in the net or only in the fil"),
    "an array used twice": (net(bias="kernel"), "the net has 3 arrays and the file 2: expected"),
    "parts in parts in parts": (
        described('{"kind":"tuple","layers":[' * 40 + "]}" * 40),
        "expected an object, at most 32 deep"),
    "layers that do not fit": (
        changed("kernel", shape=[6, 3]), "kernel has shape (6, 3): expected (I, 6)"),
    # By the names of libraries
    "no GRU": (
        file({"a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, b"1234"),
        "no GRU is among its 1 arrays ('a')"),
    "numbers by the names of Flax": (
        file({f"dense_{side}/kernel": {"dtype": "F32", "shape": [], "data_offsets": [at, at + 4]}
              for side, at in (("i", 0), ("h", 4))}, bytes(8)),
        "no GRU is among its 2 arrays"),
    "a name that writes to the terminal": (escape(), r"\n\x1b/31m/w_i' has shape"),
}  # fmt: skip

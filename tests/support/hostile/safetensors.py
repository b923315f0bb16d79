"""Hostile safetensors files."""

import json
import struct

from hostile.cases import refused
from hostile.sound import torch_arrays


def _file(header, data=b""):
    """Return a file of a header, given as JSON or as what becomes JSON, and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def _sound():
    """Return header and data of a sound GRU, the header to be spoilt."""
    header, data = {}, b""
    for name, array in torch_arrays().items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    return header, data


def _spoilt(**changed):
    """Return a sound file in whose entry of weight_ih_l0 some values are others."""
    header, data = _sound()
    header["weight_ih_l0"] |= changed
    return _file(header, data)


@refused("weight_ih_l0. is described wrongly")
def offsets_of_another_kind(folder):
    """Offsets that are numbers to Python and not to a reader that computes with integers."""
    return _spoilt(data_offsets=[False, 72.0])


@refused(r"weight_ih_l0 has dtype .F\\x1b\[2J\\n32")
def unknown_type(folder):
    """A type whose name is a terminal's escape."""
    return _spoilt(dtype="F\x1b[2J\n32")


@refused("weight_ih_l0. is described wrongly")
def numbers_that_are_none(folder):
    """NaN and Infinity where sizes are expected, which Python's JSON takes for numbers."""
    return _spoilt(shape=[float("nan"), float("inf")])


@refused(r"\\n\\x1b\[31m\.weight_hh_l0. has shape")
def name_that_writes_to_the_terminal(folder):
    """A tensor's name with a line's end and a terminal's escape, in a message about its shape."""
    header, data = _sound()
    header = {f"\n\x1b[31m.{name}": entry for name, entry in header.items()}
    header["\n\x1b[31m.weight_hh_l0"]["shape"] = [3, 9]
    return _file(header, data)


@refused("it begins with")
def header_that_is_a_list(folder):
    """A header that is JSON, but no object."""
    return _file(b"[" + b"1," * 1000 + b"1]")


@refused("the net is described wrongly")
def net_described_deeply(folder):
    """A net described in our own header, 100,000 deep."""
    return _ours('{"kind":"tuple","layers":[' * 100_000 + "]}" * 100_000)


@refused("the net has 8000 arrays and the file 4")
def net_of_one_array(folder):
    """A net of 2,000 layers that are all the same arrays."""
    names = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    arrays = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
    layer = {"kind": "GRUParams", "reset_after": True, "clip": None, "activation": "tanh"}
    layer |= dict(zip(names, arrays, strict=True)) | {"recurrent_activation": "sigmoid"}
    return _ours(json.dumps({"kind": "tuple", "layers": [layer] * 2000}))


def _ours(net):
    """Return a file marked as ours, of a net described by a text."""
    header, data = _sound()
    header["__metadata__"] = {"format": "jaxgru", "version": "1", "net": net}
    return _file(header, data)

"""Hostile files of MessagePack. Most are written byte by byte, as no library would write them."""

import math
import struct

from hostile.cases import passed_by, refused
from hostile.sound import INPUTS, UNITS, nnx_arrays

# Heads of objects: a map of one pair, a list of one item.
_MAP1, _LIST1 = b"\x81", b"\x91"


def _text(text):
    return b"\xdb" + struct.pack(">L", len(text)) + text


def _bytes(content):
    return b"\xc6" + struct.pack(">L", len(content)) + content


def _extension(code, content):
    return b"\xc9" + struct.pack(">Lb", len(content), code) + content


def _array(shape, dtype, content):
    """Return an array as Flax packs it: shape, dtype and bytes within an extension."""
    sizes = b"\xdc" + struct.pack(">H", len(shape))
    sizes += b"".join(b"\xcf" + struct.pack(">Q", size) for size in shape)
    return _extension(1, b"\x93" + sizes + _text(dtype) + _bytes(content))


def _zeros(shape, dtype):
    return _array(shape, dtype, bytes(4 * math.prod(shape)))


def _map(entries):
    pairs = b"".join(_text(name) + content for name, content in entries.items())
    return b"\xdf" + struct.pack(">L", len(entries)) + pairs


def _cell(**changed):
    """Return a sound GRU of Flax nnx, with some objects in the place of arrays."""
    entries = {
        layer.encode(): {
            name.encode(): _array(array.shape, b"float32", array.tobytes())
            for name, array in arrays.items()
        }
        for layer, arrays in nnx_arrays().items()
    }
    entries[b"dense_i"] |= {name.encode(): content for name, content in changed.items()}
    return _map({layer: _map(arrays) for layer, arrays in entries.items()})


@refused("it begins with")
def map_of_4_billion(folder):
    """A map declared with as many pairs as 32 bits hold."""
    return b"\xdf\xff\xff\xff\xff" + _text(b"a")


@refused("MessagePack is damaged")
def text_of_4_gibibytes(folder):
    """A text declared longer than the file."""
    return _cell(more=b"\xdb\xff\xff\xff\xffabc")


@refused("MessagePack is damaged")
def extension_of_4_gibibytes(folder):
    """An extension declared longer than the file."""
    return _cell(more=b"\xc9\xff\xff\xff\xff\x01abc")


@refused("too many objects")
def lists_of_lists(folder):
    """A million empty lists of a byte each, which are 56 bytes each in Python."""
    return _cell(more=b"\xdd" + struct.pack(">L", 10**6) + b"\x90" * 10**6)


@refused("kernel has dtype .object")
def array_of_objects(folder):
    """An array whose dtype is object: its bytes would be taken for addresses in memory."""
    return _cell(kernel=_array((INPUTS, 3 * UNITS), b"object", bytes(8 * INPUTS * 3 * UNITS)))


@refused("kernel has dtype .V2147483647")
def dtype_that_is_a_program(folder):
    """A dtype that NumPy would take apart, and which may ask for gigabytes an element."""
    return _cell(kernel=_array((INPUTS, 3 * UNITS), b"V2147483647,(9999,9999)f8", bytes(8)))


@refused("w_i. has dtype .int32")
def names_alike_for_3000_characters(folder):
    """A GRU in whose long names only the ends tell its arrays apart, one of them of integers."""
    shapes = {b"w_i": (INPUTS, 3 * UNITS), b"w_h": (UNITS, 3 * UNITS), b"b": (3 * UNITS,)}
    arrays = {name: _zeros(shape, b"float32") for name, shape in shapes.items()}
    return _map({b"x" * 3000: _map(arrays | {b"w_i": _zeros(shapes[b"w_i"], b"int32")})})


@passed_by()
def extension_of_another_code(folder):
    """An extension that other programs take for a time, and some for a pickle."""
    return _cell(time=_extension(-1, bytes(12)), other=_extension(4, b"cos\nsystem\n"))

"""Damaged and mistaken files of torch.save: each is one WeightsError that says what is wrong.

The files are put together instruction by instruction, so PyTorch is not needed. What attacks is in
``hostile.pickles``.
"""

import io
import pickle
import re
import tarfile
import zipfile

import numpy as np
import pytest

import jaxgru

UNITS, INPUTS = 3, 2
SHAPES = {"weight_ih_l0": (9, INPUTS), "weight_hh_l0": (9, UNITS)}


def _text(text):
    return b"X" + len(text).to_bytes(4, "little") + text.encode()


def _number(number):
    return b"\x8a\x08" + number.to_bytes(8, "little", signed=True)


def _tuple(*items):
    return b"(" + b"".join(items) + b"t"


def _numbers(numbers):
    return _tuple(*map(_number, numbers))


def _name(name):
    return b"c" + "\n".join(name.rsplit(".", 1)).encode() + b"\n"


def _call(name, *arguments):
    return _name(name) + _tuple(*arguments) + b"R"


def _dict(items):
    return b"}(" + b"".join(_text(key) + value for key, value in items.items()) + b"u"


def _storage(key, length, *more, kind="torch.FloatStorage", what="storage"):
    return _tuple(_text(what), _name(kind), _text(key), _text("cpu"), _number(length), *more) + b"Q"


def _tensor(storage, shape, strides, offset=0, *, make="_rebuild_tensor_v2", more=()):
    parts = (storage, _number(offset), _numbers(shape), _numbers(strides), b"\x89", b"N", *more)
    return _call(f"torch._utils.{make}", *parts)


def _tensors(legacy=False, **changed):
    """Return the tensors of a sound GRU without biases, some of them replaced."""
    more = (b"N",) if legacy else ()
    sound = {
        name: _tensor(_storage(name, rows * columns, *more), (rows, columns), (columns, 1))
        for name, (rows, columns) in SHAPES.items()
    }
    return sound | changed


def _contents():
    return {
        name: np.arange(rows * columns, dtype=np.float32).tobytes()
        for name, (rows, columns) in SHAPES.items()
    }


def _pickle(body):
    return b"\x80\x02" + body + b"."


def _archive(body=None, *, storages=None, more=(), **options):
    """Return an archive of a pickle, given without its beginning and end, and of storages."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **options) as archive:
        archive.writestr("a/data.pkl", _pickle(_dict(_tensors()) if body is None else body))
        for key, content in (_contents() if storages is None else storages).items():
            archive.writestr(f"a/data/{key}", content)
        for name, content in more:
            archive.writestr(name, content)
    return file.getvalue()


def _changed(**tensors):
    return _archive(_dict(_tensors(**tensors)))


_KEYS = b"](" + b"".join(map(_text, SHAPES)) + b"e"


def _stream(body=None, *, version=1001, keys=_KEYS, storages=None):
    """Return a file of the older format."""
    first = b"\x8a\x0a" + (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
    body = _dict(_tensors(legacy=True)) if body is None else body
    content = b"".join(map(_pickle, (first, _number(version), b"}", body, keys)))
    for stored in (_contents() if storages is None else storages).values():
        content += (len(stored) // 4).to_bytes(8, "little") + stored
    return content


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.addfile(tarfile.TarInfo("weights.pt"))
    return file.getvalue()


_FLOATS = _storage("weight_ih_l0", 18)
_PLAIN = "expected tensors in plain containers, as torch.save(module.state_dict(), path) writes"
_DEEP = b"}" + b"".join(_text("k") + b"}" for _ in range(65)) + b"s" * 65
_DTYPE = _name("torch.float8_e4m3fn")

BAD_FILES = {
    # The pickle
    "pickle cut short": (_archive(b"X\x09\x00"), "its pickle is cut short: expected it to go on"),
    "pickle without an end": (_archive(b"}")[:60], "the zip archive is damaged or cut short"),
    "name cut short": (_archive(b"ctorch"), "its pickle is cut short"),
    "unknown instruction": (_archive(b"I1\n"), "has the instruction b'I': expected those that to"),
    "other protocol": (pickle.dumps({}, 5), f"its pickle is of protocol 5: {_PLAIN}"),
    "nothing to return": (_archive(b""), "its pickle is damaged (pop from empty list)"),
    "nothing to put into a tuple": (_archive(b"\x86"), "damaged (the stack is too short)"),
    "no mark": (_archive(b"t"), "its pickle is damaged"),
    "nothing in the memo": (_archive(b"h\x05"), "its pickle is damaged"),
    "text that is none": (_archive(b"X\x01\x00\x00\x00\xff"), "its pickle is damaged ('utf-8' co"),
    "append to a tuple": (_archive(b")Na"), f"its pickle appends to what is no list: {_PLAIN}"),
    "item of a list": (_archive(b"]NNs"), f"its pickle sets items of what is no dict: {_PLAIN}"),
    "half an item": (_archive(b"}(Nu"), "its pickle sets items of what is no dict"),
    "attributes of a list": (_archive(b"]}b"), "its pickle sets the attributes of an object"),
    "too many instructions": (
        _archive(b"N" * (2**20 + 1), compression=zipfile.ZIP_DEFLATED),
        "its pickle has over 1048576 instructions: expected fewer",
    ),
    # What it makes
    "unknown name": (_archive(_name("numpy.load")), f"names 'numpy.load': {_PLAIN}"),
    "call of a type": (_archive(_call("torch.FloatStorage")), "its pickle calls what is no way to"),
    "call of a text": (_archive(_text("torch.Size") + b")R"), "its pickle calls what is no way to"),
    "call with a list": (
        _archive(_name("torch.Size") + b"]R"),
        "its pickle calls torch.Size in an unknown way",
    ),
    "dict of Python 2": (
        _archive(_call("collections.OrderedDict", b"]")),
        "its pickle fills an OrderedDict as Python 2 does",
    ),
    "module by reference": (
        _archive(_storage("0", 1, what="module")),
        "its pickle refers to what is no storage of a known form",
    ),
    "view of a storage": (
        _stream(_dict({"x": _storage("x", 1, _tuple(_text("y"), _number(0), _number(1)))})),
        "its pickle refers to what is no storage of a known form",
    ),
    "storage in two forms": (
        _changed(x=_storage("weight_ih_l0", 19)),
        "its pickle refers to one storage in two forms",
    ),
    "tensor of no storage": (
        _changed(x=_tensor(b"N", (1,), (1,))),
        "its pickle has a tensor of an unknown form",
    ),
    "tensor with fewer strides": (
        _changed(x=_tensor(_FLOATS, (1, 1), (1,))),
        "its pickle has a tensor of an unknown form",
    ),
    "tensor of 65 axes": (
        _changed(x=_tensor(_FLOATS, [1] * 65, [1] * 65)),
        "its pickle has a tensor of an unknown form",
    ),
    "tensor of an unknown type": (
        _changed(x=_tensor(_FLOATS, (1,), (1,), make="_rebuild_tensor_v3", more=(b"N",))),
        "its pickle has a tensor of an unknown type",
    ),
    "weight of 8 bits": (
        _changed(
            weight_hh_l0=_tensor(_FLOATS, (9, 3), (3, 1), make="_rebuild_tensor_v3", more=(_DTYPE,))
        ),
        "weight_hh_l0 has dtype torch.float8_e4m3fn: expected floating-point numbers",
    ),
    "weight that is negated": (
        _changed(weight_ih_l0=_tensor(_FLOATS, (9, 2), (2, 1), more=(_dict({"neg": b"\x88"}),))),
        "weight_ih_l0 has dtype changed Float: expected floating-point numbers",
    ),
    # The tensors
    "view beyond the storage": (
        _changed(weight_ih_l0=_tensor(_FLOATS, (9, 2), (2, 1), 1)),
        "'weight_ih_l0' has shape (9, 2), strides (2, 1) and offset 1: expected a view of the 18 "
        "numbers that its storage has",
    ),
    "few numbers viewed as many": (
        _changed(x=_tensor(_FLOATS, (2**25,), (0,))),
        "its tensors declare 134217933 bytes: expected at most 67108864",
    ),
    "two of one name": (
        _archive(
            _dict({"a.b": _tensor(_FLOATS, (1,), (1,)), "a": _dict(_tensors())}).replace(
                _text("weight_hh_l0"), _text("b"), 1
            )
        ),
        "two tensors are called 'a.b': expected one",
    ),
    "containers too deep": (_archive(_DEEP), "nested over 64 levels: expected fewer"),
    "no tensor": (_archive(b"}"), "no GRU is among its 0 arrays ()"),
    # The archive
    "two pickles": (
        _archive(more=[("b/data.pkl", b"")]),
        "2 entries are called data.pkl: expected one",
    ),
    "unknown byte order": (
        _archive(more=[("a/byteorder", b"middle")]),
        "'a/byteorder' is b'middle': expected b'little' or b'big'",
    ),
    "storage that is missing": (
        _archive(storages={}),
        "'a/data/weight_hh_l0' is missing in the archive",
    ),
    "storage that is too short": (
        _archive(storages=_contents() | {"weight_hh_l0": bytes(100)}),
        "'a/data/weight_hh_l0' has 100 bytes: expected 108, as the pickle says 27 numbers of type "
        "Float",
    ),
    # The older format
    "other version": (_stream(version=1000), "it is a pickle of another format: expected the mark"),
    "other pickle": (pickle.dumps([5], 2), "it is a pickle of another format"),
    "no list of storages": (_stream(keys=b"}"), "its last pickle is not a list of the storages"),
    "list of other storages": (_stream(keys=b"]" + _text("x") + b"a"), "is not a list of the st"),
    "list without a storage": (
        _stream(keys=b"]" + _text("weight_ih_l0") + b"a"),
        "storage 'weight_hh_l0' is not there: expected it at the end",
    ),
    "storage of an unknown type": (
        _stream(
            _dict({"x": _storage("x", 1, kind="torch.OddStorage")}), keys=b"]" + _text("x") + b"a"
        ),
        "a storage has the unknown type 'Odd': expected another",
    ),
    "storage of another length": (
        _stream(storages=_contents() | {"weight_hh_l0": bytes(104)}),
        "storage 'weight_hh_l0' has 26 numbers of type Float, or is cut short: expected 27",
    ),
    "storages cut short": (
        _stream()[:-1],
        "storage 'weight_hh_l0' has 27 numbers of type Float, or",
    ),
    # Other files
    "tar archive": (_tar(), "it is a tar archive: expected a file of torch.save"),
    "archive cut short": (_archive()[:-9], "the zip archive is damaged or cut short"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name, tmp_path):
    content, message = BAD_FILES[name]
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=re.escape(f"{path}: ")) as raised:
        jaxgru.load(path)
    assert message in str(raised.value)


@pytest.mark.parametrize("content", [_archive(), _stream()], ids=["archive", "stream"])
def test_what_they_were_before_they_were_spoilt(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    kernel = jaxgru.load(path).kernel
    np.testing.assert_array_equal(kernel[0], [6, 8, 10, 0, 2, 4, 12, 14, 16])

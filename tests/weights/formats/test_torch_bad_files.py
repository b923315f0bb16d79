"""Damaged and mistaken files of torch.save: each is one WeightsError that names what is wrong.

The files are put together instruction by instruction, so PyTorch is not needed. What attacks is in
``hostile.pickles``.
"""

import io
import re
import tarfile
import zipfile

import numpy as np
import pytest
from hostile.pickles import (
    call,
    gru,
    integer,
    legacy,
    mapping,
    pickled,
    spoilt,
    storage_of,
    tensor,
    text,
    tuple_of,
    zipped,
)
from hostile.sound import archive, torch_arrays

import jaxgru

_FLOATS = storage_of("0", 18)
_ONE = tensor((1,), count=18)
_DEEP = b"}" + b"".join(text("k") + b"}" for _ in range(65)) + b"s" * 65
_CONTENTS = {str(key): array.tobytes() for key, array in enumerate(torch_arrays().values())}


def _stream(keys=None, *, lengths=None, body=None):
    """Return a file of the older format, with other keys or lengths of storages."""
    tensors = mapping(gru()[0]) if body is None else body
    keys = b"](" + b"".join(map(text, _CONTENTS)) + b"e" if keys is None else keys
    lengths = lengths or [len(content) // 4 for content in _CONTENTS.values()]
    stored = zip(lengths, _CONTENTS.values(), strict=False)
    tail = b"".join(length.to_bytes(8, "little") + content for length, content in stored)
    return legacy(tensors, keys, tail=tail)


def _with_entries(*more, storages=_CONTENTS):
    return zipped(mapping(gru()[0]), storages, more)


def _tar():
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as target:
        target.addfile(tarfile.TarInfo("weights.pt"))
    return file.getvalue()


BAD_FILES = {
    # The pickle
    "cut short": (zipped(b"X\x09\x00"), "its pickle is damaged ('not enough data in stream"),
    "name cut short": (zipped(b"ctorch"), "its pickle is damaged ('a name is cut short')"),
    "no instruction": (zipped(b"\xff"), "there is b'\\\\xff' in the place of an instruction"),
    "of protocol 0": (zipped(b"I1\n"), "has the instruction INT of protocol 0: expected tensors"),
    "of an extension": (zipped(b"\x82\x01"), "its pickle has the instruction EXT1: expected"),
    "nothing to return": (zipped(b""), "its pickle is damaged ('pop from empty list')"),
    "nothing to put into a tuple": (zipped(b"\x86"), "damaged ('the stack is too short')"),
    "no mark": (zipped(b"t"), "its pickle is damaged"),
    "nothing in the memo": (zipped(b"h\x05"), "its pickle is damaged"),
    "no UTF-8": (zipped(b"X\x01\x00\x00\x00\xff"), "its pickle is damaged (\"'utf-8' co"),
    "append to a tuple": (zipped(b")Na"), "its pickle appends to what is no list: expected"),
    "item of a list": (zipped(b"]NNs"), "its pickle sets items of what is no dict: expected"),
    "half an item": (zipped(b"}(Nu"), "its pickle sets items of what is no dict"),
    "attributes of a list": (zipped(b"]}b"), "its pickle sets the attributes of a container"),
    "call with a list": (zipped(b"cos\nname\n]R"), "its pickle calls something with 'list'"),
    "name of numbers": (zipped(b"K\x01K\x02\x93"), "its pickle has a name that is no text"),
    "too many instructions": (
        archive([("a/data.pkl", pickled(b"N" * (2**20 + 1)))], zipfile.ZIP_DEFLATED),
        "its pickle has over 1048576 instructions: expected fewer",
    ),
    # The tensors and arrays
    "storage in two forms": (spoilt(x=tensor((1,), count=19)), "storage '0' has two forms"),
    "no storage": (spoilt(x=tensor((1,), storage=b"N")), "refers to what is no storage of a kn"),
    "view of a storage": (
        spoilt(x=tensor((1,), storage=storage_of("x", 1, tuple_of(text("y"), integer(0))))),
        "its pickle refers to what is no storage of a known form",
    ),
    "fewer strides": (spoilt(x=tensor((1, 1), strides=(1,))), "has a tensor of an unknown form"),
    "65 axes": (spoilt(x=tensor([1] * 65)), "its pickle has a tensor of an unknown form"),
    "fewer arguments": (
        spoilt(x=call("torch._utils._rebuild_tensor_v2", _FLOATS)),
        "its pickle has a tensor of an unknown form",
    ),
    "unknown type": (
        spoilt(x=tensor((1,), count=18, make="v3", more=(b"N",))),
        "its pickle has a tensor of an unknown type",
    ),
    "weight of 8 bits": (
        spoilt(
            weight_hh_l0=tensor((9, 3), count=18, make="v3", more=(b"ctorch\nfloat8_e4m3fn\n",))
        ),
        "weight_hh_l0 has dtype torch.float8_e4m3fn: expected floating-point numbers",
    ),
    "weight that is negated": (
        spoilt(weight_ih_l0=tensor((9, 2), count=18, more=(mapping({"neg": b"\x88"}),))),
        "weight_ih_l0 has dtype changed Float: expected floating-point numbers",
    ),
    "view beyond the storage": (
        spoilt(weight_ih_l0=tensor((9, 2), count=18, offset=1)),
        "'weight_ih_l0' has shape (9, 2), strides (2, 1) and offset 1: expected a view of the 18 "
        "numbers that its storage has",
    ),
    "few numbers viewed as many": (
        spoilt(x=tensor((2**25,), count=18, strides=(0,))),
        "bytes: expected at most 67108864",
    ),
    "array of other bytes": (
        spoilt(x=call("numpy._core.numeric._frombuffer", b"C\x01x", call("numpy.dtype",
               text("f4")), tuple_of(integer(2)), text("C"))),
        "an array of shape (2,) and type float32 has 1 bytes: expected others",
    ),
    "array of no form": (
        spoilt(x=call("numpy._core.numeric._frombuffer", b"N")),
        "its pickle has an array of an unknown form",
    ),
    "two of one name": (
        spoilt(**{"a.b": _ONE, "a": mapping({"b": _ONE})}),
        "two tensors are called 'a.b': expected one",
    ),
    "containers too deep": (zipped(_DEEP), "nested over 64 levels: expected fewer"),
    "no tensor": (zipped(b"}"), "no GRU is among its 0 arrays ()"),
    # The archive
    "two pickles": (
        _with_entries(("b/data.pkl", b"")),
        "2 entries are called data.pkl: expected one",
    ),
    "storage that is missing": (
        _with_entries(storages={}),
        "is missing in the archive",
    ),
    "storage that is too short": (
        _with_entries(storages=_CONTENTS | {"1": bytes(100)}),
        "'archive/data/1' has 100 bytes: expected 108, as the pickle has 27 numbers of type Float",
    ),
    "unknown byte order": (
        archive([("a/data.pkl", pickled(mapping(gru()[0]))), ("a/byteorder", b"middle")]),
        "'a/byteorder' is b'middle': expected b'little' or b'big'",
    ),
    "archive cut short": (zipped(b"}")[:-9], "the zip archive is damaged or cut short"),
    # The older format, and other files
    "other version": (
        b"".join(map(pickled, (integer(0x1950A86A20F9469CFC6C), integer(1000)))),
        "it is a stream of another version: expected 1001",
    ),
    "other pickle": (pickled(b"]"), "no GRU is among its 0 arrays ()"),
    "no list of storages": (_stream(b"}"), "its last pickle is not a list of the storages"),
    "list of other storages": (_stream(b"]" + text("x") + b"a"), "is not a list of the storages"),
    "list without a storage": (
        _stream(b"]" + text("0") + b"a"),
        "storage '1' is not there: expected it at the end",
    ),
    "storage of an unknown type": (
        _stream(
            b"]" + text("x") + b"a",
            body=mapping({"x": storage_of("x", 1, kind="torch.OddStorage")}),
        ),
        "a storage has the unknown type 'Odd': expected another",
    ),
    "storage of another length": (
        _stream(lengths=[18, 26]),
        "storage '1' has 26 numbers of type Float, or is cut short: expected 27",
    ),
    "storages cut short": (_stream()[:-1], "storage '3' has 9 numbers of type Float, or"),
    "tar archive": (_tar(), "it is a tar archive: expected a file of torch.save"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_file(name, tmp_path):
    content, message = BAD_FILES[name]
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=re.escape(f"{path}: ")) as raised:
        jaxgru.load(path)
    assert message in str(raised.value)


@pytest.mark.parametrize("content", [spoilt(), _stream()], ids=["archive", "stream"])
def test_what_they_were_before_they_were_spoilt(tmp_path, content):
    path = tmp_path / "weights.pt"
    path.write_bytes(content)
    reset, update, candidate = np.split(torch_arrays()["weight_ih_l0"], 3)
    expected = np.concatenate([update, reset, candidate]).T
    np.testing.assert_array_equal(jaxgru.load(path).kernel, expected)

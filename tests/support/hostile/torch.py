"""Wrong checkpoints of PyTorch, and wrong pickles, written instruction by instruction.

None of it needs PyTorch. In protocol 2 a tuple is a mark, its items and ``t``; a call is a name, a
tuple of arguments and ``R``.
"""

import struct
import zipfile

from hostile.sound import archive, shell, torch_arrays

_FALSE, _STOP = b"\x89", b"."
_PROTOCOL = b"\x80\x02"
# The numbers that begin the older format.
_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001


def text(text):
    encoded = text.encode()
    return b"X" + struct.pack("<L", len(encoded)) + encoded


def integer(number):
    length = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([length]) + number.to_bytes(length, "little", signed=True)


def tuple_of(*items):
    return b"(" + b"".join(items) + b"t"


def call(name, *arguments):
    module, _, function = name.rpartition(".")
    return b"c" + f"{module}\n{function}\n".encode() + tuple_of(*arguments) + b"R"


def mapping(items):
    pairs = b"".join(text(name) + value for name, value in items.items())
    return b"}(" + pairs + b"u"


def storage_of(key, count, *more, kind="torch.FloatStorage", what="storage"):
    """Return a reference to a storage that is not in the pickle."""
    module, _, name = kind.rpartition(".")
    kind = f"c{module}\n{name}\n".encode()
    return tuple_of(text(what), kind, text(key), text("cpu"), integer(count), *more) + b"Q"


def tensor(shape, *, key="0", count=0, offset=0, strides=None, storage=None, more=(), make="v2"):
    """Return a tensor that is a view of a storage."""
    strides = _strides(shape) if strides is None else strides
    storage = storage_of(key, count) if storage is None else storage
    sizes, steps = (tuple_of(*map(integer, numbers)) for numbers in (shape, strides))
    hooks = call("collections.OrderedDict")
    parts = (storage, integer(offset), sizes, steps, _FALSE, hooks, *more)
    return call(f"torch._utils._rebuild_tensor_{make}", *parts)


def pickled(body):
    """Return a pickle of protocol 2."""
    return _PROTOCOL + body + _STOP


def _strides(shape):
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def zipped(pickle, storages=(), more=()):
    """Return a checkpoint in the zip format: a pickle, and storages by their keys."""
    entries = [("archive/data.pkl", _PROTOCOL + pickle + _STOP), ("archive/byteorder", b"little")]
    entries += [(f"archive/data/{key}", content) for key, content in dict(storages).items()]
    return archive([*entries, ("archive/version", b"3\n"), *more])


def gru(**changed):
    """Return the tensors and storages of a sound GRU, with some tensors replaced."""
    tensors, storages = {}, {}
    for key, (name, array) in enumerate(torch_arrays().items()):
        tensors[name] = tensor(array.shape, key=str(key), count=array.size)
        storages[str(key)] = array.tobytes()
    return tensors | changed, storages


def spoilt(**changed):
    tensors, storages = gru(**changed)
    return zipped(mapping(tensors), storages)


def legacy(*pickles, tail=b""):
    """Return a file of the older format: its numbers, then further pickles, then storages."""
    first = (integer(_MAGIC), integer(_VERSION), mapping({"little_endian": b"\x88"}))
    return b"".join(_PROTOCOL + pickle + _STOP for pickle in (*first, *pickles)) + tail


_CONTENTS = {str(key): array.tobytes() for key, array in enumerate(torch_arrays().values())}
_FLOATS = storage_of("0", 18)
_ONE = tensor((1,), count=18)
_DEEP = b"}" + b"".join(text("k") + b"}" for _ in range(65)) + b"s" * 65


def stream(keys=None, *, body=None):
    """Return a file of the older format, with other keys of storages."""
    tensors = mapping(gru()[0]) if body is None else body
    keys = b"](" + b"".join(map(text, _CONTENTS)) + b"e" if keys is None else keys
    tail = b"".join(struct.pack("<Q", len(stored) // 4) + stored for stored in _CONTENTS.values())
    return legacy(tensors, keys, tail=tail)


def with_entries(*more, storages=_CONTENTS):
    return zipped(mapping(gru()[0]), storages, more)


def ih(*shape, **options):
    """Return a checkpoint with another weight_ih_l0."""
    return spoilt(weight_ih_l0=tensor(shape or (9, 2), **({"count": 18} | options)))


def run(folder):
    """Return a call that runs a program."""
    return call("os.system", text(shell(folder)))


def by_every_instruction(folder):
    """Return classes that are made, given state and items, by every instruction that calls."""
    arguments, name = tuple_of(text(shell(folder))), b"\x8c\x02os\x8c\x06system\x93"
    made = (name + arguments + b"\x81", name + arguments + b"}\x92", name + arguments + b"R")
    state = mapping({"__setstate__": name}) + b"b"
    return spoilt(**{f"more{i}": value + state + name + b"a" for i, value in enumerate(made)})


def as_numbers(folder):
    array = call("numpy._core.multiarray._reconstruct", b"cnumpy\nndarray\n", b")", b"C\x01b")
    state = tuple_of(integer(1), tuple_of(integer(1)), run(folder), b"\x89", run(folder)) + b"b"
    kind = call("torch._tensor._rebuild_from_type_v2", run(folder), run(folder), b")")
    return spoilt(array=array + state, kind=kind)


def streams_within_doubled():
    """Return ten thousand storages in the same bytes, a pickle of a thousand instructions."""
    inner = legacy(
        b"N0" * 500 + storage_of("0", 1), b"]" + text("0") + b"a", tail=struct.pack("<Qf", 1, 0)
    )
    held = b"B" + struct.pack("<L", len(inner)) + inner + b"q\x00" + b"0"
    name = b"ctorch.storage\n_load_from_bytes\nq\x010"
    one = tensor((1,), storage=b"h\x01h\x00\x85R")
    items = b"".join(text(str(i)) + one for i in range(10_000))
    return pickled(b"]0" + held + name + b"}(" + items + b"u")


def parameters_within():
    deep = b"ctorch._utils\n_rebuild_parameter\nq\x010N" + b"q\x02\x85q\x030h\x01h\x03R" * 20_000
    return spoilt(more=deep + b"q\x040](" + b"h\x04" * 1000 + b"e")


def absent_array_of_joblib():
    fields = {
        "shape": tuple_of(integer(2**59), integer(2)),
        "dtype": call("numpy.dtype", text("f4")),
    }
    return pickled(b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + mapping(fields) + b"b")


def laughter():
    """Return a list of ten lists of ten lists, 30 times over, each there once."""
    levels = b"".join(
        b"](" + b"".join(b"h" + bytes([level]) for _ in range(10)) + b"eq" + bytes([level + 1])
        for level in range(30)
    )
    return zipped(b"]q\x00" + levels)


def escape():
    tensors, storages = gru()
    tensors = {f"\n\x1b[31m.{name}": tensor for name, tensor in tensors.items()}
    tensors["\n\x1b[31m.weight_hh_l0"] = tensor((3, 9), key="1", count=27)
    return zipped(mapping(tensors), storages)


def storage_elsewhere(folder):
    (folder / "secret").write_bytes(bytes(72))
    return ih(key=f"../../..{folder}/secret")


_NONE_FOUND = "no GRU is among its 0 arrays"
_FLOATING = ": expected floating-point numbers"
_FORM = "its pickle has a tensor of an unknown form"

FILES = {
    "as it should be": (spoilt(), None),
    "as it should be, older": (stream(), None),
    # Programs
    "a program": (lambda f: zipped(run(f)), _NONE_FOUND),
    "a program beside a GRU": (lambda f: spoilt(more=run(f)), None),
    "a program in the older format": (lambda f: legacy(run(f), b"]"), _NONE_FOUND),
    "a program in a plain pickle": (lambda f: pickled(run(f)), _NONE_FOUND),
    "programs by every instruction": (by_every_instruction, None),
    "programs as the numbers of a tensor": (as_numbers, None),
    "a class that would be imported": (
        zipped(b"cantigravity\nModel\n)\x81" + mapping({"training": _FALSE}) + b"b"), _NONE_FOUND),
    "a program of TorchScript": (
        zipped(mapping({}), more=[("archive/code/__torch__.py", b"def forward(self): pass\n")]),
        "it is a TorchScript archive"),
    # The instructions
    "name cut short": (zipped(b"ctorch"), "its pickle is damaged (a name is cut short)"),
    "no instruction": (zipped(b"\xff"), "there is b'\\xff' instead of an instruction"),
    "of protocol 0": (zipped(b"I1\n"), "has the instruction INT of protocol 0: expected tensors"),
    "of an extension": (zipped(b"\x82\x01"), "its pickle has the instruction EXT1: expected"),
    "nothing to return": (zipped(b""), "its pickle is damaged (pop from empty list)"),
    "nothing to put into a tuple": (zipped(b"\x86"), "damaged (the stack is too short)"),
    "no mark": (zipped(b"t"), "its pickle is damaged"),
    "nothing in the memo": (zipped(b"h\x05"), "its pickle is damaged"),
    "memo of 4 billion": (zipped(b"]r\xff\xff\xff\xff"), _NONE_FOUND),
    "no UTF-8": (zipped(b"X\x01\x00\x00\x00\xff"), "its pickle is damaged ('utf-8' co"),
    "text of 4 GiB": (zipped(b"X\xff\xff\xff\xffabc"), "its pickle is damaged"),
    "bytes of 4 GiB": (spoilt(more=call("builtins.bytearray", integer(2**32))), None),
    "append to a tuple": (zipped(b")Na"), "its pickle appends to something other than a list"),
    "item of a list": (zipped(b"]NNs"), "its pickle sets items of something other than a dict"),
    "half an item": (zipped(b"}(Nu"), "its pickle sets items of something other than a dict"),
    "attributes of a list": (zipped(b"]}b"), "its pickle sets the attributes of a container"),
    "call with a list": (zipped(b"cos\nname\n]R"), "its pickle calls something with 'list'"),
    "name of numbers": (zipped(b"K\x01K\x02\x93"), "its pickle has a name that is not text"),
    "name that grows": (
        spoilt(more=text("x" * 200_000) + b"q\x010](" + b"h\x01h\x01\x93" * 5_000 + b"e"), None),
    "name that writes to the terminal": (escape(), r"\n\x1b/31m/weight_hh_l0' has shape"),
    "too many instructions": (
        archive([("a/data.pkl", pickled(b"N" * (2**20 + 1)))], zipfile.ZIP_DEFLATED),
        "its pickle has over 1048576 instructions: expected fewer"),
    "streams within, doubled": (streams_within_doubled(), "over 1048576 instructions"),
    "a checkpoint within": (
        spoilt(more=tensor((1,), storage=call("torch.storage._load_from_bytes", b"C\x00"))),
        "its pickle has a storage in bytes"),
    # The containers
    "containers too deep": (zipped(_DEEP), "nested over 64 levels: expected fewer"),
    "a key that is a tuple 100,000 deep": (zipped(b"}()" + b"\x85" * 100_000 + b"Nu"), _NONE_FOUND),
    "a parameter of a parameter": (parameters_within(), "nested over 64 levels"),
    "a dict within itself": (zipped(b"}q\x00(" + text("model") + b"h\x00u"), _NONE_FOUND),
    "laughter": (laughter(), _NONE_FOUND),
    # The tensors and arrays
    "storage in two forms": (spoilt(x=tensor((1,), count=19)), "storage '0' has two forms"),
    "no storage": (spoilt(x=tensor((1,), storage=b"N")), "refers to a storage of unknown form"),
    "view of a storage": (
        spoilt(x=tensor((1,), storage=storage_of("x", 1, tuple_of(text("y"), integer(0))))),
        "its pickle refers to a storage of unknown form"),
    "fewer strides": (spoilt(x=tensor((1, 1), strides=(1,))), _FORM),
    "65 axes": (spoilt(x=tensor([1] * 65)), _FORM),
    "fewer arguments": (spoilt(x=call("torch._utils._rebuild_tensor_v2", _FLOATS)), _FORM),
    "before the storage": (ih(offset=-18), _FORM),
    "unknown type": (
        spoilt(x=tensor((1,), count=18, make="v3", more=(b"N",))),
        "its pickle has a tensor of an unknown type"),
    "weight of 8 bits": (
        ih(make="v3", more=(b"ctorch\nfloat8_e4m3fn\n",)),
        f"weight_ih_l0 has dtype torch.float8_e4m3fn{_FLOATING}"),
    "weight that is negated": (
        ih(more=(mapping({"neg": b"\x88"}),)), f"weight_ih_l0 has dtype changed Float{_FLOATING}"),
    "view beyond the storage": (
        ih(offset=1),
        "'weight_ih_l0' has shape (9, 2), strides (2, 1) and offset 1: expected a view of the 18 "
        "numbers that its storage has"),
    "few numbers viewed as many": (
        spoilt(x=tensor((2**25,), count=18, strides=(0,))), "bytes: expected at most 67108864"),
    "one number viewed as 4 exabytes": (
        ih(2**30, 2**30, strides=(0, 0)), "its tensors declare ... expected at most"),
    "array of other bytes": (
        spoilt(x=call("numpy._core.numeric._frombuffer", b"C\x01x", call("numpy.dtype",
               text("f4")), tuple_of(integer(2)), text("C"))),
        "an array of shape (2,) and type float32 has 1 bytes: expected others"),
    "array of no form": (
        spoilt(x=call("numpy._core.numeric._frombuffer", b"N")),
        "its pickle has an array of an unknown form"),
    "array of joblib's that is absent": (absent_array_of_joblib(), "cut short"),
    "two of one name": (
        spoilt(**{"a.b": _ONE, "a": mapping({"b": _ONE})}),
        "two tensors are called 'a.b': expected one"),
    # The archive
    "two pickles": (
        with_entries(("b/data.pkl", b"")), "2 entries are called data.pkl: expected one"),
    "storage that is missing": (with_entries(storages={}), "is missing in the archive"),
    "storage that is too short": (
        with_entries(storages=_CONTENTS | {"1": bytes(100)}),
        "'archive/data/1' has 100 bytes: expected 108, as the pickle has 27 numbers of type Float"),
    "storage elsewhere": (storage_elsewhere, "archive/data/../../ ... is missing in the archive"),
    "unknown byte order": (
        archive([("a/data.pkl", pickled(mapping(gru()[0]))), ("a/byteorder", b"middle")]),
        "'a/byteorder' is b'middle': expected b'little' or b'big'"),
    # The older format, and other pickles
    "other version": (
        b"".join(map(pickled, (integer(_MAGIC), integer(1000)))),
        "it is a stream of another version: expected 1001"),
    "other pickle": (pickled(b"]"), "no GRU is among its 0 arrays ()"),
    "no list of storages": (stream(b"}"), "its last pickle is not a list of the storages"),
    "list of other storages": (stream(b"]" + text("x") + b"a"), "is not a list of the storages"),
    "list without storages": (
        stream(b"]" + text("0") + b"a"), "storage '1' is not there: expected it at the end"),
    "storage of an unknown type": (
        stream(b"]" + text("x") + b"a",
               body=mapping({"x": storage_of("x", 1, kind="torch.OddStorage")})),
        "a storage has the unknown type 'Odd': expected another"),
    "storage of another length": (
        stream().replace(struct.pack("<Q", 27), struct.pack("<Q", 26)),
        "storage '1' has 26 numbers of type Float, or is cut short: expected 27"),
    "storages cut short": (stream()[:-1], "storage '3' has 9 numbers of type Float, or"),
}  # fmt: skip

"""Hostile checkpoints of PyTorch: pickles that are written instruction by instruction.

None of it needs PyTorch. In protocol 2 a tuple is a mark, its items and ``t``; a call is a name, a
tuple of arguments and ``R``.
"""

import struct

from hostile.cases import passed_by, refused, shell
from hostile.sound import archive, torch_arrays

_NONE, _FALSE, _STOP = b"N", b"\x89", b"."
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


@passed_by()
def nothing(folder):
    """Nothing: a sound checkpoint, which the spoilt ones differ from in one place."""
    return spoilt()


@refused("no GRU is among its 0 arrays")
def program(folder):
    """A pickle that runs a program."""
    return zipped(call("os.system", text(shell(folder))))


@passed_by()
def program_beside_a_gru(folder):
    """A sound GRU, and a value that is the result of a program."""
    return spoilt(more=call("posix.system", text(shell(folder))))


@refused("no GRU is among its 0 arrays")
def program_in_the_older_format(folder):
    """The same in a stream of pickles."""
    return legacy(call("os.system", text(shell(folder))), b"]")


@refused("no GRU is among its 0 arrays")
def program_in_a_plain_pickle(folder):
    """A pickle of Python that runs a program, and is no checkpoint."""
    return _PROTOCOL + call("os.system", text(shell(folder))) + _STOP


@passed_by()
def expression(folder):
    """A pickle that evaluates a text."""
    return spoilt(more=call("builtins.eval", text(f"__import__('os').system({shell(folder)!r})")))


@passed_by()
def program_by_every_instruction(folder):
    """Programs as classes that are made, given state and items, by every instruction that calls."""
    arguments = tuple_of(text(shell(folder)))
    name = b"\x8c\x02os\x8c\x06system\x93"
    made = (name + arguments + b"\x81", name + arguments + b"}\x92", name + arguments + b"R")
    state = mapping({"__setstate__": name}) + b"b"
    return spoilt(**{f"more{i}": value + state + name + b"a" for i, value in enumerate(made)})


@passed_by()
def program_as_the_numbers_of_a_tensor(folder):
    """Programs whose results would be the type of a tensor, and the numbers of an array."""
    run = call("os.system", text(shell(folder)))
    array = call("numpy._core.multiarray._reconstruct", b"cnumpy\nndarray\n", b")", b"C\x01b")
    state = tuple_of(integer(1), tuple_of(integer(1)), run, b"\x89", run) + b"b"
    return spoilt(
        array=array + state, kind=call("torch._tensor._rebuild_from_type_v2", run, run, b")")
    )


@refused("no GRU is among its 0 arrays")
def module_that_nobody_has(folder):
    """A whole module, of a class that would be imported: antigravity opens a browser."""
    return zipped(b"cantigravity\nModel\n)\x81" + mapping({"training": _FALSE}) + b"b")


@refused("its pickle has a storage in bytes")
def checkpoint_within(folder):
    """A checkpoint within the checkpoint, which PyTorch once read without its own precautions."""
    inside = call("torch.storage._load_from_bytes", b"C\x00")
    return spoilt(more=tensor((1,), storage=inside))


@passed_by()
def bytes_of_4_gibibytes(folder):
    """A call that allocates as much as a number."""
    return spoilt(more=call("builtins.bytearray", integer(2**32)))


@refused("over 1048576 instructions")
def checkpoints_within_doubled(folder):
    """Ten thousand storages in the same bytes, which hold a pickle of a thousand instructions."""
    inner = legacy(
        b"N0" * 500 + storage_of("0", 1), b"]" + text("0") + b"a", tail=struct.pack("<Qf", 1, 0)
    )
    held = b"B" + struct.pack("<L", len(inner)) + inner + b"q\x00" + b"0"
    name = b"ctorch.storage\n_load_from_bytes\nq\x010"
    one = tensor((1,), storage=b"h\x01h\x00\x85R")
    items = b"".join(text(str(i)) + one for i in range(10_000))
    return _PROTOCOL + b"]0" + held + name + b"}(" + items + b"u" + _STOP


@refused("nested over 64 levels")
def tensors_within_tensors(folder):
    """A parameter of a parameter, 20,000 deep, in a list 1,000 times."""
    deep = b"ctorch._utils\n_rebuild_parameter\nq\x010N" + b"q\x02\x85q\x030h\x01h\x03R" * 20_000
    return spoilt(more=deep + b"q\x040](" + b"h\x04" * 1000 + b"e")


@refused("cut short")
def array_of_joblib_that_is_not_there(folder):
    """An array of 4 exabytes, whose numbers should follow in the file."""
    dtype = call("numpy.dtype", text("f4"))
    fields = {"shape": tuple_of(integer(2**59), integer(2)), "dtype": dtype}
    wrapper = b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81" + mapping(fields) + b"b"
    return _PROTOCOL + wrapper + _STOP


@passed_by()
def names_that_grow(folder):
    """A name of 200 kB, made of a text in the memo, 5,000 times."""
    long = text("x" * 200_000) + b"q\x010"
    return spoilt(more=long + b"](" + b"h\x01h\x01\x93" * 5_000 + b"e")


@refused("its tensors declare .*expected at most")
def stride_of_nothing(folder):
    """A tensor of 4 exabytes, every number of which is the same four bytes."""
    huge = tensor((2**30, 2**30), key="0", count=18, strides=(0, 0))
    return spoilt(weight_ih_l0=huge)


@refused("its tensors declare .*expected at most")
def kernel_of_one_number(folder):
    """A tensor of 1.2 GB that is one row of numbers over and over, and would be a sound GRU's."""
    count = 3 * 10_000
    recurrent = tensor((count, 10_000), key="0", count=18, strides=(0, 0))
    return spoilt(weight_hh_l0=recurrent)


@refused("expected a view of the 18 numbers")
def tensor_beyond_its_storage(folder):
    """A tensor that begins behind the end of its numbers: memory of others."""
    return spoilt(weight_ih_l0=tensor((9, 2), count=18, offset=2**40))


@refused("a tensor of an unknown form")
def tensor_before_its_storage(folder):
    """A tensor that begins before its numbers."""
    return spoilt(weight_ih_l0=tensor((9, 2), count=18, offset=-18))


@refused("has 72 bytes: expected 4398046511104")
def storage_larger_than_its_bytes(folder):
    """A storage declared with more numbers than the archive has bytes."""
    return spoilt(weight_ih_l0=tensor((9, 2), count=2**40))


@refused(r"archive/data/\.\./\.\./.* is missing in the archive")
def storage_out_of_the_archive(folder):
    """A storage whose key is a path on the disk."""
    (folder / "secret").write_bytes(bytes(72))
    return spoilt(weight_ih_l0=tensor((9, 2), key=f"../../..{folder}/secret", count=18))


@refused("storage .* is not there")
def storages_left_out(folder):
    """The older format with tensors, and a list that names none of their storages."""
    tensors, _ = gru()
    return legacy(mapping(tensors), b"]")


@refused("no GRU is among its 0 arrays")
def tuple_nested_deeply(folder):
    """A key that is a tuple, 100,000 deep: Python's hash of it ends the process."""
    return zipped(b"}(" + b")" + b"\x85" * 100_000 + _NONE + b"u")


@refused("nested over 64 levels")
def lists_nested_deeply(folder):
    """Lists, 100,000 deep."""
    return zipped(b"]" * 100_000 + b"a" * 99_999)


@refused("no GRU is among its 0 arrays")
def laughter(folder):
    """A list of ten lists of ten lists, 30 times over, each there once: 10 to the 30 in all."""
    levels = b"".join(
        b"](" + b"".join(b"h" + bytes([level]) for _ in range(10)) + b"eq" + bytes([level + 1])
        for level in range(30)
    )
    return zipped(b"]q\x00" + levels)


@refused("no GRU is among its 0 arrays")
def memo_of_4_billion(folder):
    """A value remembered at place 2 to the 32: memory for all places before it."""
    return zipped(b"]r\xff\xff\xff\xff")


@refused("its pickle is damaged")
def text_of_4_gibibytes(folder):
    """A text declared longer than the file."""
    return zipped(b"X\xff\xff\xff\xffabc")


@refused("has the instruction INT of protocol 0")
def number_of_many_digits(folder):
    """A number of a million digits in text, which takes Python minutes to read."""
    return zipped(b"I" + b"9" * 1_000_000 + b"\n")


@refused("no GRU is among its 0 arrays")
def list_within_itself(folder):
    """A dictionary that is its own value: a walk through it never ends."""
    return zipped(b"}q\x00(" + text("model") + b"h\x00u")


@refused(r"\\n\\x1b\[31m\.weight_hh_l0. has shape")
def name_that_writes_to_the_terminal(folder):
    """A tensor's name with a line's end and a terminal's escape, in a message about its shape."""
    tensors, storages = gru()
    tensors = {f"\n\x1b[31m.{name}": tensor for name, tensor in tensors.items()}
    tensors["\n\x1b[31m.weight_hh_l0"] = tensor((3, 9), key="1", count=27)
    return zipped(mapping(tensors), storages)


@refused("TorchScript")
def script(folder):
    """A program of TorchScript."""
    return zipped(mapping({}), more=[("archive/code/__torch__.py", b"def forward(self): pass\n")])

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


def _text(text):
    encoded = text.encode()
    return b"X" + struct.pack("<L", len(encoded)) + encoded


def _integer(number):
    length = number.bit_length() // 8 + 1
    return b"\x8a" + bytes([length]) + number.to_bytes(length, "little", signed=True)


def _tuple(*items):
    return b"(" + b"".join(items) + b"t"


def _call(name, *arguments):
    module, _, function = name.rpartition(".")
    return b"c" + f"{module}\n{function}\n".encode() + _tuple(*arguments) + b"R"


def _dict(items):
    pairs = b"".join(_text(name) + value for name, value in items.items())
    return b"}(" + pairs + b"u"


def _tensor(shape, *, key="0", count=0, offset=0, strides=None, kind="Float"):
    """Return a tensor that is a view of a storage."""
    strides = _strides(shape) if strides is None else strides
    name = f"ctorch\n{kind}Storage\n".encode()
    storage = _tuple(_text("storage"), name, _text(key), _text("cpu"), _integer(count)) + b"Q"
    sizes, steps = (_tuple(*map(_integer, numbers)) for numbers in (shape, strides))
    hooks = _call("collections.OrderedDict")
    return _call(
        "torch._utils._rebuild_tensor_v2", storage, _integer(offset), sizes, steps, _FALSE, hooks
    )


def _strides(shape):
    strides = [1]
    for size in reversed(shape[1:]):
        strides.insert(0, strides[0] * size)
    return strides


def _zip(pickle, storages=(), more=()):
    """Return a checkpoint in the zip format: a pickle, and storages by their keys."""
    entries = [("archive/data.pkl", _PROTOCOL + pickle + _STOP), ("archive/byteorder", b"little")]
    entries += [(f"archive/data/{key}", content) for key, content in dict(storages).items()]
    return archive([*entries, ("archive/version", b"3\n"), *more])


def _gru(**changed):
    """Return the tensors and storages of a sound GRU, with some tensors replaced."""
    tensors, storages = {}, {}
    for key, (name, array) in enumerate(torch_arrays().items()):
        tensors[name] = _tensor(array.shape, key=str(key), count=array.size)
        storages[str(key)] = array.tobytes()
    return tensors | changed, storages


def _spoilt(**changed):
    tensors, storages = _gru(**changed)
    return _zip(_dict(tensors), storages)


def _legacy(*pickles, tail=b""):
    """Return a file of the older format: its numbers, then further pickles, then storages."""
    first = (_integer(_MAGIC), _integer(_VERSION), _dict({"little_endian": b"\x88"}))
    return b"".join(_PROTOCOL + pickle + _STOP for pickle in (*first, *pickles)) + tail


@passed_by()
def nothing(folder):
    """Nothing: a sound checkpoint, which the spoilt ones differ from in one place."""
    return _spoilt()


@refused(r"its pickle names .os\.system")
def program(folder):
    """A pickle that runs a program."""
    return _zip(_call("os.system", _text(shell(folder))))


@refused(r"its pickle names .posix\.system")
def program_beside_a_gru(folder):
    """A sound GRU, and a value that is the result of a program."""
    return _spoilt(more=_call("posix.system", _text(shell(folder))))


@refused(r"its pickle names .os\.system")
def program_in_the_older_format(folder):
    """The same in a stream of pickles."""
    return _legacy(_call("os.system", _text(shell(folder))), b"]")


@refused(r"its pickle names .os\.system")
def program_in_a_plain_pickle(folder):
    """A pickle of Python that runs a program, and is no checkpoint."""
    return _PROTOCOL + _call("os.system", _text(shell(folder))) + _STOP


@refused(r"its pickle names .builtins\.eval")
def expression(folder):
    """A pickle that evaluates a text."""
    return _spoilt(
        more=_call("builtins.eval", _text(f"__import__('os').system({shell(folder)!r})"))
    )


@refused(r"its pickle names .torch\.nn\.modules\.rnn\.GRU")
def module(folder):
    """A whole module, of a class that would be imported and made."""
    return _zip(b"ctorch.nn.modules.rnn\nGRU\n)\x81" + _dict({"training": _FALSE}) + b"b")


@refused(r"its pickle names .torch\.storage\._load_from_bytes")
def checkpoint_within(folder):
    """A checkpoint within the checkpoint, which PyTorch once read without its own precautions."""
    return _spoilt(more=_call("torch.storage._load_from_bytes", b"C\x00"))


@refused(r"its pickle names .builtins\.bytearray")
def bytes_of_4_gibibytes(folder):
    """A call that allocates what a number says."""
    return _spoilt(more=_call("builtins.bytearray", _integer(2**32)))


@refused("its tensors declare .*expected at most")
def stride_of_nothing(folder):
    """A tensor of 4 exabytes, every number of which is the same four bytes."""
    huge = _tensor((2**30, 2**30), key="0", count=18, strides=(0, 0))
    return _spoilt(weight_ih_l0=huge)


@refused("its tensors declare .*expected at most")
def kernel_of_one_number(folder):
    """A tensor of 1.2 GB that is one row of numbers over and over, and would be a sound GRU's."""
    count = 3 * 10_000
    recurrent = _tensor((count, 10_000), key="0", count=18, strides=(0, 0))
    return _spoilt(weight_hh_l0=recurrent)


@refused("expected a view of the 18 numbers")
def tensor_beyond_its_storage(folder):
    """A tensor that begins behind the end of its numbers: memory of others."""
    return _spoilt(weight_ih_l0=_tensor((9, 2), count=18, offset=2**40))


@refused("a tensor of an unknown form")
def tensor_before_its_storage(folder):
    """A tensor that begins before its numbers."""
    return _spoilt(weight_ih_l0=_tensor((9, 2), count=18, offset=-18))


@refused("has 72 bytes: expected 4398046511104")
def storage_larger_than_its_bytes(folder):
    """A storage that is said to have more numbers than the archive has bytes."""
    return _spoilt(weight_ih_l0=_tensor((9, 2), count=2**40))


@refused(r"archive/data/\.\./\.\./.* is missing in the archive")
def storage_out_of_the_archive(folder):
    """A storage whose key is a path on the disk."""
    (folder / "secret").write_bytes(bytes(72))
    return _spoilt(weight_ih_l0=_tensor((9, 2), key=f"../../..{folder}/secret", count=18))


@refused("storage .* is not there")
def storages_left_out(folder):
    """The older format with tensors, and a list that names none of their storages."""
    tensors, _ = _gru()
    return _legacy(_dict(tensors), b"]")


@refused("no GRU is among its 0 arrays")
def tuple_nested_deeply(folder):
    """A key that is a tuple, 100,000 deep: Python's hash of it ends the process."""
    return _zip(b"}(" + b")" + b"\x85" * 100_000 + _NONE + b"u")


@refused("nested over 64 levels")
def lists_nested_deeply(folder):
    """Lists, 100,000 deep."""
    return _zip(b"]" * 100_000 + b"a" * 99_999)


@refused("no GRU is among its 0 arrays")
def laughter(folder):
    """A list of ten lists of ten lists, 30 times over, each there once: 10 to the 30 in all."""
    levels = b"".join(
        b"](" + b"".join(b"h" + bytes([level]) for _ in range(10)) + b"eq" + bytes([level + 1])
        for level in range(30)
    )
    return _zip(b"]q\x00" + levels)


@refused("no GRU is among its 0 arrays")
def memo_of_4_billion(folder):
    """A value remembered at place 2 to the 32: memory for all places before it."""
    return _zip(b"]r\xff\xff\xff\xff")


@refused("cut short")
def text_of_4_gibibytes(folder):
    """A text that is said to be longer than the file."""
    return _zip(b"X\xff\xff\xff\xffabc")


@refused("has the instruction")
def number_of_many_digits(folder):
    """A number of a million digits in text, which takes Python minutes to read."""
    return _zip(b"I" + b"9" * 1_000_000 + b"\n")


@refused("no GRU is among its 0 arrays")
def list_within_itself(folder):
    """A dictionary that is its own value: a walk through it never ends."""
    return _zip(b"}q\x00(" + _text("model") + b"h\x00u")


@refused(r"\\n\\x1b\[31m\.weight_hh_l0. has shape")
def name_that_writes_to_the_terminal(folder):
    """A tensor's name with a line's end and a terminal's escape, in a message about its shape."""
    tensors, storages = _gru()
    tensors = {f"\n\x1b[31m.{name}": tensor for name, tensor in tensors.items()}
    tensors["\n\x1b[31m.weight_hh_l0"] = _tensor((3, 9), key="1", count=27)
    return _zip(_dict(tensors), storages)


@refused("TorchScript")
def script(folder):
    """A program of TorchScript."""
    return _zip(_dict({}), more=[("archive/code/__torch__.py", b"def forward(self): pass\n")])

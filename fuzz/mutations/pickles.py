"""Mutations of pickles: an opcode or its argument is replaced, taken out, repeated or added."""

import functools
import io
import pickletools
from random import Random

from fuzz.mutations import raw

_CALLS = (
    b"cos\nsystem\n(X\x04\x00\x00\x00truetR",
    b"cbuiltins\neval\n(X\x01\x00\x00\x001tR",
    b"cposix\n_exit\n(K\x01tR",
    b"ctorch.storage\n_load_from_bytes\n(C\x00tR",
    b"ctorch\nload\n(X\x01\x00\x00\x00atR",
    b"cnumpy\nzeros\n(J\xff\xff\xff\x7ftR",
    b"cbuiltins\nbytearray\n(J\xff\xff\xff\x7ftR",
    b"ccollections\nOrderedDict\n)R",
    b"\x8c\x02os\x8c\x06system\x93(X\x04\x00\x00\x00truet\x81",
    b"ctorch._utils\n_rebuild_parameter\n(NN}t}\x92",
    b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01K\x02\x85N\x89C\x00tb",
    b"cjoblib.numpy_pickle\nNumpyArrayWrapper\n)\x81}X\x05\x00\x00\x00shape)sb",
)
_STRINGS = (
    b"", b"cuda:0", b"meta", b"cpu", b"../../0", b"0", b"1", b"os", b"system", b"gru.weight_ih_l0",
    b"weight_hh_l0", b"weight_ih_l1", b"bias_ih_l0_reverse", b"a\n\x1b[31m", b"\xff", b"storage",
)  # fmt: skip
_GLOBALS = (b"cos\nsystem\n", b"ctorch\nDoubleStorage\n", b"ctorch\nIntStorage\n")
_WIDTHS = {"BININT1": 1, "BININT2": 2, "BININT": 4, "LONG_BINGET": 4, "BINGET": 1, "BINPUT": 1}


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the content with one opcode changed in the pickles that it begins with."""
    opcodes = _opcodes(content)
    if not opcodes:
        return raw.mutate(rng, content)
    place = rng.randrange(len(opcodes))
    name, start, end = opcodes[place]
    way = rng.randrange(5)
    if way == 0:
        new = b""
    elif way == 1:
        new = content[start:end] * 2
    elif way == 2:
        new = rng.choice(_CALLS) + content[start:end]
    elif way == 3:
        _, other_start, other_end = rng.choice(opcodes)
        new = content[other_start:other_end]
    else:
        new = _with_argument(rng, name, content[start:end])
    return content[:start] + new + content[end:]


def _with_argument(rng: Random, name: str, opcode: bytes) -> bytes:
    if name in _WIDTHS:
        width = _WIDTHS[name]
        return opcode[:1] + (rng.choice(raw.INTERESTING) % 2 ** (8 * width)).to_bytes(
            width, "little"
        )
    if name == "SHORT_BINUNICODE":
        text = rng.choice(_STRINGS)
        return opcode[:1] + bytes([len(text)]) + text
    if name == "BINUNICODE":
        text = rng.choice(_STRINGS)
        return opcode[:1] + len(text).to_bytes(4, "little") + text
    if name == "GLOBAL":
        return bytes(rng.choice(_GLOBALS))
    return bytes([rng.choice(b"()]}tRbs0u.NQ\x85\x86\x87\x88\x89\x94\x93")]) + opcode[1:]


@functools.lru_cache(maxsize=32)
def _opcodes(content: bytes) -> tuple[tuple[str, int, int], ...]:
    """Return name, start and end of every opcode of all pickles at the beginning."""
    file = io.BytesIO(content)
    found: list[tuple[str, int, int]] = []
    while True:
        try:
            start = file.tell()
            for opcode, _, _ in pickletools.genops(file):
                found.append((opcode.name, start, file.tell()))
                start = file.tell()
        except Exception:  # no further pickle begins here
            return tuple(found)

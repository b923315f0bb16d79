"""Mutations of .npy files: another type or shape in the header, or other data."""

import re
from random import Random

from fuzz.mutations import raw

_START = 10  # magic, version and the header's length in two bytes
_TYPES = (
    "<f2", "<f4", "<f8", ">f4", "<f16", "<c8", "<i4", "|u1", "|b1", "|O", "<U3", "|S4", "|V4",
    "<M8[s]", "|V0", "<f0", "", "float32", "('<f4', (2,))", "\n",
)  # fmt: skip
_WORDS = (
    b"True",
    b"False",
    b"None",
    b"(",
    b")",
    b",",
    b"{",
    b"}",
    b"'",
    b"-",
    b"L",
    b"\x00",
    b"1e9",
)


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the .npy file with changed header or data, and a correct header length."""
    if not content.startswith(b"\x93NUMPY") or len(content) < _START:
        return raw.mutate(rng, content)
    end = _START + int.from_bytes(content[8:_START], "little")
    header, data = content[_START:end], content[end:]
    way = rng.randrange(8)
    if way == 0:
        data = raw.mutate(rng, data)
    elif way == 1:
        header = raw.mutate(rng, header)
    elif way == 2:
        header = _replaced(rng, header, rb"'descr': '[^']*'", f"'descr': {rng.choice(_TYPES)!r}")
    elif way == 3:
        header = _replaced(rng, header, rb"True|False|[(){},']", rng.choice(_WORDS).decode())
    elif way == 4:
        header = _replaced(rng, header, rb"\([^)]*\)", str(_shape(rng)))
    else:
        header = _replaced(rng, header, rb"\d+", str(rng.choice(raw.INTERESTING)))
    version = content[6:8] if rng.random() < 0.95 else rng.randbytes(2)
    return content[:6] + version + (len(header) % 2**16).to_bytes(2, "little") + header + data


def _replaced(rng: Random, header: bytes, pattern: bytes, new: str) -> bytes:
    found = list(re.finditer(pattern, header))
    if not found:
        return header
    start, end = rng.choice(found).span()
    return header[:start] + new.encode() + header[end:]


def _shape(rng: Random) -> tuple[int, ...]:
    sizes = (-1, 0, 1, 2, 3, 6, 9, 18, 2**31, 2**62, 2**64)
    return tuple(rng.choice(sizes) for _ in range(rng.choice((0, 1, 2, 2, 3, 40))))

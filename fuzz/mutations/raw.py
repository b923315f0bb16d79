"""Mutations of any format: bits, bytes, integers and ranges."""

from random import Random

# Critical sizes and offsets: zero, one, a sign, the end of a width.
INTERESTING = tuple(
    sorted(
        {0, 1, 2, 3, 8, 9}
        | {2**power + more for power in (7, 8, 15, 16, 31, 32, 63) for more in (-1, 0, 1)}
        | {2**64 - 1, 2**64 - 8}
    )
)


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the content changed in one way."""
    if not content:
        return rng.randbytes(rng.randrange(1, 9))
    return bytes(rng.choice(_WAYS)(rng, bytearray(content)))


def splice(rng: Random, content: bytes, other: bytes) -> bytes:
    """Return the content with a range replaced by a range of another file."""
    start, end = _range(rng, len(content))
    other_start, other_end = _range(rng, len(other))
    return content[:start] + other[other_start:other_end] + content[end:]


def _flip_bit(rng: Random, content: bytearray) -> bytearray:
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    return content


def _set_byte(rng: Random, content: bytearray) -> bytearray:
    content[rng.randrange(len(content))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return content


def _set_integer(rng: Random, content: bytearray) -> bytearray:
    width = rng.choice((1, 2, 4, 8))
    number = rng.choice(INTERESTING) % 2 ** (8 * width)
    start = rng.randrange(len(content))
    content[start : start + width] = number.to_bytes(width, rng.choice(("little", "big")))
    return content


def _truncate(rng: Random, content: bytearray) -> bytearray:
    return content[: rng.randrange(len(content))]


def _delete(rng: Random, content: bytearray) -> bytearray:
    start, end = _range(rng, len(content))
    del content[start:end]
    return content


def _repeat(rng: Random, content: bytearray) -> bytearray:
    start, end = _range(rng, len(content))
    content[end:end] = content[start:end]
    return content


def _move(rng: Random, content: bytearray) -> bytearray:
    start, end = _range(rng, len(content))
    piece = content[start:end]
    to = rng.randrange(len(content))
    content[to : to + len(piece)] = piece
    return content


def _insert(rng: Random, content: bytearray) -> bytearray:
    start = rng.randrange(len(content) + 1)
    content[start:start] = rng.randbytes(rng.randrange(1, 9))
    return content


def _range(rng: Random, length: int) -> tuple[int, int]:
    """Return a range in a length; short and long ones are equally likely."""
    if not length:
        return 0, 0
    start = rng.randrange(length)
    wanted = rng.randrange(1, 2 << rng.randrange(length.bit_length()))
    return start, min(length, start + wanted)


_WAYS = (
    _flip_bit, _flip_bit, _set_byte, _set_byte, _set_integer, _set_integer,
    _truncate, _delete, _repeat, _move, _insert,
)  # fmt: skip

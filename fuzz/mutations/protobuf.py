"""Mutations of Protocol Buffers messages: a field is changed, and all lengths are updated.

Only the wire format is used, without a schema: a field of bytes is a message if it can be parsed as
one.
"""

from random import Random

from fuzz.mutations import raw

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_TEXTS = (
    b"", b"GRU", b"LSTM", b"Loop", b"Tanh", b"Relu", b"HardSigmoid", b"Affine", b"forward",
    b"reverse", b"bidirectional", b"clip", b"layout", b"activations", b"linear_before_reset",
    b"direction", b"W", b"R", b"B", b"\n\x1b[31m", b"\xff", b"x" * 2000, b"ai.onnx.ml",
    b"location", b"../weights",
)  # fmt: skip


def mutate(rng: Random, content: bytes, depth: int = 0) -> bytes:
    """Return the message with one of its fields, at any depth, changed."""
    fields = _fields(content)
    if not fields:
        return raw.mutate(rng, content)
    place = rng.randrange(len(fields))
    number, wire, payload = fields[place]
    if wire == _BYTES and depth < 8 and rng.random() < 0.85 and _fields(payload):
        changed = [(number, wire, mutate(rng, payload, depth + 1))]
    else:
        changed = _changed(rng, number, wire, payload, fields)
    return b"".join(_encoded(*field) for field in [*fields[:place], *changed, *fields[place + 1 :]])


def _changed(
    rng: Random, number: int, wire: int, payload: bytes, fields: list[tuple[int, int, bytes]]
) -> list[tuple[int, int, bytes]]:
    """Return a replacement for a field."""
    way = rng.randrange(7)
    if way == 0:
        return []
    if way == 1:
        return [(number, wire, payload)] * rng.choice((2, 2, 3, 20))
    if way == 2:
        return [(rng.choice((number + 1, max(number - 1, 1), rng.randrange(1, 24))), wire, payload)]
    if way == 3:
        return [(number, *rng.choice(fields)[1:])]
    if wire == _BYTES:
        return [(number, wire, rng.choice((rng.choice(_TEXTS), raw.mutate(rng, payload))))]
    new = rng.choice((rng.randrange(24), rng.choice(raw.INTERESTING)))
    if wire == _VARINT:
        return [(number, wire, _varint(new % 2**64))]
    width = len(payload)
    return [(number, wire, (new % 2 ** (8 * width)).to_bytes(width, "little"))]


def _fields(content: bytes) -> list[tuple[int, int, bytes]]:
    """Return number, wire type and payload of every field; none if it is not a message."""
    fields, place = [], 0
    while place < len(content):
        tag, place = _read_varint(content, place)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            _, end = _read_varint(content, place)
        elif wire == _BYTES:
            length, place = _read_varint(content, place)
            end = place + length
        elif wire in (_FIXED32, _FIXED64):
            end = place + (4 if wire == _FIXED32 else 8)
        else:
            return []
        if number == 0 or end > len(content):
            return []
        fields.append((number, wire, content[place:end]))
        place = end
    return fields


def _encoded(number: int, wire: int, payload: bytes) -> bytes:
    length = _varint(len(payload)) if wire == _BYTES else b""
    return _varint(number << 3 | wire) + length + payload


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    encoded.append(number)
    return bytes(encoded)


def _read_varint(content: bytes, place: int) -> tuple[int, int]:
    """Return a number and its end, which is beyond the content if it is incomplete."""
    number = shift = 0
    while place < len(content) and shift < 70:
        byte = content[place]
        place += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, place
        shift += 7
    return 0, len(content) + 1

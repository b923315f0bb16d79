"""The sorted table of the index of a checkpoint: keys with values, in blocks with checksums.

Source: ``tensorflow/core/lib/io/format.cc`` and ``block.cc``, and LevelDB's ``table_format.md``.
"""

from collections.abc import Iterator

from jaxgru._weights.errors import WeightsError, shown
from jaxgru._weights.formats.protobuf import varint
from jaxgru._weights.formats.tensorflow.crc32c import masked_crc32c
from jaxgru._weights.limits import Budget

MAGIC = (0xDB4775248B80FB57).to_bytes(8, "little")  # at the end of the file
LARGEST = 64 * 2**20  # of a table
MOST_ENTRIES = 200_000
_LONGEST_KEY = 4096
_FOOTER = 48
_TRAILER = 5  # the kind of compression and the checksum


def read_table(content: bytes) -> dict[bytes, memoryview]:
    """Return the values of a table by key; raise WeightsError if it is damaged."""
    view = memoryview(content)
    if len(view) < _FOOTER or view[-8:] != MAGIC:
        raise WeightsError(f"it has {len(view)} bytes: expected a footer of {_FOOTER} at the end")
    footer, body = view[-_FOOTER:], view[:-_FOOTER]
    _, at = _handle(footer, 0)
    index, _ = _handle(footer, at)
    found: dict[bytes, memoryview] = {}
    last, end = b"", 0
    # A key of thousands of bytes may take three in the file.
    budget = Budget(len(content))
    for _, handle in _records(_block(body, *index)):
        (offset, size), _ = _handle(handle, 0)
        # Else one block could be named a million times.
        if offset < end:
            raise WeightsError(f"a block begins at byte {offset}: expected {end}, after the others")
        end = offset + size
        for key, value in _records(_block(body, offset, size)):
            if found and key <= last:
                raise WeightsError(
                    f"the key {shown(key)} comes after {shown(last)}: expected order"
                )
            if len(found) == MOST_ENTRIES:
                raise WeightsError(f"it has more than {MOST_ENTRIES} entries: expected no more")
            budget.spend(len(key))
            found[key], last = value, key
    return found


def _block(body: memoryview, offset: int, size: int) -> memoryview:
    end = offset + size
    if end + _TRAILER > len(body):
        raise WeightsError(
            f"a block has bytes {offset} to {end + _TRAILER}: expected them in the {len(body)} "
            "before the footer"
        )
    stored = int.from_bytes(body[end + 1 : end + _TRAILER], "little")
    if masked_crc32c(body[offset : end + 1]) != stored:
        raise WeightsError(f"the block at byte {offset} has another checksum: it is damaged")
    if kind := body[end]:
        name = "snappy" if kind == 1 else f"kind {kind}"
        raise WeightsError(f"a block is compressed by {name}: expected none, as TensorFlow writes")
    return body[offset:end]


def _records(block: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """Yield keys and values; a key shares its beginning with the one before."""
    count = int.from_bytes(block[-4:], "little")
    end = len(block) - 4 * (count + 1)
    if len(block) < 4 or end < 0:
        raise WeightsError(f"a block of {len(block)} bytes has {count} restarts: expected fewer")
    at, key, records = 0, b"", block[:end]
    while at < end:
        numbers = []
        for _ in range(3):
            number, at = _number(records, at)
            numbers.append(number)
        shared, own, held = numbers
        if shared > len(key) or shared + own > _LONGEST_KEY or at + own + held > end:
            raise WeightsError(
                f"a record has a key of {shared} + {own} bytes and {held} bytes of value: expected "
                f"at most {len(key)} shared, a key of at most {_LONGEST_KEY}, and all in its block"
            )
        key = key[:shared] + bytes(records[at : at + own])
        at += own + held
        yield key, records[at - held : at]


def _handle(content: memoryview, at: int) -> tuple[tuple[int, int], int]:
    offset, at = _number(content, at)
    size, at = _number(content, at)
    return (offset, size), at


def _number(content: memoryview, at: int) -> tuple[int, int]:
    try:
        return varint(content, at)
    except IndexError:
        raise WeightsError("a number is cut short: expected a whole table") from None

"""CRC-32C, and the masked form in which TensorFlow stores it.

The checksum is linear. So long messages are summed in rows of 4,096 bytes, where each sum is
shifted by a row before the next one is added, and the last sum has the checksum of the whole.
"""

import functools
from typing import Any

import numpy as np

_POLYNOMIAL = 0x82F63B78  # Castagnoli's, bits reversed
_POWER = 12
_ROW = 1 << _POWER


def masked_crc32c(content: bytes | bytearray | memoryview) -> int:
    """Return the masked checksum of bytes.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = crc32c(content)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(content: bytes | bytearray | memoryview) -> int:
    """Return the checksum of bytes."""
    data = np.frombuffer(content, np.uint8)
    crc = 0xFFFFFFFF
    if data.size >= 2 * _ROW:
        head = data.size % _ROW or _ROW  # the rest is whole rows
        begin = _bytewise(data[:head].tobytes(), crc)
        rows = data[head:].view("<u4").reshape(-1, _ROW // 4)
        total = rows[0].astype(np.uint32)
        total[0] ^= begin
        shift = _shift()
        for row in rows[1:]:
            total = _shifted(total, shift) ^ row
        data, crc = total.astype("<u4").view(np.uint8), 0
    return _bytewise(data.tobytes(), crc) ^ 0xFFFFFFFF


def _bytewise(content: bytes, crc: int) -> int:
    table = _table()
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc


@functools.cache
def _table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (_POLYNOMIAL if value & 1 else 0)
        table.append(value)
    return table


@functools.cache
def _shift() -> Any:
    """Return the sums of each byte of a number after a row of zeros."""
    shift = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
    shift = np.array(_table(), np.uint32)[shift & 0xFF] ^ shift >> 8
    for _ in range(_POWER):  # twice as many zeros each time
        shift = _shifted(shift, shift)
    return shift


def _shifted(values: Any, shift: Any) -> Any:
    moved = shift[0][values & 0xFF]
    for i in (1, 2, 3):
        moved ^= shift[i][values >> 8 * i & 0xFF]
    return moved

"""The two checksums of HDF5: lookup3 of its structures, Fletcher's of the numbers in a chunk.

Source: Bob Jenkins, ``lookup3.c``, 2006; the HDF5 File Format Specification, version 3.0.
"""

import struct

import numpy as np

_WORD = 2**32 - 1
_PIECE = 2**16


def lookup3(content: bytes) -> int:
    """Return the checksum of a structure.

    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a: int
    b: int
    c: int
    a = b = c = (0xDEADBEEF + len(content)) & _WORD
    if not content:
        return c
    padded = content + bytes(-len(content) % 12)
    *words, last = struct.iter_unpack("<III", padded)
    for x, y, z in words:
        # Rotations are written out: this loop takes the time of the whole function.
        a, b, c = a + x, b + y, (c + z) & _WORD
        a = (a - c ^ (c << 4 | c >> 28)) & _WORD
        c = (c + b) & _WORD
        b = (b - a ^ (a << 6 | a >> 26)) & _WORD
        a = (a + c) & _WORD
        c = (c - b ^ (b << 8 | b >> 24)) & _WORD
        b = (b + a) & _WORD
        a = (a - c ^ (c << 16 | c >> 16)) & _WORD
        c = (c + b) & _WORD
        b = (b - a ^ (a << 19 | a >> 13)) & _WORD
        a = (a + c) & _WORD
        c = (c - b ^ (b << 4 | b >> 28)) & _WORD
        b = (b + a) & _WORD
    a, b, c = (a + last[0]) & _WORD, (b + last[1]) & _WORD, (c + last[2]) & _WORD
    c = ((c ^ b) - _turned(b, 14)) & _WORD
    a = ((a ^ c) - _turned(c, 11)) & _WORD
    b = ((b ^ a) - _turned(a, 25)) & _WORD
    c = ((c ^ b) - _turned(b, 16)) & _WORD
    a = ((a ^ c) - _turned(c, 4)) & _WORD
    b = ((b ^ a) - _turned(a, 14)) & _WORD
    return ((c ^ b) - _turned(b, 24)) & _WORD


def fletcher32(content: bytes) -> int:
    """Return the checksum of a chunk: sums of its big-endian words of 16 bits, modulo 65535."""
    words = np.frombuffer(content + bytes(len(content) % 2), ">u2")
    first = second = 0
    any_word = bool(words.any())
    for start in range(0, len(words), _PIECE):
        piece = words[start : start + _PIECE].astype(np.uint64)
        sums = np.cumsum(piece)
        second = (second + len(piece) * first + int(sums.sum())) % 65535
        first = (first + int(sums[-1])) % 65535
    # The sums are folded, not divided: 65535 stands for 0 unless every word is 0.
    first, second = (total or 65535 * any_word for total in (first, second))
    return second << 16 | first


def _turned(word: int, bits: int) -> int:
    """Return a word of 32 bits rotated to the left."""
    return (word << bits | word >> 32 - bits) & _WORD

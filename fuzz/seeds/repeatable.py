"""Removing varying parts of files, so that every run mutates the same bytes."""

import io
import json
import re
import zipfile

from fuzz.mutations.zips import packed

_DATE = (rb'"date_saved": "[^"]*"', b'"date_saved": "2024-01-01@00:00:00"')


def repeatable_keras(content: bytes) -> bytes:
    """Return a .keras archive without dates and addresses of objects."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    return packed([(name, _without_chance(name, inner)) for name, inner in entries])


def repeatable_pickles(content: bytes) -> bytes:
    """Return pickles of PyTorch without the addresses that name storages in the older format."""
    numbers: dict[bytes, bytes] = {}

    def numbered(match: re.Match[bytes]) -> bytes:
        # The opcode of a text, its length in four bytes, the text; all addresses get one length.
        new = numbers.setdefault(match[1], b"%d" % (10**13 + len(numbers)))
        return b"X" + len(new).to_bytes(4, "little") + new

    return re.sub(rb"X[\x08-\x14]\x00\x00\x00(\d{8,20})(?=q)", numbered, content)


def repeatable_safetensors(content: bytes) -> bytes:
    """Return a safetensors file with sorted keys in the header; the library does not sort them."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True).encode()
    return len(header).to_bytes(8, "little") + header + content[end:]


def _without_chance(name: str, inner: bytes) -> bytes:
    if name == "metadata.json":
        return re.sub(*_DATE, inner)
    if name == "config.json":
        numbers: dict[bytes, int] = {}
        return re.sub(
            rb'(?<="shared_object_id": )\d+',
            lambda match: b"%d" % numbers.setdefault(match[0], len(numbers)),
            inner,
        )
    return inner

"""Mutations of safetensors files: another header, which is JSON."""

import json
import re
from random import Random

from fuzz.mutations import raw, trees

_LENGTH = 8


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the file with changed header or data, and a correct header length."""
    end = _LENGTH + int.from_bytes(content[:_LENGTH], "little")
    header, data = content[_LENGTH:end], content[end:]
    way = rng.randrange(6)
    if way == 0:
        data = raw.mutate(rng, data)
    elif way == 1:
        header = _token(rng, header)
    elif way == 2:
        header = _metadata(rng, header)
    else:
        header = trees.mutate_json(rng, header)
    # The reference implementation pads headers with spaces to a multiple of eight bytes.
    header += b" " * (-len(header) % rng.choice((8, 8, 8, 1)))
    return len(header).to_bytes(_LENGTH, "little") + header + data


def _token(rng: Random, header: bytes) -> bytes:
    """Change the text, which may then be invalid JSON or have a duplicate key."""
    tokens = list(re.finditer(rb'\d+|"[^"]*"|[\[\]{}:,]', header))
    if not tokens:
        return raw.mutate(rng, header)
    start, end = rng.choice(tokens).span()
    new = rng.choice(
        (b"", b"0", b"-1", b"1e400", b"NaN", b"[", b"}", b'"a"', header[start:end] * 2)
    )
    if rng.random() < 0.3:
        other = rng.choice(tokens)
        new = header[other.start() : other.end()]
    return header[:start] + new + header[end:]


def _metadata(rng: Random, header: bytes) -> bytes:
    """Change the net of a file by jaxgru: JSON in a string of the metadata."""
    try:
        tree = json.loads(header)
        metadata = tree["__metadata__"]
        name = rng.choice(sorted(metadata))
        metadata[name] = trees.mutate_json(rng, metadata[name].encode()).decode()
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return trees.mutate_json(rng, header)
    return json.dumps(tree).encode()

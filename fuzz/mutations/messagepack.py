"""Mutations of MessagePack, decoded and encoded again."""

from random import Random
from typing import Any

import msgpack

from fuzz.mutations import raw, trees


def mutate(rng: Random, content: bytes) -> bytes:
    """Return the message with one value changed, also in extension types."""
    try:
        tree = _decoded(content)
    except (ValueError, TypeError, msgpack.UnpackException):  # not a message any more
        return raw.mutate(rng, content)
    try:
        return bytes(msgpack.packb(_edited(rng, tree), use_bin_type=True))
    except (ValueError, TypeError, OverflowError):  # a value that cannot be encoded
        return raw.mutate(rng, content)


def _decoded(content: bytes) -> Any:
    return msgpack.unpackb(content, raw=False, strict_map_key=False, ext_hook=msgpack.ExtType)


def _edited(rng: Random, tree: Any) -> Any:
    extensions = [
        (holder, key)
        for holder, key in trees.places(tree)
        if isinstance(holder[key], msgpack.ExtType)
    ]
    if not extensions or rng.random() < 0.4:
        return trees.edit(rng, tree)
    holder, key = rng.choice(extensions)
    code, data = holder[key]
    if rng.random() < 0.3:
        code = rng.choice((0, 1, 2, 3, 4, 42, 127))
    else:
        # In Flax, shape, type and bytes of an array are an inner message.
        data = mutate(rng, data)
    holder[key] = msgpack.ExtType(code, data)
    return tree

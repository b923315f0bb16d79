"""Mutations: functions of a random generator and a file's content that give another content.

Some are for any format (``raw``); the others keep the container whole, so that what they
change is met by the reader and not by the container's own checks.
"""

from collections.abc import Callable
from random import Random

from fuzz.mutations import raw

Mutation = Callable[[Random, bytes], bytes]


def mutated(rng: Random, files: tuple[bytes, ...], mutations: tuple[Mutation, ...]) -> bytes:
    """Return one of the files, changed once or a few times.

    Args:
        rng: decides everything: the same state gives the same content.
        files: the real files of the format.
        mutations: those for the format.
    """
    content = rng.choice(files)
    if rng.random() < 0.1:
        content = raw.splice(rng, content, rng.choice(files))
    # Half of the files stay whole as containers, a quarter is damaged, and a quarter is both.
    if mutations and rng.random() < 0.75:
        for _ in range(_few(rng)):
            content = rng.choice(mutations)(rng, content)
        if rng.random() < 0.67:
            return content
    for _ in range(_few(rng)):
        content = raw.mutate(rng, content)
    return content


def _few(rng: Random) -> int:
    return rng.choice((1, 1, 1, 2, 2, 3, 5))

"""Mutations: functions of a random generator and the content of a file that return new content.

Those of ``raw`` are for any format. The others keep the container intact, so that the changes
reach the reader instead of failing the checks of the container.
"""

from collections.abc import Callable
from random import Random

from fuzz.mutations import raw

Mutation = Callable[[Random, bytes], bytes]


def mutated(rng: Random, files: tuple[bytes, ...], mutations: tuple[Mutation, ...]) -> bytes:
    """Return one of the files, changed once or a few times.

    Args:
        rng: the generator; the same state gives the same content.
        files: the real files of the format.
        mutations: those for the format.
    """
    content = rng.choice(files)
    if rng.random() < 0.1:
        content = raw.splice(rng, content, rng.choice(files))
    # Half of the files are changed in an intact container, a quarter as bytes, a quarter in both.
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

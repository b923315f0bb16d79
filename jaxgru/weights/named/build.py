"""What building a GRU from named arrays has in common, whatever the library."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from jaxgru.net import Net
from jaxgru.weights.assume import Settling
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import Arrays, check_floats
from jaxgru.weights.found import Found
from jaxgru.weights.named.places import label

Build = Callable[[Settling], Net]


def attempt(build: Build, assume: Mapping[str, Any]) -> Found | WeightsError:
    """Return the GRU that a function builds, or why there is none that a net can hold."""
    settling = Settling(assume)
    try:
        net = build(settling)
    except WeightsError as error:
        return error
    return Found(net, settling.notes())


def check_arrays(
    module: Arrays, place: str, shapes: Mapping[str, tuple[str, ...]]
) -> dict[str, Any]:
    """Return the arrays of a GRU once they are known to be sound and to fit together.

    Args:
        module: the arrays of the place.
        place: where it is, for messages.
        shapes: the shape of each array in letters, such as ``("H", "3H")``; what a letter stands
            for is the size where it first occurs.

    Raises:
        WeightsError: an array is of another shape, or of no type that weights have.
    """
    sizes: dict[str, int] = {}
    for own, letters in shapes.items():
        found = module[own].shape
        for letter, size in zip(letters, found, strict=False):
            if letter not in sizes:
                sizes[letter] = size
                if letter == "H":
                    sizes["3H"] = 3 * size
        if found != tuple(sizes.get(letter) for letter in letters):
            expected = f"({', '.join(letters)}{',' if len(letters) == 1 else ''})"
            units = f" for {sizes['H']} units" if "H" in sizes else ""
            raise WeightsError(f"{label(place, own)} has shape {found}: expected {expected}{units}")
    check_floats({label(place, own): module[own] for own in shapes})
    return {own: np.asarray(module[own]) for own in shapes}


def from_rzn(array: Any, axis: int = -1) -> Any:
    """Return an array with the blocks r, z, n along an axis in the order z, r, n."""
    reset, update, candidate = np.split(array, 3, axis)
    return np.concatenate([update, reset, candidate], axis)

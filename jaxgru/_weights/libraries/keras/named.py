"""The names of Keras' arrays as users see them: ``encoder/gru/recurrent_kernel``."""

import collections
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

_CELL = ("kernel", "recurrent_kernel", "bias")
_AFFINE = ("gamma", "beta")
_MOVING = ("moving_mean", "moving_variance")
# The arrays of a layer in order, by its class in the case of groups.
_ARRAYS = {
    "dense": ("kernel", "bias"),
    "conv1_d": ("kernel", "bias"),
    "conv1d": ("kernel", "bias"),
    "embedding": ("embeddings",),
    "layer_normalization": _AFFINE,
    "batch_normalization": (*_AFFINE, *_MOVING),
    "p_re_l_u": ("alpha",),
    "p_re_lu": ("alpha",),
    "prelu": ("alpha",),
    "gru": _CELL,
    "gru_cell": _CELL,
    "cell": _CELL,
    "cu_dnngru": _CELL,
}
# The arrays that a layer has only with these options.
_OPTIONS = {"bias": "use_bias", "gamma": "scale", "beta": "center"}
_INSIDE = re.compile(r"(?:gru|lstm|simple_rnn)_cell(?:_\d+)?|stacked_rnn_cells|cells?|layer")
_SIDE = re.compile(r"(forward|backward)_.+")
# Of Keras 1, after the name of the layer.
_OLD = {
    "W": "kernel",
    "b": "bias",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # by its class, not its name
}


def variable_names(kind: str, count: int, config: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the names of the arrays of a layer in order, or ``vars/0`` and so on.

    >>> variable_names("dense", 2, None), variable_names("my_layer", 1, None)
    (('kernel', 'bias'), ('vars/0',))
    """
    names = _ARRAYS.get(kind, ())
    if config is not None:
        names = tuple(n for n in names if config.get(_OPTIONS.get(n, ""), True) is not False)
    elif kind != "batch_normalization" and len(names) == count + 1 and names[-1] == "bias":
        names = names[:-1]
    return names if len(names) == count else tuple(f"vars/{i}" for i in range(count))


def inner_place(parts: Iterable[str]) -> Iterator[str]:
    """Return the visible parts of a path within a layer: the direction, and one of several cells.

    >>> list(inner_place(["forward_layer", "cell"])), list(inner_place(["cells", "gru_cell_1"]))
    (['forward'], ['gru_cell_1'])
    """
    parts = list(parts)
    for i, part in enumerate(parts):
        if side := _SIDE.fullmatch(part):
            yield side[1]
        elif not _INSIDE.fullmatch(part) or (i and parts[i - 1] == "cells"):
            yield part


def legacy_names(layer: str, weights: Iterable[str]) -> dict[str, str]:
    """Return the weights of a group by the names that users see, where these are unique.

    >>> legacy_names("gru", ["gru/gru_cell/kernel:0", "gru/gru_cell/bias:0"])
    {'gru/kernel': 'gru/gru_cell/kernel:0', 'gru/bias': 'gru/gru_cell/bias:0'}
    """
    found: dict[str, list[str]] = collections.defaultdict(list)
    for weight in weights:
        *place, name = weight.split(":")[0].split("/")
        if layer in place:  # after the name of a model
            place = place[place.index(layer) + 1 :]
        if not place and name.startswith(f"{layer}_"):
            old = name.removeprefix(f"{layer}_")
            name = "embeddings" if old == "W" and "embedding" in layer else _OLD.get(old, old)
        found["/".join([layer, *inner_place(place), name])].append(weight)
    named: dict[str, str] = {}
    for name, held in found.items():
        # Cells with equal names, or a layer with the name of another.
        named |= {name: held[0]} if len(held) == 1 else {f"{layer}/{each}": each for each in held}
    return named

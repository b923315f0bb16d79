"""Mutations of nested lists and dictionaries: decoded JSON and MessagePack."""

import copy
import json
from collections.abc import Iterator
from random import Random
from typing import Any

# Replacements: of another type, out of range, or another word.
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, 2, 3, 9, -1, 0.2, 1e30, float("nan"), float("inf"),
    2**31 - 1, 2**31, 2**32, 2**63 - 1, -(2**63), 2**64 - 1,
    "", "a", "a\nb\x1b[31m", "\u00e9\u202e", "../../etc/passwd", "x" * 3000,
    "tanh", "relu", "sigmoid", "hard_sigmoid", "linear", "float16", "float32", "F32", "BF16", "I64",
    "GRU", "LSTM", "Bidirectional", "RNN", "GRUCell", "StackedRNNCells", "Functional", "Lambda",
    "concat", "sum", "layers", "1.2.2", "2.13.0", "3.0.0",
    [], {}, [[]], [1], [1, 2, 3], [None], [2**62, 2**62], {"": 0}, {"class_name": "GRU"},
)  # fmt: skip


def mutate_json(rng: Random, content: bytes) -> bytes:
    """Return a JSON text with one change; other text gets other punctuation."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError):
        return content.replace(b'"', b"'", 1)
    return json.dumps(edit(rng, tree)).encode("utf-8", "surrogatepass")


def edit(rng: Random, tree: Any) -> Any:
    """Return a tree with one change; the argument may be changed too."""
    choices = list(places(tree))
    if not choices:
        return copy.deepcopy(rng.choice(VALUES))
    holder, key = rng.choice(choices)
    way = rng.randrange(8)
    if way == 0:
        del holder[key]
    elif way == 1:
        other, other_key = rng.choice(choices)
        holder[key] = copy.deepcopy(other[other_key])
    elif way == 2:
        _add(rng, holder, key)
    elif way == 3:
        holder[key] = _altered(rng, holder[key])
    elif way == 4:
        for _ in range(rng.choice((1, 2, 100))):
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"config": holder[key]}
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return tree


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every list and dictionary in a tree with each of its keys."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, dict):
            keys: Any = list(holder)
        elif isinstance(holder, list):
            keys = range(len(holder))
        else:
            continue
        for key in keys:
            yield holder, key
            waiting.append(holder[key])


def _add(rng: Random, holder: Any, key: Any) -> None:
    """Duplicate an entry, under another name or at the next position."""
    if isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
    else:
        names = [value for value in VALUES if isinstance(value, str)]
        holder[rng.choice((*names, f"{key}_1"))] = copy.deepcopy(holder[key])


def _altered(rng: Random, value: Any) -> Any:
    """Return a value of the same type, close to the argument."""
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int):
        return min(max(value + rng.choice((-2, -1, 1, 2)), -(2**63)), 2**64 - 1)
    if isinstance(value, float):
        return rng.choice((-value, 2 * value, 1 / (value or 1)))
    if isinstance(value, str):
        place = rng.randrange(len(value) + 1)
        return value[:place] + rng.choice(("", "_", "0", ".", "/", "\\", "\n")) + value[place + 1 :]
    if isinstance(value, bytes):
        return value[: rng.randrange(len(value) + 1)]
    return [value]

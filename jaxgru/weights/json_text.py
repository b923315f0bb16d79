"""JSON from files: of limited size, without repeated keys, with one class of errors."""

import collections
import json
from typing import Any

from jaxgru.weights.errors import WeightsError, first_line, shown


def parse_json(text: str | bytes | bytearray, what: str, largest: int | None = None) -> Any:
    """Parse JSON text of at most ``largest`` bytes; errors begin with ``what``."""
    if largest is not None and len(text) > largest:
        raise WeightsError(f"{what} has {len(text)} bytes: expected at most {largest}")
    try:
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        return json.loads(decoded, object_pairs_hook=_without_repeats)
    except WeightsError as error:
        raise WeightsError(f"{what} {error}") from None
    # RecursionError: lists in lists in lists.
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{what} is no JSON ({first_line(error)})") from error


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raise an error for a repeated key, as readers differ in the value that they take."""
    held = dict(pairs)
    if len(held) < len(pairs):
        ((twice, _),) = collections.Counter(name for name, _ in pairs).most_common(1)
        raise WeightsError(f"has the key {shown(twice)} twice in one place: expected it once")
    return held

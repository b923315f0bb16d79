"""JSON from files: of limited size, without repeated keys, with one class of errors."""

import json
from typing import Any

from jaxgru._weights.errors import WeightsError, damaged, each_once


def parse_json(text: str | bytes | bytearray, what: str, largest: int | None = None) -> Any:
    """Parse JSON text of at most ``largest`` bytes; errors begin with ``what``."""
    if largest is not None and len(text) > largest:
        raise WeightsError(f"{what} has {len(text)} bytes: expected at most {largest}")
    # RecursionError: lists in lists in lists.
    with damaged(f"{what} is not JSON", ValueError, RecursionError):
        decoded = text if isinstance(text, str) else text.decode("utf-8-sig")
        return json.loads(
            decoded, object_pairs_hook=lambda pairs: each_once(pairs, f"{what}: the key ")
        )

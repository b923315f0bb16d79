"""Weights in several files, of which one is an index in JSON: told, and refused."""

from typing import NoReturn

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError


def recognises(look: Look) -> bool:
    """Tell whether a file begins like the index that Keras and others write."""
    head = look.head.lstrip()
    return head.startswith(b"{") and (b'"weight_map"' in head or b'"total_size"' in head)


def read(source: Source) -> NoReturn:
    """Refuse the file, whatever it holds.

    Raises:
        WeightsError: always.
    """
    raise WeightsError(
        "it is the index of weights in several files: expected a file of weights, such as one of "
        "those that it names, or all of them saved as one (in Keras without max_shard_size)"
    )

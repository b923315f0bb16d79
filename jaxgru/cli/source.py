"""Options of what reads weights: which GRU of a file, and what the file leaves unsaid."""

import argparse
from typing import Any

from jaxgru.weights.unspecified import check_assume

_WORDS = {"true": True, "false": False, "none": None}


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand's parser."""
    parser.add_argument("--layer", metavar="NAME", help="which GRU of a file that has several")
    parser.add_argument(
        "--assume",
        metavar="FIELD=VALUE",
        type=_assumption,
        action="append",
        default=[],
        help="what the file leaves unsaid: activation, recurrent_activation, reset_after, merge or "
        "reverse (again for each)",
    )
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="let an ONNX model keep its weights in other files of its folder",
    )


def source_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return how to read a file, as arguments of ``jaxgru.weights.read_all``."""
    return {"assume": dict(arguments.assume), "external_data": arguments.external_data}


def _assumption(text: str) -> tuple[str, Any]:
    field, _, word = text.partition("=")
    value = _WORDS.get(word.lower(), word)
    try:
        check_assume({field: value})
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} given: {error}") from None
    return field, value

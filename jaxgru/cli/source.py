"""Options of what reads weights: which GRU of a file, and the fields that the file leaves out."""

import argparse
from collections.abc import Callable
from typing import Any

from jaxgru.net import check_net
from jaxgru.weights import WeightsError, load
from jaxgru.weights.unspecified import check_assume

_WORDS = {"true": True, "false": False, "none": None}


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand's parser."""
    parser.add_argument(
        "--layer",
        metavar="NAME",
        action="append",
        help="which GRU of a file that has several (again for the next layer of a stack)",
    )
    parser.add_argument(
        "--assume",
        metavar="FIELD=VALUE",
        type=_assumption,
        action="append",
        default=[],
        help="a field that the file leaves out: activation, recurrent_activation, reset_after, "
        "merge or reverse (again for each)",
    )
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="let an ONNX model keep its weights in other files of its folder",
    )


def read_net(
    path: str, arguments: argparse.Namespace, equations: Any, read: Callable[..., Any] = load
) -> Any:
    """Return the net that the options choose in a file: the one of --layer, or a stack of several.

    Args:
        path: the weights file.
        arguments: with the options of ``add_source_options``.
        equations: what the weights are meant for.
        read: ``jaxgru.weights.load`` or ``read``.

    Raises:
        WeightsError: as ``read``, or the layers of a stack do not fit together.
    """
    options = {"equations": equations, **source_options(arguments)}
    return stacked(path, [read(path, layer=name, **options) for name in arguments.layer or [None]])


def stacked(path: str, nets: list[Any]) -> Any:
    """Return one net as it is, and several as a stack; raise WeightsError if they do not fit."""
    if len(nets) == 1:
        return nets[0]
    try:
        check_net(tuple(nets))
    except ValueError as error:
        raise WeightsError(f"{path}: {error}") from None
    return tuple(nets)


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

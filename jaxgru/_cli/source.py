"""Options for reading weights: the GRU in the file, and fields that are missing in it."""

import argparse
from collections.abc import Callable
from typing import Any

from jaxgru._activations import parse_activation
from jaxgru._weights.defaults import check_assume
from jaxgru._weights.io import Equations, load

_WORDS = {"true": True, "false": False, "none": None}


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a subcommand's parser."""
    parser.add_argument(
        "--layer",
        metavar="NAME",
        action="append",
        help=(
            "the GRU to read if the file has several; names joined by +, or repeated, for a "
            "stack; * for all"
        ),
    )
    parser.add_argument(
        "--assume",
        metavar="FIELD=VALUE",
        type=_field("assume"),
        action="append",
        default=[],
        help="a field that is missing in the file: activation, recurrent_activation, reset_after, "
        "merge, reverse or subclass (repeatable); leaky_relu:alpha=0.5 is an activation with a "
        "parameter",
    )
    parser.add_argument(
        "--override",
        metavar="FIELD=VALUE",
        type=_field("override"),
        action="append",
        default=[],
        help="replace a wrong field of the file, one of these (repeatable)",
    )
    parser.add_argument(
        "--external-data",
        action="store_true",
        help="allow an ONNX model with weights in other files of its folder",
    )


def read_net(
    path: str, arguments: argparse.Namespace, equations: Equations, read: Callable[..., Any] = load
) -> Any:
    """Return the net of the options of ``add_source_options``: that of --layer, or a stack.

    ``read`` is ``jaxgru._weights.io.load`` or ``read``.
    """
    layer = layer_option(arguments)
    return read(path, layer=layer, equations=equations, **source_options(arguments))


def layer_option(arguments: argparse.Namespace) -> str | None:
    """Return the argument ``layer`` of ``jaxgru.load``; several options are joined."""
    return "+".join(arguments.layer) if arguments.layer else None


def source_options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the arguments of ``jaxgru._weights.read_all``."""
    return {
        "assume": dict(arguments.assume),
        "override": dict(arguments.override),
        "external_data": arguments.external_data,
    }


def _field(argument: str) -> Callable[[str], tuple[str, Any]]:
    def parse(text: str) -> tuple[str, Any]:
        field, _, word = text.partition("=")
        try:
            value = _WORDS.get(word.lower(), parse_activation(word))
            check_assume(**{argument: {field: value}})
        except ValueError as error:
            raise argparse.ArgumentTypeError(f"{text!r} given: {error}") from None
        return field, value

    return parse

"""Writing the weights of a subcommand: in a format, or into a copy of another file."""

import argparse
from typing import Any

from jaxgru._cli.arguments import Original
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.io import save


def add_result_options(parser: argparse.ArgumentParser, out: str) -> None:
    """Add the options for the format of a result called ``out``, and for a file that it goes into.

    ``save_result`` also uses those of ``add_source_options``.
    """
    add = parser.add_argument
    add("--to", metavar="FORMAT", help=f"the format of {out} (default: by its suffix)")
    text = f"make {out} a copy of FILE with these weights in place of its own, and all else as it "
    add("--into", metavar="FILE", type=Original, help=f"{text}was; {out} may be FILE itself")
    add("--into-layer", metavar="NAME", help="the GRU of FILE to replace, if it has several")
    text = "with --into: round numbers to the types in FILE (default: that is an error)"
    add("--dtype", choices=("file",), help=text)


def save_result(
    net: Any, path: str, arguments: argparse.Namespace, equations: str = "keras"
) -> None:
    """Write a net or a whole model to a file, as the options say.

    Raises:
        ValueError: the options do not fit together; further errors are those of ``jaxgru.save``.
    """
    options: dict[str, Any] = {"format": arguments.to, "equations": equations}
    if arguments.into is None:
        for option in ("into_layer", "dtype"):
            if getattr(arguments, option) is not None:
                name = option.replace("_", "-")
                raise ValueError(f"--{name} is given without --into: expected --into FILE")
    else:
        if arguments.to is not None or equations != "keras":
            raise ValueError("--to or --to-equations is given with --into: expected --into only")
        # Fields assumed for the weights are also assumed for the target file.
        options = {"into": arguments.into, "layer": arguments.into_layer, "dtype": arguments.dtype}
        options["assume"] = dict(arguments.assume) or None
    try:
        save(net, path, **options)
    except WeightsError as error:
        text = str(error).replace("expected layer=", "expected --into-layer")
        raise WeightsError(text.replace("layer is ", "--into-layer is ")) from None

"""Common parts of the parsers of the subcommands: files and types of arguments."""

import argparse
import contextlib
import errno
import os
from collections.abc import Callable
from typing import TypeAlias

from jaxgru._weights.equations import EQUATIONS

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


class Input(str):
    """The path of a file or folder to read, as the ``type`` of an argument."""


class Original(Input):
    """The path of a file that the result is a copy of and may replace."""


class Output(str):
    """The path of a file to write, as the ``type`` of an argument."""


class Result(Output):
    """The path of the file to write that has the weights."""


def add_command(
    subparsers: Subparsers,
    name: str,
    summary: str,
    examples: str,
    run: Callable[[argparse.Namespace], int],
) -> argparse.ArgumentParser:
    """Add the parser of a subcommand; ``run`` takes its arguments and returns the exit code."""
    parser = subparsers.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=run)
    return parser


def add_weights(parser: argparse.ArgumentParser, metavar: str = "WEIGHTS") -> None:
    """Add the positional argument of the weights file."""
    text = "a weights file; the format is detected"
    parser.add_argument("weights", metavar=metavar, type=Input, help=text)


def add_equations(parser: argparse.ArgumentParser, option: str, of: str) -> None:
    """Add an option for the equations of some weights."""
    text = f"the equations of {of} (default: %(default)s, those of a trained layer)"
    parser.add_argument(option, choices=EQUATIONS, default="keras", help=text)


def number(
    kind: type[float], fits: Callable[[float], bool], expected: str
) -> Callable[[str], float]:
    """Return the ``type`` of an argument that is a number; ``expected`` is for errors."""

    def convert(text: str) -> float:
        with contextlib.suppress(ValueError):
            if fits(value := kind(text)):
                return value
        raise argparse.ArgumentTypeError(f"it is {text!r}: expected {expected}")

    return convert


whole = number(int, lambda value: value >= 1, "a whole number, at least 1")


def check_files(arguments: argparse.Namespace) -> None:
    """Raise an error unless every output can be written, and is not an input or another output.

    Files are compared by identity, which includes links of both kinds.

    Raises:
        ValueError: an output is an input, or another output.
        OSError: an output is a directory, or its folder is missing or not writable.
    """
    given = [path for path in vars(arguments).values() if isinstance(path, Input | Output)]
    outputs = [path for path in given if isinstance(path, Output)]
    originals = [path for path in given if isinstance(path, Original)]
    for output in outputs:
        if os.path.isdir(output):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), output)
        if os.path.exists(output) and not os.path.isfile(output):
            continue  # a device has no content to overwrite
        folder = os.path.dirname(os.path.realpath(output))
        if not os.path.isdir(folder):
            raise FileNotFoundError(errno.ENOENT, "its folder is missing", output)
        if not os.access(folder, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), output)
        replaces = isinstance(output, Result) and any(_is_same(output, i) for i in originals)
        for other in outputs if replaces else given:
            if other is not output and _is_same(output, other):
                kind = "input" if isinstance(other, Input) else "output"
                raise ValueError(f"{output} is also the {kind} {other}: expected another file")


def _is_same(one: str, other: str) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other)
    return os.path.realpath(one) == os.path.realpath(other)

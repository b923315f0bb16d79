"""The command line: ``jaxgru SUBCOMMAND``, each subcommand a module of this package."""

import argparse
import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from typing import NoReturn

from jaxgru import __version__
from jaxgru.cli import convert, export, finetune, inspect, run
from jaxgru.cli.files import check_files

SUBCOMMANDS = (inspect, run, finetune, convert, export)

# How the library's messages name arguments, and what they are on the command line.
_OPTIONS = {
    "expected layer=, one of": "expected --layer, one of",
    "(assume= changes that)": "(--assume changes that)",
    "external_data=True": "--external-data",
}
_BAD_USE = 2
_INTERRUPTED = 128 + 2  # as a shell reports SIGINT ...
_PIPE_CLOSED = 128 + 13  # ... and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Args:
        argv: the arguments after the program's name; those of the process if None.

    Returns:
        0 on success, 2 after an error, which is one line on stderr; else the subcommand's code.

    Raises:
        SystemExit: after ``--help`` and ``--version``, which print and stop.
    """
    debug = False
    try:
        arguments = _parser().parse_args(argv)
        debug = arguments.debug
        with _warnings_in_one_line():
            check_files(arguments)
            code: int = arguments.func(arguments)
        print(end="", flush=True)  # a closed pipe is to be noticed here, not at the exit
        return code
    except BrokenPipeError:
        # Whoever read the output has seen enough. Python would flush again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _PIPE_CLOSED
    except KeyboardInterrupt:
        print("jaxgru: interrupted", file=sys.stderr)
        return _INTERRUPTED
    except Exception as error:
        if debug:
            traceback.print_exc()
        print(f"jaxgru: error: {_in_one_line(error)}", file=sys.stderr)
        return _BAD_USE


def run_and_exit() -> NoReturn:
    """Run the command line of this process, and end the process with its exit code."""
    code = main()
    if code == _INTERRUPTED:
        # JAX's threads may be in the middle of a computation, and to take Python down under them
        # has been seen to end in a segmentation fault. Files are closed, and nothing is left to do.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, so that ``main`` reports each error alike."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jaxgru",
        description="Trained GRU layers in JAX: look at their weights, run, convert, export them.",
        epilog="Each subcommand has its own help with examples: jaxgru SUBCOMMAND --help",
    )
    parser.add_argument("--version", action="version", version=f"jaxgru {__version__}")
    subparsers = parser.add_subparsers(metavar="SUBCOMMAND", required=True)
    for module in SUBCOMMANDS:
        module.add_parser(subparsers)
    for command in (parser, *subparsers.choices.values()):
        # Before or after the subcommand: without a default, neither overrides the other.
        command.add_argument(
            "--debug",
            action="store_true",
            default=argparse.SUPPRESS,
            help="show the traceback of an error",
        )
    parser.set_defaults(debug=False)
    return parser


@contextlib.contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    def show(message: Warning | str, *_: object, **__: object) -> None:
        print(f"jaxgru: warning: {_as_typed(' '.join(str(message).split()))}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _as_typed(message: str) -> str:
    """Return a message of the library with options of the command line for its arguments."""
    for argument, option in _OPTIONS.items():
        message = message.replace(argument, option)
    return message


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}"
    message = _as_typed(" ".join(str(error).split()))
    # The messages of these are complete. Any other error is unexpected: its type helps.
    if isinstance(error, ValueError | OSError | ImportError):
        return message
    return f"{type(error).__name__}: {message} (--debug shows where)"

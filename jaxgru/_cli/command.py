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
from jaxgru._cli import convert, evaluate, export, finetune, inspect, predict, run
from jaxgru._cli.arguments import check_files
from jaxgru._recurrence.library import native

SUBCOMMANDS = (inspect, run, predict, evaluate, finetune, convert, export)

# Names of arguments in the messages of the library, and the options of the command line.
_OPTIONS = {
    "expected layer=, one of": "expected --layer, one of",
    "(assume= changes that)": "(--assume changes that)",
    'override={"reset_after": True}': "--override reset_after=true",
    "override=": "--override",
    "by override": "by --override",
    "external_data=True": "--external-data",
    'dtype="file"': "--dtype file",
    "steps is ": "--chunk is ",
    "the loss is on 'steps': expected a loss on 'last'": "--on is 'steps': expected --on last",
    "the loss is on 'last': expected a loss on 'steps'": "--on is 'last': expected --on steps",
    "read its arrays with jaxgru.load_arrays, or its GRUs with jaxgru.load and layer=": "inspect "
    "--arrays lists its arrays, and --layer selects a GRU of it",
}
_BAD_USE = 2
_INTERRUPTED = 128 + 2  # as a shell reports SIGINT ...
_PIPE_CLOSED = 128 + 13  # ... and SIGPIPE


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 2 after an error, one line on stderr.

    ``argv`` are the arguments after the program's name; those of the process if None. Raises
    SystemExit after ``--help`` and ``--version``, which print and stop.
    """
    debug = False
    try:
        arguments = _parser().parse_args(argv)
        debug = arguments.debug
        with _warnings_in_one_line():
            check_files(arguments)
            code: int = arguments.func(arguments)
        print(end="", flush=True)  # detects a closed pipe here, not at the exit
        return code
    except BrokenPipeError:
        # The reader has closed the pipe. Python would flush again at the exit.
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
        # JAX's threads may still be computing, in which case an ordinary exit of Python may end in
        # a segmentation fault. All files are closed.
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    sys.exit(code)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage, so that ``main`` reports the error like others."""
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="jaxgru",
        formatter_class=argparse.RawDescriptionHelpFormatter,  # the version in one line
        description="Trained GRU layers in JAX: inspect, run, convert, export and fine-tune them.",
        epilog="Each subcommand has its own help with examples: jaxgru SUBCOMMAND --help",
    )
    version = f"jaxgru {__version__}, {native()}"
    parser.add_argument("--version", action="version", version=version)
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
    """Return a message of the library with its arguments replaced by command line options."""
    for argument, option in _OPTIONS.items():
        message = message.replace(argument, option)
    return message


def _in_one_line(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        place = f"{error.filename}: " if error.filename is not None else ""
        return f"{place}{error.strerror}"
    message = _as_typed(" ".join(str(error).split()))
    # The messages of these are complete. For other, unexpected errors the type is shown.
    if isinstance(error, ValueError | OSError | ImportError):
        return message
    return f"{type(error).__name__}: {message} (--debug shows where)"

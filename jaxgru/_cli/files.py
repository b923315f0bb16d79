"""Checks of the files of a command: outputs are distinct from inputs, and writable."""

import argparse
import errno
import itertools
import os
from collections.abc import Iterator
from pathlib import Path


class Input(str):
    """The path of a file or folder to read, as the ``type`` of an argument."""


class Weights(Input):
    """The path of a weights file to read; an ONNX model may have data in other files."""


class Output(str):
    """The path of a file to write, as the ``type`` of an argument."""


class OutputFolder(Output):
    """The path of a folder to write into, as the ``type`` of an argument."""


def check_files(arguments: argparse.Namespace) -> None:
    """Raise an error unless every output can be written, and is not an input or another output.

    Files are compared by identity, which includes links of both kinds. If an input is a folder,
    every file in it is an input.

    Args:
        arguments: of a subcommand; its values of type ``Input`` and ``Output`` are checked.

    Raises:
        ValueError: an output is an input, or another output.
        OSError: an output is a directory, or its folder is missing or not writable.
    """
    given = vars(arguments).values()
    outputs = [value for value in given if isinstance(value, Output)]
    for output in outputs:
        _check_writable(output)
    for one, other in itertools.combinations(outputs, 2):
        if _is_same(one, other):
            raise ValueError(f"{one}: it is the output {other} too: expected two files")
    there = [output for output in outputs if os.path.exists(output)]
    if not there:
        return
    for path in (value for value in given if isinstance(value, Input)):
        for file, output in itertools.product(_files(path, arguments), there):
            if _is_same(file, output):
                raise ValueError(f"{output}: it is the input {file}: expected another output")


def _check_writable(output: Output) -> None:
    target = os.path.realpath(output)
    is_folder = isinstance(output, OutputFolder)
    if os.path.exists(target) and os.path.isdir(target) != is_folder:
        code = errno.ENOTDIR if is_folder else errno.EISDIR
        raise OSError(code, os.strerror(code), output)
    if is_folder or _is_device(target):
        return  # a folder is created with its parents
    folder = os.path.dirname(target)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", output)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), output)


def _files(path: Input, arguments: argparse.Namespace) -> Iterator[Path]:
    """Yield every file that is read for an input."""
    model = Path(path)
    yield model
    if model.is_dir():
        yield from model.rglob("*")
    elif isinstance(path, Weights) and arguments.external_data and model.is_file():
        content = model.read_bytes()  # which names the files of its data
        beside = model.parent.rglob("*")
        yield from (file for file in beside if os.fsencode(file.name) in content)


def _is_same(one: str | Path, other: str | Path) -> bool:
    if os.path.exists(one) and os.path.exists(other):
        return os.path.samefile(one, other) and not _is_device(one)
    return os.path.realpath(one) == os.path.realpath(other)


def _is_device(path: str | Path) -> bool:
    """Return whether this is a device or a pipe, which has no content to lose."""
    return os.path.exists(path) and not (os.path.isfile(path) or os.path.isdir(path))

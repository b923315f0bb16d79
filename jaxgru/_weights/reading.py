"""Reading all GRUs of a file, as NumPy arrays."""

import contextlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, NamedTuple

from jaxgru._net import map_layers
from jaxgru._weights.contract import Source, Stored
from jaxgru._weights.conventions import check_stackable
from jaxgru._weights.defaults import check_assume, overridden
from jaxgru._weights.equations import Equations, check_equations, from_notebook
from jaxgru._weights.errors import WeightsError, prefix_errors
from jaxgru._weights.formats import tensorflow
from jaxgru._weights.registry import find_by_content, read_folder
from jaxgru._weights.results import GRUsByName, LoadedGRU

_SOURCES = ("keras", "onnx")  # formats of one library
StrPath = str | os.PathLike[str]


class Contents(NamedTuple):
    """The contents of a file of weights."""

    format: str
    gathered: GRUsByName


def read_all(
    path: StrPath,
    *,
    equations: Equations = "keras",
    assume: Mapping[str, object] | None = None,
    override: Mapping[str, object] | None = None,
    external_data: bool = False,
) -> Contents:
    """Return all GRUs in a file as NumPy arrays, or the reason why no net represents one.

    float64 is not rounded, whether JAX's x64 mode is on or off. Arguments and errors are those of
    ``jaxgru.load``; there are no warnings.
    """
    check_equations(equations)
    assume = check_assume(assume, override)
    with opened(path, external_data=external_data) as (name, stored):
        gathered = stored.find(stored.arrays, assume)
        if name in _SOURCES and assume.get("source", name) != name:
            raise WeightsError(
                f"assume has source {assume['source']!r}: expected no source, because it is a file "
                f"of {name}"
            )
        if not gathered:
            raise WeightsError("it has no GRU: expected at least one")
    gathered = overridden(gathered, assume)
    return Contents(name, {layer: _checked(found, equations) for layer, found in gathered.items()})


def _checked(found: LoadedGRU | WeightsError, equations: Equations) -> LoadedGRU | WeightsError:
    if isinstance(found, WeightsError):
        return found
    try:
        check_stackable(found.net)
        if equations == "notebook":
            return found._replace(
                net=map_layers(lambda layer: from_notebook(layer.params), found.net)
            )
    except ValueError as error:  # of sizes that do not fit together, or of the equations
        return error if isinstance(error, WeightsError) else WeightsError(str(error))
    return found


@contextlib.contextmanager
def opened(path: StrPath, *, external_data: bool = False) -> Iterator[tuple[str, Stored]]:
    """Yield the format of a file or folder, and its contents, which are read within the block.

    Errors begin with the path.
    """
    with prefix_errors(path), contextlib.ExitStack() as stack:
        if (place := tensorflow.located(Path(path))) is not None:
            yield "tensorflow", tensorflow.read(place)
            return
        if os.path.isdir(path):
            yield read_folder(Path(path))
            return
        file = stack.enter_context(_opened(path))
        folder = Path(path).parent
        size = os.fstat(file.fileno()).st_size
        source = Source(file, size, folder if external_data else None, folder)
        format_ = find_by_content(source)
        yield format_.name, format_.read(source)


@contextlib.contextmanager
def _opened(path: StrPath) -> Iterator[BinaryIO]:
    # Checked before opening: opening a pipe waits for its writer.
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise WeightsError("it is not a regular file: expected a file of weights")
    with open(path, "rb") as file:
        yield file

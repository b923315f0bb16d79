"""The interface of a format, in two steps: files give named arrays, libraries find GRUs in them."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeAlias

from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.libraries.finding import find
from jaxgru._weights.results import GRUsByName, LoadedGRU

HEAD = 512  # the bytes of a file by which its format is recognized


class FileProbe(NamedTuple):
    """The parts of a file by which its format is recognized."""

    head: bytes  # the first HEAD bytes, or fewer if the file has fewer
    entries: tuple[str, ...] | None  # the names in a zip archive; None: no archive, or damaged
    size: int  # of the file, in bytes


class Source(NamedTuple):
    """An open file to read weights from."""

    file: BinaryIO  # at its beginning
    size: int  # in bytes
    data_folder: Path | None = None  # the folder of external data; None if not allowed
    # Where it is; for formats of several files, none of which is a whole, see ``beside``.
    folder: Path | None = None


# Finds the GRUs among arrays, given what to assume, see jaxgru._weights.defaults. Values are
# taken from the arrays alone, which may be others of the same shapes.
Find: TypeAlias = Callable[[Arrays, Mapping[str, Any]], GRUsByName]

# ``Stored.instead`` of the formats of TensorFlow.
IN_TENSORFLOW = (
    "write the arrays of the net with numpy.savez, and pass them to set_weights of the layer in "
    "TensorFlow (see docs/from-tensorflow.md)"
)


class Stored(NamedTuple):
    """The contents of a file; values are read while it is open."""

    arrays: Arrays  # all arrays by their names in the file
    # By the configuration of the file; without one, by the names that any library gives.
    find: Find = find
    # The names in the file by those that users see; None if they are the same.
    named: Mapping[str, str] | None = None
    # Builds the whole model, as ``find`` does the GRUs; None: the file has no configuration.
    model: "Callable[[Arrays, Mapping[str, Any]], LoadedGRU] | None" = None
    # Writes the file with some arrays, by their names in it, replaced; None: not for this format.
    rewrite: "Callable[[Mapping[str, NDArray[Any]], Path], None] | None" = None
    # Without ``rewrite``, the alternative, for the error.
    instead: str = (
        "expected .keras, .h5, ONNX, an archive of torch.save, safetensors, .npz or MessagePack"
    )
    notes: tuple[str, ...] = ()  # notes on the names


class Format(NamedTuple):
    """How to recognize, read and write one format.

    Weights are NumPy arrays, errors are WeightsError. ``reading`` adds the path of the file to an
    error, so the errors of these functions only name parts of the file.
    """

    name: str
    content: str  # a description of such files
    recognizes: Callable[[FileProbe], bool]
    read: Callable[[Source], Stored]
    suffixes: tuple[str, ...] = ()  # of the files that ``save`` writes in this format
    write: Callable[[Net, Path], None] | None = None  # None: such files are only read
    other_suffixes: tuple[str, ...] = ()  # of files that only this format has

"""Arrays in .npy, .npz, .csv and whitespace .txt files, read and written in parts."""

from jaxgru._arrayfiles.interface import (
    FORMATS,
    ArrayFileError,
    ArrayFileWarning,
    Window,
    sequence_name,
)
from jaxgru._arrayfiles.reading import ArrayReader, open_array
from jaxgru._arrayfiles.writing import ArrayWriter, create_array

__all__ = [
    "FORMATS",
    "ArrayFileError",
    "ArrayFileWarning",
    "ArrayReader",
    "ArrayWriter",
    "Window",
    "create_array",
    "open_array",
    "sequence_name",
]

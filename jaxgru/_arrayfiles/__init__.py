"""Arrays in .npy, .npz, .csv and whitespace .txt files, read and written in parts."""

from jaxgru._arrayfiles.interface import (
    FORMATS,
    TEXT,
    ArrayFileError,
    ArrayFileWarning,
    Window,
    format_of,
    sequence_name,
)
from jaxgru._arrayfiles.reading import ArrayReader, open_array
from jaxgru._arrayfiles.writing import ArrayWriter, create_array, write_array

__all__ = [
    "FORMATS",
    "TEXT",
    "ArrayFileError",
    "ArrayFileWarning",
    "ArrayReader",
    "ArrayWriter",
    "Window",
    "create_array",
    "format_of",
    "open_array",
    "sequence_name",
    "write_array",
]

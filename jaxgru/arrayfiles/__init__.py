"""Arrays in .npy, .npz, .csv and whitespace .txt files, read and written a part at a time."""

from jaxgru.arrayfiles.files import FORMATS, create_array, open_array
from jaxgru.arrayfiles.interface import (
    ArrayFileError,
    ArrayFileWarning,
    ArrayReader,
    ArrayWriter,
    Window,
)

__all__ = [
    "FORMATS",
    "ArrayFileError",
    "ArrayFileWarning",
    "ArrayReader",
    "ArrayWriter",
    "Window",
    "create_array",
    "open_array",
]

"""Replacing the numbers of some datasets of an HDF5 file, with h5py."""

import io
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from jaxgru._optional import need


def with_datasets(content: bytes | bytearray, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the bytes of a file with the numbers of some datasets, by path, replaced."""
    h5py = need("h5py", "hdf5", "writing into HDF5 files")
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        for path, array in arrays.items():
            dataset = file[path]
            # bfloat16 is opaque in HDF5.
            dataset[...] = array.view(dataset.dtype) if dataset.dtype.kind == "V" else array
    return buffer.getvalue()

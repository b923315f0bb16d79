"""Keras' files in HDF5: a legacy model or its weights, or Keras 3's ``.weights.h5``."""

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.formats.hdf5 import SIGNATURE, Hdf5
from jaxgru.weights.formats.keras import groups, legacy
from jaxgru.weights.results import Gathered


def recognises(look: Look) -> bool:
    """Return whether a file is an HDF5 file, as all of Keras' are but ``.keras``."""
    return look.head.startswith(SIGNATURE)


def read(source: Source) -> Gathered:
    """Return the GRUs in an HDF5 file that Keras wrote."""
    h5 = Hdf5(source.file, source.size)
    if legacy.recognises(h5):
        return legacy.read(h5, source.assume)
    return groups.read(h5, source.assume)

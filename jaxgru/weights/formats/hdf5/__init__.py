"""Reading HDF5 files without trusting them, as far as Keras writes them.

The format is read here, in Python, as HDF5's own library does not bear damaged files: of 4,700
mutations of files by Keras and h5py, one crashed it (h5py 3.16 with HDF5 2.0) and twelve did not
come back within 20 seconds. Read is what h5py and Keras write unless newer features of HDF5 are
asked for. Every place is checked against the file before it is read, no other file is ever opened,
and what reading may take in all is bounded (``blocks``).

Source: the HDF5 File Format Specification, version 3.0.
"""

from jaxgru.weights.formats.hdf5.file import Hdf5
from jaxgru.weights.formats.hdf5.objects import shown
from jaxgru.weights.formats.hdf5.superblock import SIGNATURE

__all__ = ["SIGNATURE", "Hdf5", "shown"]

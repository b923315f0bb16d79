"""Reading untrusted HDF5 files, in all layouts that h5py writes.

The format is parsed in Python, because other libraries do not handle damaged files. On 15,000
mutations of files by Keras and h5py, h5py 3.16 (HDF5 2.0) hung 46 times and crashed once. pyfive
1.3 raised 141 MemoryErrors, took over 60 s for a file of 1.3 MiB and 2.4 GB for one of 1.2 MiB, and
silently returned fill values for missing numbers.

Every address is checked against the size of the file before it is read, checksums are verified, no
other file is opened, and the cost of reading is limited (``blocks``). External, soft and
user-defined links, external storage and virtual datasets are errors. Every function raises
WeightsError for damaged or unsupported content; ``what`` names a structure in its messages.

Source: the HDF5 File Format Specification, version 3.0; for the parts that it omits, HDF5's
``H5HF*.c``, ``H5B2*.c``, ``H5EA*.c`` and ``H5FA*.c``.
"""

from jaxgru._weights.formats.hdf5.file import Hdf5, shown
from jaxgru._weights.formats.hdf5.headers import SIGNATURE

__all__ = ["SIGNATURE", "Hdf5", "shown"]

"""HDF5 files with one byte changed: each is read, or refused for a reason that names the fault.

The files are written by h5py. Checksums of structures are not compared here, so that
the checks behind them are reached.
"""

import io
import re
from unittest import mock

import numpy as np
import pytest

from jaxgru._weights.formats.hdf5 import Hdf5, blocks
from jaxgru._weights.io import WeightsError

h5py = pytest.importorskip("h5py")

ARRAYS = {
    "whole": {},
    "fixed": {"chunks": (2, 3)},
    "growing": {"chunks": (2, 3), "maxshape": (None, 6), "compression": "gzip"},
    "tree": {"chunks": (2, 3), "maxshape": (None, None)},
    "one": {"chunks": (4, 6), "shuffle": True, "fletcher32": True},
}
# How reasons begin: # is a number, ~ a name or bytes, and P a path.
EITHER = """
its HDF# layout is version #: expected # to #
its addresses and lengths are of (#, #) bytes: expected (#, #)
it is truncated: it has # bytes and declares #
the header of P begins with #x#: expected #x#, or OHDR
the header of P should take # bytes at byte #: expected a place within the file's # bytes
P is missing: expected an array there
P is a duplicate name: expected it once
the shape of P is missing
the shape of P occurs # times: expected once
the shape of P is shared with other objects: expected one of its own
the shape of P has version #: expected # to #
the shape of P ends after # bytes: expected # or more
P has # axes: expected at most #
P has shape (#, #): expected at most # axes, each from # to #
P declares # bytes: expected at most # in a file of # bytes
P holds integers: expected floating-point numbers
P holds floating-point numbers of an unknown kind, # bytes each: expected floating-point numbers
P has a type of version #: expected # to #
P has values of # bytes: expected # or more
P is made of others (virtual): expected values of its own
P has a layout of kind #: expected # to #
P has chunks of (#, #): expected # sizes and #, the size of a number
P has a chunk at (#, #): expected another place, or once
P has a chunk of # bytes: expected #
P has a damaged chunk: expected its checksum
P went through shuffle with [#]: expected #, # or #
P went through the filter number #, a plugin: expected deflate, lzf, shuffle or fletcher#
"""
REASONS = {
    "earliest": """
P is not a group: expected one
the names in P has ~: expected a printable name, without a slash
the names in P has ~: expected a name in UTF-#
the header of P has # messages: expected #
the symbol table of P refers twice to byte #: expected once
the names in P begin at #: expected below #
the chunks of P has a node of level #: expected at most #
P has a chunk at [#, #]: expected another place
reading it would take more than # bytes: expected no more of a file of # bytes
""",
    "latest": """
P has ~: expected a printable name, without a slash
P has ~: expected a name in UTF-#
an attribute of P shares its type with other objects: expected one of its own
P leaves chunks at its edges unfiltered: expected all filtered
P has # chunks in the file: expected #
P has a chunk index of kind #: expected # to #
P went through shuffle with []: expected #, # or #
the chunks of P are in blocks of # and #: expected powers of #
the links in P has depth # and # bytes a record in a node of #: expected at most #
the links in P has # records in a node of # bytes
the links in P has # records: expected #
the heap of links in P is compressed: expected it as h#py writes it
the heap of links in P has blocks of (#, #, #): expected powers of two
the heap of links in P has an object beyond its block of # bytes
the heap of links in P has an object of kind #: expected # or #
the attribute # of P has # bytes: expected #
the attribute # of P has # bytes in its heap: expected #
the attribute # of P holds enumerations: expected text
an attribute of P is shared with other objects: expected one of its own
an attribute of P, ~ is a duplicate name: expected it once
""",
}


def fill(file):
    for name, options in ARRAYS.items():
        file.create_dataset(name, data=np.arange(24, dtype="f4").reshape(4, 6), **options)
    for i in range(9):  # more than a header holds
        file["one"].attrs[f"{i}"] = "x"
        file[f"many/{i}"] = np.float32(i)


@pytest.mark.slow
@pytest.mark.parametrize("libver", REASONS)
def test_every_byte(monkeypatch, libver):
    written = io.BytesIO()
    with h5py.File(written, "w", libver=libver) as file:
        fill(file)
    content, found = bytearray(written.getvalue()), set()
    monkeypatch.setattr(blocks, "lookup3", lambda _: mock.ANY)
    for place, byte in enumerate(content):
        if not any(content[max(0, place - 4) : place + 4]):
            continue  # a gap
        for changed in (byte ^ 1, byte ^ 0x80, 0 if byte else 255):
            content[place] = changed
            try:
                h5 = Hdf5(io.BytesIO(content), len(content))
                shapes = [h5.read(name).shape for name in ARRAYS]
                h5.text("one", "3")
            except WeightsError as error:
                found.add(_without_particulars(str(error)))
            else:
                assert all(len(shape) == 2 for shape in shapes)
        content[place] = byte
    expected = (EITHER + REASONS[libver]).split("\n")
    assert [line for line in expected if not any(one.startswith(line) for one in found)] == []


def _without_particulars(reason):
    reason = re.sub(r"b?'[^']*'", "~", reason)
    reason = re.sub(r"/[\w/]*", "P", reason)
    return re.sub(r"\d+", "#", reason)

"""The beginning of an HDF5 file, which says how it is laid out and where its root group is."""

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.cursor import Cursor

SIGNATURE = b"\x89HDF\r\n\x1a\n"

_WHAT = "the HDF5 file's beginning"
_COMMON = 24
_ADDRESSES = 32


def find_root(blocks: Blocks, size: int) -> int:
    """Return the address of the root group's header.

    Args:
        blocks: the file.
        size: its size in bytes.

    Raises:
        WeightsError: it is no HDF5 file, is cut short, or has a layout that is not read.
    """
    head = Cursor(blocks.read(0, _COMMON, _WHAT), _WHAT)
    head.expect(SIGNATURE)
    version = head.number(1)
    if version not in (0, 1):
        raise WeightsError(
            f"its HDF5 layout is version {version}: expected 0 or 1, which h5py and Keras write "
            "without libver='latest'"
        )
    head.skip(4)
    sizes = head.number(1), head.number(1)
    if sizes != (8, 8):
        raise WeightsError(f"its addresses and lengths are of {sizes} bytes: expected (8, 8)")
    # Version 1 has one number more than version 0.
    rest = Cursor(blocks.read(_COMMON + 4 * version, _ADDRESSES + 16, _WHAT), _WHAT)
    base = rest.address()
    rest.skip(8)
    end = rest.address()
    if base != 0:
        raise WeightsError(f"its HDF5 part begins at byte {base}: expected 0")
    if end > size:
        raise WeightsError(f"it is cut short: it has {size} bytes, and {end} by its own account")
    rest.skip(16)
    return rest.address()

"""Wrong .npz files: the zip archive, the .npy files in it, and the arrays."""

import io
import os
import pickle
import struct
import zipfile

import numpy as np

from hostile.sound import archive, arrays, npy, npy_header, npz_entries, shell

# More than any small file may become: the cap is 64 MiB.
ZEROS = bytes(80 * 2**20)
DEFLATED = zipfile.ZIP_DEFLATED
DIRECTORY, ENTRY = b"PK\x01\x02", b"PK\x03\x04"


class Runs:
    """An object whose pickle runs a command."""

    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def savez(**changed):
    """Return an archive of the seed's arrays, with some replaced, or left out where None."""
    file = io.BytesIO()
    np.savez(file, **{k: v for k, v in arrays(**changed).items() if v is not None})
    return file.getvalue()


def entry(content, name="wMatrix", **options):
    """Return an archive in which the content of one entry is another."""
    return archive(npz_entries(**{name: content}), **options)


def header(text):
    """Return a .npy file whose header is any text."""
    return (
        b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + b"\0" * 72
    )


def beside(name, content):
    """Return an archive with one entry more."""
    return archive([*npz_entries(), (name, content)])


def patched(content, *changes):
    """Return bytes with some replaced, each at an offset from where a signature first stands."""
    content = bytearray(content)
    for signature, offset, new in changes:
        place = content.index(signature) + offset
        content[place : place + len(new)] = new
    return bytes(content)


def encrypted():
    good = savez()
    flags = [good[good.index(sign) + at] | 1 for sign, at in ((DIRECTORY, 8), (ENTRY, 6))]
    return patched(good, (DIRECTORY, 8, bytes(flags[:1])), (ENTRY, 6, bytes(flags[1:])))


def less_than_declared():
    content = npy_header((3, 9)) + bytes(72)
    size = struct.pack("<I", len(content) + 36)
    return patched(entry(content, compression=DEFLATED), (DIRECTORY, 24, size), (ENTRY, 22, size))


_FLOATS = ": expected floating-point numbers (float16, bfloat16, float32, float64)"
_EXACTLY = ": expected exactly wMatrix, uMatrix, biases"

FILES = {
    # The archive
    "cut short": (savez()[:-30], "the zip archive is damaged or cut short"),
    "directory beyond the file": (
        ENTRY + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 2**31, 2**31, 0),
        "the zip archive is damaged or cut short"),
    "no entries": (archive([]), "0 arrays"),
    "entry of another kind": (
        archive([*npz_entries()[:2], ("biases", b"1 2 3")]),
        "'biases' is there: expected names that end in .npy"),
    "the same entry twice": (
        beside(*npz_entries()[0]), "'wMatrix.npy' is a duplicate name: expected it once"),
    "another compression": (
        archive(npz_entries(), zipfile.ZIP_LZMA),
        "'wMatrix.npy' is compressed by method 14: expected none or deflate"),
    "encrypted": (encrypted(), "wMatrix is damaged"),
    "a changed number": (
        patched(savez(), (arrays()["uMatrix"].tobytes(), 0, b"\1")), "uMatrix is damaged ... CRC"),
    "a thousand small bombs": (
        lambda f: archive([*npz_entries(), *((f"{i}.npy", npy_header((2, 2**14)) + bytes(2**17))
                                             for i in range(1000))], DEFLATED),
        "its entries declare ... bytes: expected at most 67108864"),
    "more than declared": (
        lambda f: patched(entry(ZEROS, compression=DEFLATED), (DIRECTORY, 24, b"\xc8\0\0\0"),
                          (ENTRY, 22, b"\xc8\0\0\0")), "wMatrix is damaged"),
    "less than declared": (less_than_declared(), "wMatrix is damaged (the data ends early)"),
    "entry of 2 GiB": (
        patched(savez(), (DIRECTORY, 20, struct.pack("<II", 2**31, 2**31))),
        f"'wMatrix.npy' declares {2**31} bytes: expected at most the"),
    "name that forges a line": (
        beside("a\n\x1b[31mloaded: all is well\n.npy", npy([1.0])), r"'a\n\x1b[31m"),
    "name of 60 kB": (beside("x" * 60_000 + ".npy", npy([1.0])), "x" * 40 + " ... is unknown"),
    # The arrays' files
    "objects that run a program": (
        lambda f: entry(npy(np.array([Runs(shell(f))], object))), "wMatrix has dtype '|O'"),
    "pickle that runs a program": (
        lambda f: entry(pickle.dumps(Runs(shell(f)))), "wMatrix is damaged ... it begins with"),
    "header that is a program": (
        lambda f: entry(header(f"__import__('os').system({shell(f)!r})")),
        "wMatrix is damaged ... header has no dtype"),
    "header of 4 GiB": (
        entry(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{"), "wMatrix is damaged ... 4294967295 bytes"),
    "header nested deeply": (entry(header("(" * 9000)), "wMatrix is damaged"),
    "nothing": (entry(b""), "wMatrix is damaged"),
    ".npy of version 3": (
        entry(b"\x93NUMPY\x03\x00" + bytes(80)),
        "wMatrix is damaged (its .npy version is (3, 0): expected (1, 0) or (2, 0))"),
    "shape beyond the file": (
        entry(npy_header((10**9, 9)) + bytes(72)),
        "wMatrix declares shape (1000000000, 9) of float32, 36000000000 bytes: expected the 72 "
        "bytes that it has"),
    "shape below the file": (
        entry(npy(arrays()["wMatrix"]) + b"more"),
        "wMatrix declares shape (2, 9) of float32, 72 bytes: expected the 76 bytes that it has"),
    "negative shape": (
        entry(npy_header((-2, -9)) + bytes(72)), "wMatrix has shape (-2, -9): expected at most 8"),
    "a hundred axes": (
        entry(npy_header((1,) * 100) + bytes(4)),
        "wMatrix has shape (1, 1, 1, 1, 1, 1, 1, 1) and more: expected at most 8 axes"),
    "type of a gibibyte": (entry(npy_header((1,), f"|V{2**30}")), "has dtype '|V1073741824'"),
    "integers": (savez(wMatrix=np.ones((2, 9), "i4")), "wMatrix has dtype int32: expected"),
    # Which arrays, and their shapes
    "no uMatrix": (savez(uMatrix=None), f"uMatrix is missing{_EXACTLY}"),
    "a key too many": (savez(epochs=np.ones(3)), f"epochs is unknown{_EXACTLY}"),
    "other names": (
        savez(wMatrix=None, uMatrix=None, biases=None, W=np.ones(3), U=np.ones(3)),
        "2 arrays ('W', 'U'"),
    "a kernel alone": (
        savez(wMatrix=None, uMatrix=None, biases=None, kernel=np.ones((1, 3))),
        "1 arrays ('kernel'): expected wMatrix, uMatrix, biases of jaxgru's own files or weight_"),
    "a tree that NumPy pickled": (
        savez(wMatrix=None, uMatrix=None, biases=None, params={"gru": 1}),
        "a Python object that NumPy pickled"),
    "two names for one array": (
        savez(wMatrix=None, uMatrix=None, biases=None,
              **{"gru/w_i": np.ones(3), "['gru']['w_i']": np.ones(3)}),
        "'gru/w_i' and ... are both there: expected one"),
    "W of rank 1": (
        savez(wMatrix=np.ones(9, "f4")), "wMatrix has shape (9,): expected (I, 3H) for 3 units"),
    "U of two gates": (
        savez(uMatrix=np.ones((3, 6), "f4")), "uMatrix has shape (3, 6): expected (H, 3H)"),
    "U a number": (savez(uMatrix=np.float32(1)), "uMatrix has shape (): expected (H, 3H)"),
    "b of neither form": (
        savez(biases=np.ones((2, 6), "f4")),
        "biases has shape (2, 6): expected (2, 3H) for 3 units"),
    "no inputs": (
        savez(wMatrix=np.ones((0, 9), "f4")),
        "wMatrix has shape (0, 9): expected every size to be at least 1"),
    "no units": (
        savez(uMatrix=np.ones((0, 0), "f4")),
        "uMatrix has shape (0, 0): expected every size to be at least 1"),
}  # fmt: skip

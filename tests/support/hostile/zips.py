"""Hostile zip archives, as npz files."""

import io
import stat
import struct
import zipfile

from hostile.cases import refused
from hostile.sound import archive, npy, npy_header, npz_entries

# More than any small file may become: the cap is 64 MiB.
ZEROS = bytes(80 * 2**20)


@refused("its entries declare .* bytes: expected at most")
def many_small_bombs(folder):
    """A thousand entries, none of them over the cap, and all of them together."""
    entry = npy_header((2, 2**14)) + bytes(2**17)
    more = [(f"{number}.npy", entry) for number in range(1000)]
    return archive([*npz_entries(), *more], zipfile.ZIP_DEFLATED)


@refused("its entries declare .* bytes: expected at most")
def overlapping_entries(folder):
    """A directory of 200 entries that are all the same bytes of the file."""
    content = archive([("a.npy", npy_header((2, 2**18)) + bytes(2**21))], zipfile.ZIP_DEFLATED)
    start = content.index(b"PK\x01\x02")
    end = content.index(b"PK\x05\x06")
    record = content[start:end]
    directory = b"".join(record.replace(b"a.npy", b"%05d" % number) for number in range(200))
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 200, 200, len(directory), start, 0)
    return content[:start] + directory + tail


@refused("wMatrix is damaged")
def more_than_declared(folder):
    """An entry that becomes 80 MiB, and 200 bytes by the directory."""
    content = bytearray(archive(npz_entries(wMatrix=ZEROS), zipfile.ZIP_DEFLATED))
    for signature, offset in ((b"PK\x01\x02", 24), (b"PK\x03\x04", 22)):
        place = content.index(signature) + offset
        content[place : place + 4] = struct.pack("<L", 200)
    return bytes(content)


@refused("declares .* bytes: expected at most")
def size_of_nearly_2_to_the_64(folder):
    """An entry whose zip64 sizes are all that fit in 64 bits."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as target:
        for name, content in npz_entries():
            with target.open(zipfile.ZipInfo(name), "w", force_zip64=True) as entry:
                entry.write(content)
        target.filelist[0].file_size = target.filelist[0].compress_size = 2**64 - 1
    return file.getvalue()


@refused("wMatrix is damaged .*it begins with")
def link(folder):
    """An entry that is a symbolic link to a file beside the archive."""
    (folder / "secret").write_bytes(npy_header((2, 9)) + bytes(72))
    info = zipfile.ZipInfo("wMatrix.npy")
    info.create_system = 3  # Unix, where links are
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    return archive([(info, f"{folder}/secret".encode()), *npz_entries()[1:]])


@refused(r"\\n\\x1b\[31m")
def name_that_writes_to_the_terminal(folder):
    """An entry's name with a line's end and a terminal's escape, to forge a message."""
    return archive([("a\n\x1b[31mloaded: all is well\n.npy", npy([1.0])), *npz_entries()[1:]])


@refused("x{40}.* is unknown")
def name_of_60_kilobytes(folder):
    """An entry's name as long as a name can be, to fill the screen."""
    return archive([("x" * 60_000 + ".npy", npy([1.0])), *npz_entries()[1:]])


@refused("damaged or cut short")
def directory_beyond_the_file(folder):
    """An end of the directory that points beyond the file."""
    return b"PK\x03\x04" + struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 2**31, 2**31, 0)

"""The files that TensorFlow wrote, see tests/weights/tensorflow/make_files.py."""

import functools
import io
import tarfile
from pathlib import Path

import numpy as np

_ARCHIVE = Path(__file__).parents[1] / "weights" / "tensorflow" / "files.tar.xz"


@functools.cache
def contents():
    """Return the content of every file by its path, ``CASE/NAME``."""
    with tarfile.open(_ARCHIVE) as archive:
        return {entry.name: archive.extractfile(entry).read() for entry in archive}


def case(name, folder):
    """Write the files of a case to a folder; return its path there, and what is expected."""
    files = {path: content for path, content in contents().items() if path.startswith(f"{name}/")}
    expected = dict(np.load(io.BytesIO(files.pop(f"{name}/expected.npz"))))
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(content)
    return folder / name, expected


def cases(beginning=""):
    """Return the names of all cases with a beginning."""
    return sorted({path.partition("/")[0] for path in contents() if path.startswith(beginning)})

"""The checkpoint or SavedModel that a path refers to, as TensorFlow's users write it."""

import os
import re
from pathlib import Path

from jaxgru._weights.beside import open_beside, size_beside
from jaxgru._weights.errors import WeightsError, listed, shown
from jaxgru._weights.formats.tensorflow.table import MAGIC

GRAPH = "saved_model.pb"
_LATEST = "checkpoint"
_LARGEST = 2**20  # of the text with the latest checkpoint
_SHARD = re.compile(r".+\.data-\d{5}-of-\d{5}", re.DOTALL)
_PATH = re.compile(rb'\s*model_checkpoint_path:\s*"([^"\\\n]+)"')


def located(path: Path) -> Path | None:
    """Return the index of a checkpoint, or the folder of a SavedModel; None for other files.

    A path is that of the folder, of one of the files, or, as in TensorFlow, that of a checkpoint
    without the endings of its files.
    """
    if path.is_dir():
        return _in_folder(path)
    if path.name == GRAPH and path.is_file():
        return path.parent
    if not path.exists():
        index = Path(f"{path}.index")
        return index if index.is_file() else None
    if _SHARD.fullmatch(path.name):
        index = path.with_suffix(".index")
        if not index.exists():
            raise WeightsError(
                "it has the numbers of a TensorFlow checkpoint without their names: expected "
                f"{shown(index.name)} beside it"
            )
        return index
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        if path.name == _LATEST and _PATH.match(file.read(_LARGEST)):
            return _latest(path)
        file.seek(max(0, file.seek(0, 2) - len(MAGIC)))
        return path if file.read() == MAGIC else None


def _in_folder(folder: Path) -> Path | None:
    if (folder / GRAPH).is_file():
        return folder
    if (folder / _LATEST).is_file():
        return _latest(folder / _LATEST)
    found = sorted(path for path in folder.iterdir() if path.suffix == ".index")
    if len(found) > 1:
        raise WeightsError(
            f"it holds the checkpoints {listed([path.stem for path in found], 20)}: expected one "
            f"of them, such as {folder / found[-1].stem}"
        )
    return found[0] if found else None


def _latest(path: Path) -> Path:
    """Return the index that the text in a file names, in the folder of the file alone."""
    with open_beside(path) as file:
        match = _PATH.match(file.read(_LARGEST))
    if match is None:
        raise WeightsError(f"{_LATEST} names no model_checkpoint_path: expected the latest one")
    # A path in it is that of the machine where it was written.
    name = re.split(rb"[/\\]", match[1])[-1].decode("utf-8", "replace")
    if "\0" in name or name in ("", ".", ".."):
        raise WeightsError(f"{_LATEST} names {shown(name)}: expected a checkpoint in its folder")
    whole = path.parent / name
    if os.path.isfile(whole) and not os.path.exists(f"{whole}.index"):
        return whole  # of the first format
    index = Path(f"{whole}.index")
    size_beside(index)  # raises if it is not there
    return index

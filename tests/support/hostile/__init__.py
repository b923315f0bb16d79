"""Damaged, mistaken and hostile files: for each format a table of contents and words of the error.

The name of a row is what is wrong with its file. The content is bytes, or a function of a folder of
its own, where an attack may put what it reaches for. The words are parts of the error's one line in
their order, with " ... " between them; None: the file is read, and the attack is passed by. Tests
that import this are skipped where h5py, msgpack or onnx is not installed.
"""

from collections.abc import Callable
from pathlib import Path

from hostile import hdf5, keras, legacy, messagepack, named_json, npz, onnx, others, safetensors
from hostile import torch as torch_files

Content = bytes | Callable[[Path], bytes]

FILES: dict[tuple[str, str], tuple[Content, str | None]] = {
    (module.__name__.removeprefix("hostile."), name): row
    for module in (
        hdf5, keras, legacy, messagepack, named_json, npz, onnx, others, safetensors, torch_files,
    )
    for name, row in module.FILES.items()
}  # fmt: skip


def content_of(row: tuple[Content, str | None], folder: Path) -> bytes:
    """Return the content of a row's file."""
    content, _ = row
    return content if isinstance(content, bytes) else content(folder)


def has_words(message: str, words: str) -> bool:
    """Return whether the parts of some words are in a message, in their order."""
    for part in words.split(" ... "):
        _, found, message = message.partition(part)
        if not found:
            return False
    return True

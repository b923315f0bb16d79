"""Every wrong file is one clean error, or does nothing, and takes no more memory than it may.

The files are in ``hostile``, a row each. ``test_fuzz.py`` makes more of them.
"""

import os
import re
import tracemalloc
import warnings

import hostile
import numpy as np
import pytest
from hostile import hdf5, onnx, safetensors, sound

import jaxgru
from jaxgru._weights.formats.hdf5 import Hdf5
from jaxgru._weights.formats.onnx import wire
from jaxgru._weights.limits import EXPANSION, SMALL

# The reader's own cap is max(SMALL, EXPANSION * size) for what it reads; the other half is for a
# copy of it, as where gates are put in another order.
COPIES = 2
# What takes a reader to its limit of instructions, nodes or objects.
SLOW = {
    "streams within, doubled", "calls that double", "a long list", "too many instructions",
}  # fmt: skip
ROWS = [
    pytest.param(table, name, id=f"{table}: {name}", marks=[pytest.mark.slow] * (name in SLOW))
    for table, name in hostile.FILES
]


@pytest.mark.parametrize(("table", "name"), ROWS)
def test_file(table, name, tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "weights"
    row = hostile.FILES[table, name]
    path.write_bytes(hostile.content_of(row, folder))

    error, taken = _read(path)

    size = sum(file.lstat().st_size for file in folder.iterdir())
    assert taken < COPIES * max(SMALL, EXPANSION * size)
    assert not list(tmp_path.rglob(sound.CANARY)), "something in the file was run or extracted"
    words = row[1]
    if words is None:
        assert error is None
        return
    assert isinstance(error, jaxgru.WeightsError)
    message = str(error).removeprefix(f"{path}: ")
    assert message != str(error), "a message begins with the path"
    assert message.isprintable(), "a message is one line without control characters"
    assert len(message) < 600, "a message is to be read"
    assert hostile.has_words(message, words), message


def _read(path):
    """Return the error that a read ends in, or None, and how much memory it took at most."""
    error = None
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jaxgru.WeightsWarning)  # of what files leave out
            jaxgru.load_all(path, external_data=True)
    except jaxgru.WeightsError as raised:
        error = raised
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return error, taken


def test_external_data_is_read_only_where_it_is_allowed(tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "data").write_bytes(b"skipped!" + onnx.W)
    entries = {"location": "deeper/data", "offset": 8, "length": 72, "checksum": "0"}
    (tmp_path / "model.onnx").write_bytes(onnx.model(None, onnx.external(**entries)))
    net = jaxgru.load(tmp_path / "model.onnx", external_data=True)
    np.testing.assert_array_equal(net.kernel, sound.onnx_arrays()["W"][0].T)
    with pytest.raises(jaxgru.WeightsError, match="expected it in the model, or external_data=Tr"):
        jaxgru.load(tmp_path / "model.onnx")


def test_paths_of_no_file(tmp_path):
    names = {
        "saved model": (["saved_model.pb", "variables"], "'variables.index' cannot be read"),
        "checkpoint": (["checkpoint", "a.index"], "checkpoint names no model_checkpoint_path"),
        "any": (list("dcba"), "it is a directory: ... in it are 'a', 'b', 'c' and 1 more"),
        "empty": ([], "it is a directory: expected ... in it are no files"),
    }
    for folder, (entries, words) in names.items():
        (tmp_path / folder).mkdir()
        for entry in entries:
            (tmp_path / folder / entry).touch()
        for read in (jaxgru.load, jaxgru.load_all):
            with pytest.raises(jaxgru.WeightsError) as caught:
                read(tmp_path / folder)
            assert hostile.has_words(str(caught.value), words)
            assert str(caught.value).isprintable()
    os.mkfifo(tmp_path / "pipe")  # to open it would be to wait forever
    with pytest.raises(
        jaxgru.WeightsError, match="pipe: it is not a regular file: expected a file"
    ):
        jaxgru.load(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError, match=re.escape(str(tmp_path / "none.npz"))):
        jaxgru.load(tmp_path / "none.npz")


def test_many_fields(tmp_path, monkeypatch):
    monkeypatch.setattr(wire, "MOST_FIELDS", 100)
    nodes = [onnx.node("Identity", ["a"], [f"b{i}"]) for i in range(99)]
    (tmp_path / "model").write_bytes(onnx.model([onnx.gru(), *nodes]))
    with pytest.raises(jaxgru.WeightsError, match="more than 100 fields"):
        jaxgru.load(tmp_path / "model")


def test_many_nodes_with_the_same_weights(tmp_path):
    """A thousand nodes of 1 MB of weights, each of which would be copied."""
    nodes = [onnx.gru(("x", "W", "R"), f"y{i}", str(i), hidden_size=200) for i in range(1000)]
    arrays = (onnx.array(name, np.ones((1, 600, 200))) for name in "WR")
    (tmp_path / "model").write_bytes(onnx.model(nodes, *arrays))
    tracemalloc.start()
    assert jaxgru.load(tmp_path / "model", layer="0").hidden_size == 200
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The cap for small models, 64 MiB, and what Python holds of the nodes.
    assert peak < 80 * 2**20


def test_what_belongs_to_no_gru_is_not_read(tmp_path):
    header, data = safetensors.others()
    large, end = 2**32, len(data)
    header["other"] = {"dtype": "F32", "shape": [large // 4], "data_offsets": [end, end + large]}
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.file(header, data))
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size + large)  # a hole, which takes no room on the disk
    error, taken = _read(path)
    assert error is None
    # Some kilobytes for three arrays of under 100 bytes, and none for the fourth.
    assert taken < 2**20


_SOUND = {
    "onnx": (onnx.model, 7),
    "hdf5": (sound.keras_h5, 61),
    "hdf5, latest": (lambda: sound.keras_h5(**hdf5.LATEST), 61),
}


@pytest.mark.parametrize("name", _SOUND)
def test_every_beginning_of_a_file_is_refused(name, tmp_path):
    make, step = _SOUND[name]
    whole, path = make(), tmp_path / "weights"
    for size in range(0, len(whole), step):
        path.write_bytes(whole[:size])
        with pytest.raises(jaxgru.WeightsError):
            jaxgru.load_all(path)


def test_every_byte_of_a_structure_with_a_checksum(tmp_path):
    """A changed byte is refused, or in none of the structures: an array, or a gap between them."""

    def fill(file):
        for i in range(12):
            file[f"{i}"] = np.float32(0)
            file.attrs[f"{i}"] = "x"

    whole = sound.keras_h5(fill, **hdf5.LATEST)
    path = tmp_path / "changed"
    for signature in (b"\x89HDF", b"OHDR", b"FRHP", b"FHDB", b"BTHD", b"BTLF"):
        start = whole.index(signature)
        for place in range(start, start + 30, 3):
            changed = bytearray(whole)
            changed[place] ^= 0x10
            path.write_bytes(changed)
            with open(path, "rb") as file, pytest.raises(jaxgru.WeightsError):
                Hdf5(file, len(changed)).text("", "0")

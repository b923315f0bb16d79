"""Files and folders that are not read: the message names what they are, and what to do instead.

The oracles are the beginnings that the formats' own documents give, and files by PyTorch and NumPy.
"""

import io
import zipfile

import numpy as np
import pytest
from bad_files import assert_refused

import jaxgru


def _zip(*names):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"")
    return file.getvalue()


def _npy():
    file = io.BytesIO()
    np.save(file, np.ones(3))
    return file.getvalue()


# The first bytes of a SavedModel by TensorFlow 2.15: version 1, then a graph of 300 bytes.
_SAVED_MODEL = b"\x08\x01\x12\xac\x02\x0a\x80\x01" + b"\x12\x05serve" * 40

FILES = {
    "numpy": (_npy(), "arrays that have no names", "jaxgru.from_equinox"),
    "equinox": (b'{"size": 3}\n' + _npy(), "arrays that have no names", "tree_deserialise_leaves"),
    "shards": (b'{"metadata": {}, "weight_map": {}}', "the index of weights in se", "one of the"),
    "tensorflow.js": (b'{"format": "layers-model", "modelTo', "TensorFlow.js", "tensorflowjs_con"),
    "keras": (b'{"module": "keras", "class_name": "Sequential", "config": {}}', "configuration of",
              "model.save_weights"),
    "git lfs": (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
                "a pointer of Git LFS", "run git lfs pull"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(20), "a model of TFLite", "converted to ONNX"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(20), "a file of GGUF", "converted to ONNX"),
    "saved model": (_SAVED_MODEL, "the graph of a TensorFlow SavedModel", 'model.save("model.h5")'),
    "index": (b"\0\0\x14\x08\x01\x1a\x02\x08\x01\0\x1b_CHECKPOINTABLE_OBJECT_GRAPH\x08\x07",
              "the index of a TensorFlow checkpoint", "model.load_weights"),
    "pt2": (_zip("a/archive_format", "a/models/model.json"), "a program of torch.export",
            "torch.save(program.state_dict(), path)"),
    "python 2": (b"(dp0\nS'a'\np1\nI1\ns.", "a pickle of protocol 0", "protocol=2"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a file of MATLAB", "scipy.io.loadmat"),
}  # fmt: skip

FOLDERS = {
    "saved model": (["saved_model.pb", "variables"], "a TensorFlow SavedModel", "model.save("),
    "checkpoint": (["checkpoint", "a.index", "a.data-00000-of-00001"], "TensorFlow checkpoint",
                   "model.load_weights"),
    "any": (["d", "c", "b", "a"], "it is a directory: expected a", "in it are 'a', 'b', 'c', "),
    "empty": ([], "it is a directory: expected", "in it are no files"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_file(name, tmp_path):
    content, kind, instead = FILES[name]
    message = assert_refused(tmp_path / "weights", content, "expected a file of weights; ")
    assert kind in message
    assert instead in message


@pytest.mark.parametrize("name", FOLDERS)
def test_folder(name, tmp_path):
    names, kind, instead = FOLDERS[name]
    for entry in names:
        (tmp_path / entry).touch()
    for read in (jaxgru.load, jaxgru.load_all):
        with pytest.raises(jaxgru.WeightsError) as error:
            read(tmp_path)
        assert kind in str(error.value)
        assert instead in str(error.value)
        assert str(error.value).isprintable()


def test_models_of_onnx_are_not_taken_for_others(tmp_path):
    """The fields that a SavedModel begins with, with text in the second as ONNX has it."""
    assert_refused(tmp_path / "weights", b"\x08\x01\x12\x05torch\x3a\x00", "GRU")

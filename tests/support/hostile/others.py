"""Files of no format, and of formats that are not read: the error has what to do instead.

The beginnings are those that the formats' own documents give.
"""

import io
import tarfile
import zipfile

import numpy as np

from hostile.sound import archive, npy

NPY = npy(np.ones(3))
# The first bytes of a SavedModel by TensorFlow 2.15: version 1, then a graph of 300 bytes.
SAVED_MODEL = b"\x08\x01\x12\xac\x02\x0a\x80\x01" + b"\x12\x05serve" * 40


def tar(name):
    """Return a tar archive of one empty entry."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as target:
        target.addfile(tarfile.TarInfo(name))
    return content.getvalue()


FILES = {
    "nothing": (b"", "it is empty: expected a file of torch.save or a pickle or "),
    "text": (b"wMatrix 1 2 3\n", "it begins with b'wMatrix ': expected a file of"),
    "zeros": (lambda f: bytes(16 * 2**20), "it begins with"),
    "escapes of a terminal": (b"\x1b[2J\n\r\x07" * 100, r"it begins with b'\x1b[2J\n"),
    "tar whose entry leads out": (
        lambda f: tar(f"../../../..{f}/canary"),
        "it is a tar archive: expected a file of torch.save"),
    "an index of files elsewhere": (
        b'{"metadata": {}, "weight_map": {"gru.weight_ih_l0": "/etc/passwd"}}',
        "the index of weights in several files: expected ... load one of the files"),
    "numpy": (NPY, "arrays without names ... expected a file ... jaxgru.from_equinox"),
    "equinox with a line of JSON": (
        b'{"size": 3}\n' + NPY, "arrays without names ... tree_deserialise_leaves"),
    "tensorflow.js, a graph": (
        b'{"format": "graph-model", "modelTopology": {"node": []}}',
        "a graph model of TensorFlow.js ... expected a layers model"),
    "tensorflow.js, weights elsewhere": (
        b'{"modelTopology": {"class_name": "Sequential", "config": []}, "weightsManifest": '
        b'[{"paths": ["/etc/hostname"], "weights": []}]}',
        "in another folder: expected the plain name"),
    "keras' JSON": (
        b'{"module": "keras", "class_name": "Sequential", "config": {}}',
        "configuration of a Keras model ... model.save_weights"),
    "git lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12\n",
        "a pointer of Git LFS ... run git lfs pull"),
    "tflite": (b"\x1c\0\0\0TFL3" + bytes(20), "a model of TFLite: expected ... SavedModel that it"),
    "gguf": (b"GGUF\x03\0\0\0" + bytes(20), "a file of GGUF: expected ... convert that to ONNX"),
    "saved model": (SAVED_MODEL, 'the graph of a TensorFlow SavedModel ... load the folder'),
    "index of a checkpoint": (
        b"\0\0\x14\x08\x01\x1a\x02\x08\x01\0\x1b_CHECKPOINTABLE_OBJECT_GRAPH\x08\x07",
        "the index of a TensorFlow checkpoint ... it is truncated"),
    "pt2": (
        archive([("a/archive_format", b""), ("a/models/model.json", b"")]),
        "a program of torch.export: expected ... torch.save(program.state_dict(), path)"),
    "python 2": (b"(dp0\nS'a'\np1\nI1\ns.", "a pickle of protocol 0 ... protocol=2"),
    "matlab": (b"MATLAB 5.0 MAT-file, Platform: GLNXA64", "a file of MATLAB ... scipy.io.loadmat"),
    # The fields that a SavedModel begins with, with text in the second as ONNX has it.
    "onnx like a SavedModel": (b"\x08\x01\x12\x05torch\x3a\x00", "no GRU node in it"),
    "zip of text": (
        archive([("readme.txt", b"text")], zipfile.ZIP_DEFLATED),
        "'readme.txt' is there: expected names"),
}  # fmt: skip

"""Files and folders that are not supported, with an alternative for the error message."""

import re
from collections.abc import Callable, Collection

from jaxgru._weights.contract import FileProbe, Format, Source, Stored
from jaxgru._weights.errors import WeightsError, listed

_NPY = b"\x93NUMPY"
_IN_TORCH = "in PyTorch, torch.save(program.state_dict(), path) writes a file that is read"
_LENGTH = rb"[\x80-\xff]*[\0-\x7f]"  # of a message in one of protobuf
_TO_ONNX = "load the model that it was converted from, or convert that to ONNX"


def _begins(*beginnings: bytes) -> Callable[[FileProbe], bool]:
    return lambda look: look.head.startswith(beginnings)


def _matches(pattern: bytes) -> Callable[[FileProbe], bool]:
    return lambda look: re.match(pattern, look.head, re.DOTALL) is not None


def _format(
    name: str, content: str, recognizes: Callable[[FileProbe], bool], instead: str
) -> Format:
    def read(source: Source) -> Stored:
        raise WeightsError(f"it is {content}: expected a file of weights; {instead}")

    return Format(name, content, recognizes, read)


FORMATS = (
    _format(
        "npy", "arrays without names, as from numpy.save and equinox.tree_serialise_leaves",
        # Users of Equinox often put a line of JSON before them.
        lambda look: look.head.startswith(_NPY) or look.head.partition(b"\n")[2].startswith(_NPY),
        "load them into the model they were saved from (equinox.tree_deserialise_leaves) and hand "
        "that to jaxgru.from_equinox; or, if it is a dict or list that you trust, write it by "
        "numpy.savez(new_path, **numpy.load(path, allow_pickle=True).item()), or *list(...)"),
    _format(
        "sharded", "the index of weights in several files",
        _matches(rb'\s*\{.*"(?:weight_map|total_size)"'),
        "load one of the files that it names, or save all as one (in Keras without "
        "max_shard_size)"),
    _format(
        "keras-json", "the configuration of a Keras model, without weights",
        _matches(rb'(?!.*"modelTopology")\s*\{.*"class_name"\s*:.*"config"'),
        "load the file that model.save or model.save_weights wrote beside it"),
    _format(
        "git-lfs", "a pointer of Git LFS instead of the file",
        _begins(b"version https://git-lfs.github.com/spec/"), "run git lfs pull"),
    _format(
        "tflite", "a model of TFLite", lambda look: look.head[4:8] == b"TFL3",
        "load the Keras model or the SavedModel that it was converted from"),
    _format(
        "ort", "a model in ONNX Runtime's own format", lambda look: look.head[4:8] == b"ORTM",
        "load the .onnx file that it was converted from"),
    _format(
        "onnx-text", "an ONNX model as text", _matches(rb"\s*ir_version\s*:"),
        'onnx.save(onnx.load(path, format="textproto"), "model.onnx") writes one that is read'),
    _format(
        "tensorflow-meta", "the graph of a TensorFlow checkpoint (.meta), without weights",
        _matches(rb"\x0a" + _LENGTH + rb"\x12" + _LENGTH + rb"\x0a" + _LENGTH + rb"\x0a"),
        "load the .index file beside it"),
    _format(
        "keras-metadata", "the configuration of a TensorFlow SavedModel, without weights",
        _matches(rb"\x0a" + _LENGTH + rb"\x1a\x04root"), "load the folder that it is in"),
    _format("gguf", "a file of GGUF", _begins(b"GGUF"), _TO_ONNX),
    _format(
        "tensorflow-model",
        "the graph of a TensorFlow SavedModel, whose weights are in other files",
        # Field 1 is version 1; field 2 a message whose field 1 is one. (ONNX has text there.)
        _matches(rb"\x08\x01\x12[\x80-\xff]*[\x00-\x7f]\x0a"),
        "load the folder that it is in, with variables/ beside it"),
    _format(
        "tensorflow-checkpoint", "the beginning of the index of a TensorFlow checkpoint",
        _matches(rb".{0,64}_CHECKPOINTABLE_OBJECT_GRAPH"), "it is truncated: copy it again"),
    _format(
        "pt2", "a program of torch.export",
        lambda look: any(f"/{name}".endswith("/archive_format") for name in look.entries or ()),
        _IN_TORCH),
    _format(
        "pickle-0", "a pickle of protocol 0 or 1, as of Python 2",
        # A dict, list, object or global name as text, or a container of protocol 1.
        _matches(rb"\(?[dl]p\d+\r?\n|\(?[ci][\w.]+\r?\n[\w.]+\r?\n|\(?c[\w.]+\n|[}\])]q.|\(\]q"),
        "if you trust it, load it in Python (pickle.load(file, encoding='latin1')) and write it "
        "again by pickle.dump(value, new_file, protocol=2)"),
    _format(
        "compressed", "a compressed file",
        _begins(b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"x\x9c", b"x\xda"),
        "decompress it first, with gunzip, bunzip2, unxz or zstd -d (a file of joblib by "
        "joblib.dump(joblib.load(path), new_path))"),
    _format(
        "matlab", "a file of MATLAB", _begins(b"MATLAB "),
        "numpy.savez(path, **scipy.io.loadmat(path)) writes a file that is read, given the names "
        "of a library's arrays"),
)  # fmt: skip


def refuse_folder(names: Collection[str]) -> WeightsError:
    """Return the error about a folder with such entries, which is not a supported checkpoint."""
    if "saved_model.pbtxt" in names:
        kind = "a TensorFlow SavedModel as text"
        instead = (
            "in TensorFlow, loaded = tf.saved_model.load(folder) and tf.saved_model.save(loaded, "
            "new_folder, signatures=loaded.signatures) write one that is read"
        )
    elif any(name.endswith(".distcp") for name in names):
        kind = "a checkpoint of torch.distributed.checkpoint"
        instead = (
            "torch.distributed.checkpoint.format_utils.dcp_to_torch_save(folder, 'model.pt') "
            "writes a file that is read"
        )
    else:
        kind, instead = "a directory", f"in it are {listed(sorted(names)) or 'no files'}"
    return WeightsError(
        f"it is {kind}: expected a file of weights, or a checkpoint of Orbax; {instead}"
    )

"""The files with which the guides begin, in the layout of each library and without it.

Weights, biases and statistics are random. In an environment with the library, the guide's own
blocks write these files in place of these.
"""

import json
from pathlib import Path

import golden_keras
import numpy as np
from golden_keras import gru_config, layer_config
from hostile import torch as pickling

RNG = np.random.default_rng(0)


def write(folder, library):
    """Write the files of the guide of a library."""
    {"keras": _write_keras, "torch": _write_torch, "onnx": _write_onnx}[library](Path(folder))


def write_command_line(folder):
    """Write the files of the page of the command line: a classifier, words, and recordings."""
    import sensed_spring

    write(folder, "keras")
    rng = np.random.default_rng(0)
    ids = rng.integers(1, 50, (200, 12))
    ids[::3, 7:] = 0
    mean = ids.sum(1) / (ids != 0).sum(1)
    np.savez(folder / "new.npz", inputs=ids, targets=np.digitize(mean, [22, 28]))
    (folder / "recordings").mkdir()
    readings, truth = (a[:3] for a in sensed_spring.record(np.random.default_rng(0), 96, 100))
    header = "time,coarse,fine,speed,acceleration,force,temperature,position,velocity"
    for i, table in enumerate(np.concatenate([sensed_spring.drifted(readings), truth], 2)):
        table = np.insert(table, 0, 0.1 * np.arange(100), axis=1)
        path = folder / "recordings" / f"{i}.csv"
        np.savetxt(path, table, "%.6g", ",", header=header, comments="")


def _normal(*shape):
    return RNG.normal(size=shape, scale=0.4).astype(np.float32)


def _gru(inputs, units):
    return [_normal(inputs, 3 * units), _normal(units, 3 * units), _normal(2, 3 * units)]


def _write_keras(folder):
    gru = gru_config("gru", units=6)
    both = {"merge_mode": "concat", "layer": gru}
    layers = [
        layer_config("InputLayer", "input_layer", batch_shape=[None, None], dtype="int32"),
        layer_config("Embedding", "words", input_dim=50, output_dim=8, mask_zero=True),
        layer_config("SpatialDropout1D", "spatial_dropout1d", rate=0.2),
        layer_config("Bidirectional", "both", **both),
        gru_config("summary", units=5, return_sequences=False),
        layer_config("Dense", "hidden", units=8, activation="relu"),
        layer_config("BatchNormalization", "norm"),
        layer_config("Dropout", "dropout", rate=0.3),
        layer_config("Dense", "out", units=3, activation="softmax"),
    ]
    norm = [_normal(8), _normal(8), _normal(8), abs(_normal(8)) + np.float32(0.1)]
    content = {
        "layers/embedding": [_normal(50, 8)],
        "layers/bidirectional/forward_layer/cell": _gru(8, 6),
        "layers/bidirectional/backward_layer/cell": _gru(8, 6),
        "layers/gru/cell": _gru(12, 5),
        "layers/dense": [_normal(5, 8), _normal(8)],
        "layers/batch_normalization": norm,
        "layers/dense_1": [_normal(8, 3), _normal(3)],
    }
    names = {
        "layers/embedding": "words",
        "layers/bidirectional": "both",
        "layers/gru": "summary",
        "layers/dense": "hidden",
        "layers/batch_normalization": "norm",
        "layers/dense_1": "out",
    }
    path = folder / "classifier.keras"
    golden_keras.write_keras(path, layers, content, class_name="Sequential", names=names)
    weights = golden_keras.weights_of(content, names=names)
    (folder / "classifier.weights.h5").write_bytes(weights)


def _write_torch(folder):
    tagger = {}
    for inputs, layer in ((6, "l0"), (32, "l1")):
        for end in (layer, f"{layer}_reverse"):
            tagger |= _torch_gru(f"encoder.{{}}_{end}", inputs, 16)
    tagger |= {"readout.weight": _normal(2, 32), "readout.bias": _normal(2)}
    _save(folder / "tagger.pt", tagger, prefix="model")
    words = {"embedding.weight": _normal(50, 6), **_torch_gru("gru.{}_l0", 6, 8)}
    _save(folder / "words.pt", {**words, "out.weight": _normal(3, 8), "out.bias": _normal(3)})
    recognizer = {"conv.weight": _normal(4, 3, 2), "conv.bias": _normal(4)}
    recognizer |= {**_torch_gru("gru.{}_l0", 4, 5), "out.weight": _normal(2, 5)}
    _save(folder / "recognizer.pt", {**recognizer, "out.bias": _normal(2)})


def _torch_gru(name, inputs, units):
    shapes = {"weight_ih": (3 * units, inputs), "weight_hh": (3 * units, units)}
    shapes |= {"bias_ih": (3 * units,), "bias_hh": (3 * units,)}
    return {name.format(array): _normal(*shape) for array, shape in shapes.items()}


def _save(path, arrays, prefix=None):
    """Write a state dict as ``torch.save`` does, alone or in a dict beside the epoch."""
    tensors, storages = {}, {}
    for key, (name, array) in enumerate(arrays.items()):
        tensors[name] = pickling.tensor(array.shape, key=str(key), count=array.size)
        storages[str(key)] = array.tobytes()
    pickled = pickling.mapping(tensors)
    if prefix is not None:
        pickled = pickling.mapping({"epoch": pickling.integer(3), prefix: pickled})
    path.write_bytes(pickling.zipped(pickled, storages))


def _write_onnx(folder):
    """Run the guide's own block: an ONNX file has no other writer than onnx."""
    import pages

    code = pages.blocks(pages.read("docs/from-onnx.md"), "python")[0]
    exec(code.replace('"tagger.onnx"', json.dumps(str(folder / "tagger.onnx"))), {})

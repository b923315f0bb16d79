"""A sound GRU of 2 inputs and 3 units, and the containers that wrong files are made of."""

import io
import json
import struct
import warnings
import zipfile

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

INPUTS, UNITS = 2, 3
CANARY = "canary"


def shell(folder):
    """Return a command that a file would have run: it leaves a canary in the folder."""
    return f"touch {folder / CANARY}"


def _drawn(seed, shapes):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


def arrays(**changed):
    """Return the arrays of the seed's npz, with some of them replaced."""
    shapes = {"wMatrix": (INPUTS, 9), "uMatrix": (UNITS, 9), "biases": (2, 9)}
    return _drawn(0, shapes) | changed


def torch_arrays(**changed):
    """Return arrays by the names of a torch.nn.GRU, with some of them replaced."""
    shapes = {"weight_ih_l0": (9, INPUTS), "weight_hh_l0": (9, UNITS), "bias_ih_l0": (9,)}
    return _drawn(1, shapes | {"bias_hh_l0": (9,)}) | changed


def onnx_arrays():
    """Return the arrays of an ONNX GRU node of one direction."""
    return _drawn(3, {"W": (1, 9, INPUTS), "R": (1, 9, UNITS), "B": (1, 18)})


def npy(array):
    """Return an array as a .npy file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npy_header(shape, descr="<f4"):
    """Return the beginning of a .npy file of this shape."""
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def npz_entries(**changed):
    """Return the entries of the seed's npz, with the contents of some replaced, by array name."""
    contents = {name: npy(array) for name, array in arrays().items()} | changed
    return [(f"{name}.npy", content) for name, content in contents.items()]


def archive(entries, compression=zipfile.ZIP_STORED):
    """Return a zip archive of pairs of a name, or a ZipInfo, and content."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as target, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a name that is there twice
        for name, content in entries:
            info = name if isinstance(name, zipfile.ZipInfo) else zipfile.ZipInfo(name)
            target.writestr(info, content, compression)
    return file.getvalue()


def keras_h5(spoil=None, **options):
    """Return a .weights.h5 file as Keras 3 writes one, after ``spoil(file)`` has changed it."""
    content = io.BytesIO()
    with h5py.File(content, "w", **options) as file:
        cell = file.create_group("layers/gru/cell/vars")
        for place, array in enumerate(arrays().values()):
            cell[str(place)] = array
        file.create_group("layers/gru/vars")
        if spoil is not None:
            spoil(file)
    return content.getvalue()


def keras_config(**changed):
    """Return the configuration of a Keras model of one GRU, with values of it replaced."""
    options = {"name": "gru", "units": UNITS, "activation": "tanh", "use_bias": True}
    options |= {"recurrent_activation": "sigmoid", "reset_after": True, "go_backwards": False}
    layer = {"module": "keras.layers", "class_name": "GRU", "config": options | changed}
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "model", "layers": [layer]},
    }


def keras(config=None, weights=None, more=(), compression=zipfile.ZIP_STORED):
    """Return a .keras archive, its config.json given as JSON or as what becomes JSON."""
    config = keras_config() if config is None else config
    text = config if isinstance(config, bytes) else json.dumps(config).encode()
    entries = [
        ("metadata.json", b'{"keras_version": "3.5.0"}'),
        ("config.json", text),
        ("model.weights.h5", keras_h5() if weights is None else weights),
    ]
    return archive([*entries, *more], compression)

"""Keras' files of versions that are no longer installed, made by writing their layout."""

import io
import json
import zipfile

import numpy as np
import pytest

INPUTS, UNITS = 3, 4


def gru_config(name, **options):
    """Return the configuration of a layer, as every version since 2.13 has it."""
    usual = {"name": name, "dtype": "float32", "units": UNITS, "use_bias": True}
    usual |= {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    usual |= {"return_sequences": True, "go_backwards": False}
    return {"module": "keras.layers", "class_name": "GRU", "config": usual | options}


def layer_config(class_name, name, **options):
    """Return the configuration of any other layer or model."""
    return {"module": "keras.layers", "class_name": class_name, "config": {"name": name} | options}


def arrays(seed, inputs=INPUTS, units=UNITS):
    """Return what ``get_weights`` gives of a layer that resets after: each seed has others."""
    random = np.random.default_rng(seed)
    shapes = [(inputs, 3 * units), (units, 3 * units), (2, 3 * units)]
    return [random.standard_normal(shape).astype(np.float32) for shape in shapes]


def write_keras(path, layers, content, *, version="3.3.3", class_name="Functional", **options):
    """Write a ``.keras`` file of a model with these layers' configurations.

    ``content`` has the arrays of each object by the path of its group, "layers/gru/cell".
    """
    config = layer_config(class_name, "model", layers=layers) | {"module": "keras"}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("model.weights.h5", weights_of(content, **options))


def in_order(contents):
    """Return arrays by the paths of Keras' groups, which are numbered in the order of layers."""
    return {f"layers/gru{f'_{i}' if i else ''}/cell": held for i, held in enumerate(contents)}


def weights_of(content, *, names=None, windows=False):
    """Return an HDF5 file of ``vars`` groups, given the arrays by the path of the object's group.

    ``names`` has the layers' own names by group, which Keras stores since 3.12; with ``windows``
    the groups' names are joined by backslashes, as Keras 2.13 did there.
    """
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w") as h5:
        for path, values in content.items():
            group = h5.create_group(path.replace("/", "\\") if windows else path)
            variables = group.create_group("vars")
            for i, value in enumerate(values):
                variables[str(i)] = value
        for path, name in (names or {}).items():
            h5.require_group(f"{path}/vars").attrs["name"] = name
    return file.getvalue()

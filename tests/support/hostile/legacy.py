"""Wrong HDF5 files of whole Keras models: their configuration and the names in them."""

import io
import json

import golden_keras_legacy as golden
import pytest

h5py = pytest.importorskip("h5py")


def model(config):
    """Return a file of Keras 2.1 with another configuration."""
    content = io.BytesIO()
    golden.keras_2_1(content)
    with h5py.File(content, "a") as file:
        text = config if isinstance(config, bytes) else json.dumps(config).encode()
        file.attrs["model_config"] = text
    return content.getvalue()


def of_layers(*layers):
    return model(golden.layer("Model", "m", layers=layers))


def weights(layers, names=None):
    """Return a weights-only file, perhaps with other names of layers."""
    content = io.BytesIO()
    golden.write(content, layers, root="")
    if names is not None:
        with h5py.File(content, "a") as file:
            file.attrs["layer_names"] = names
    return content.getvalue()


def with_one_array_more():
    arrays = golden.arrays(golden.random_net(2, reset_after=True))
    cell = {f"mine/cell/{name}:0": a for name, a in arrays.items()}
    return weights(
        {"mine": cell | {"mine/cell/attention:0": golden.random_net(2, reset_after=True).bias}}
    )


FILES = {
    "no JSON": (model(b"{"), "model_config is not JSON"),
    "two of a name": (
        of_layers(golden.layer("A", "a"), golden.layer("B", "a")),
        "in model_config the layer 'a' is a duplicate name: expected it once"),
    "a name of two lines": (
        weights({"gru": {}}, ["gru\n"]), r"layer_names of / has 'gru\n': expected printable"),
    "a cell with one array more": (
        with_one_array_more(), "it has no GRU: expected at least one"),
}  # fmt: skip

"""Wrong .keras archives: their JSON, what else they carry, and where their weights are."""

import base64
import json
import marshal
import zipfile

import golden_keras as golden

from hostile.hdf5 import FIRST, secret
from hostile.sound import archive, keras, keras_config, keras_h5, shell

DEFLATED = zipfile.ZIP_DEFLATED


def config(**changed):
    """Return an archive of a GRU whose configuration has other values."""
    return keras(keras_config(**changed))


def beside(class_name, module="keras.layers", **options):
    """Return an archive of a GRU with another layer beside it."""
    model = keras_config()
    layer = {"module": module, "class_name": class_name, "config": {"name": "layer"} | options}
    model["config"]["layers"].append(layer)
    return keras(model)


def code(folder):
    """Return a function of Python that runs a program, as Keras' configurations have one."""
    compiled = compile(f"__import__('os').system({shell(folder)!r})", "a", "eval")
    return base64.b64encode(marshal.dumps(compiled)).decode()


def models(levels):
    model = keras_config()
    for _ in range(levels):
        model = {"class_name": "Sequential", "config": {"name": "model", "layers": [model]}}
    return keras(model)


def repeated_key():
    text, repeated = json.dumps(keras_config()).encode(), b'"reset_after": true'
    return keras(text.replace(repeated, repeated + b', "reset_after": false'))


def external_link(folder):
    import h5py

    def spoil(file):
        del file[FIRST]
        file[FIRST] = h5py.ExternalLink(secret(folder), FIRST)

    return keras(weights=keras_h5(spoil))


def weights_in(*names):
    text = json.dumps(keras_config()).encode()
    entries = [("metadata.json", b"{}"), ("config.json", text), *((name, b"") for name in names)]
    return archive(entries)


def of_groups(config, groups):
    """Return an archive of a configuration and of groups with arrays."""
    return keras(config, golden.groups(groups))


def layers_of_one_name():
    layers = 2 * [golden.gru_config("a")]
    groups = {f"layers/{name}/cell": golden.arrays(i) for i, name in enumerate(("gru", "gru_1"))}
    return of_groups(golden.layer_config("Functional", "model", layers=layers), groups)


_TWICE = {"layers/gru/cell": golden.arrays(0), "layers\\gru\\cell": golden.arrays(1)}
_SYSTEM = {"module": "os", "class_name": "function", "config": "system"}
_NO_JSON = "config.json is no JSON"

FILES = {
    "as it should be": (lambda f: keras(), None),
    # The configuration
    "zeros of 60 MiB": (
        lambda f: keras(bytes(60 * 2**20), compression=DEFLATED),
        "config.json has 62914560 bytes: expected at most 8388608"),
    "ten million lists": (
        lambda f: keras(b"[" + b"[]," * 10**7 + b"[]]", compression=DEFLATED),
        "config.json has ... expected at most"),
    "lists 100,000 deep": (lambda f: keras(b"[" * 100_000 + b"]" * 100_000), _NO_JSON),
    "models 300 deep": (lambda f: models(300), "more than 32 deep"),
    "cut short": (lambda f: keras(b"{"), _NO_JSON),
    "no UTF-8": (lambda f: keras(b"\xff"), _NO_JSON),
    "no model": (lambda f: keras(b"{}"), "expected its class_name and config"),
    "a number": (lambda f: keras(b"7"), "the model is 7: expected"),
    "a key twice": (lambda f: repeated_key(), "the key 'reset_after' twice"),
    "two layers of one name": (
        lambda f: layers_of_one_name(), "config.json has two layers called 'a': expected one"),
    "units that are NaN": (lambda f: config(units=float("nan")), "units is nan"),
    "units of 2 to the 60": (lambda f: config(units=2**60), "expected 1152921504606846976"),
    "name that writes to the terminal": (
        lambda f: config(name="gru\n\x1b[31m", units=5), r"called 'gru\n\x1b[31m"),
    "activation that is a program": (
        lambda f: config(activation={"class_name": "__lambda__", "config": {"value": [code(f)]}}),
        "activation is ... __lambda__"),
    "activation of another module": (
        lambda f: config(activation=_SYSTEM | {"registered_name": "system"}),
        "activation is 'system system"),
    "metadata cut short": (
        lambda f: archive([("metadata.json", b"{"), ("config.json", b"{}"),
                           ("model.weights.h5", b"")]), "metadata.json is no JSON"),
    # What else is there
    "a layer that is a program": (
        lambda f: beside("Lambda", function={"class_name": "__lambda__",
                                             "config": {"code": code(f)}}), None),
    "a layer of another module": (lambda f: beside("Layer", module="antigravity"), None),
    "an asset out of the archive": (
        lambda f: keras(more=[(f"assets/../../../../../../../..{f}/canary", b"x")]), None),
    # The weights
    "external link": (external_link, "a link of another kind (external)"),
    "no weights": (lambda f: weights_in(), "holds no weights: expected them in model.weights.h5"),
    "weights in npz": (
        lambda f: weights_in("model.weights.npz"), "holds its weights in 'model.weights.npz'"),
    "weights in shards": (
        lambda f: weights_in("model.weights.json", "model_00000.weights.h5"),
        "in 'model.weights.json'"),
    "no GRU": (
        lambda f: of_groups(golden.layer_config("Model", "own"), {}), "no GRU in it"),
    "groups 65 deep": (
        lambda f: of_groups(None, {"\\".join(65 * ["layers"]): []}),
        "is 65 groups deep: expected at most 64"),
    "a group by two names": (
        lambda f: of_groups(None, _TWICE), "is there twice: expected once"),
}  # fmt: skip

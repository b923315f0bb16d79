"""Wrong .keras archives: their JSON, what else they carry, and where their weights are."""

import base64
import json
import marshal
import zipfile

import golden_keras as golden

from hostile.npz import DIRECTORY, patched
from hostile.sound import archive, arrays, keras, keras_config, shell

DEFLATED = zipfile.ZIP_DEFLATED
WEIGHTS = "model.weights.h5"


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


def weights_in(*names):
    text = json.dumps(keras_config()).encode()
    entries = [("metadata.json", b"{}"), ("config.json", text), *((name, b"") for name in names)]
    return archive(entries)


def of_groups(config, groups):
    """Return an archive of a configuration and of groups with arrays."""
    return keras(config, golden.weights_of(groups))


def layers_of_one_name():
    layers = 2 * [golden.gru_config("a")]
    groups = {f"layers/{name}/cell": golden.arrays(i) for i, name in enumerate(("gru", "gru_1"))}
    return of_groups(golden.layer_config("Functional", "model", layers=layers), groups)


_TWICE = {"layers/gru/cell": golden.arrays(0), "layers\\gru\\cell": golden.arrays(1)}
_NO_JSON = "config.json is not JSON"

FILES = {
    "as it should be": (keras(), None),
    # The configuration
    "zeros of 60 MiB": (
        lambda f: keras(bytes(60 * 2**20), compression=DEFLATED),
        "config.json has 62914560 bytes: expected at most 8388608"),
    "models 300 deep": (models(300), "more than 32 deep"),
    "cut short": (keras(b"{"), _NO_JSON),
    "no model": (keras(b"{}"), "expected its class_name and config"),
    "two layers of one name": (
        layers_of_one_name(), "the configuration has two layers called 'a': expected one"),
    "units of 2 to the 60": (config(units=2**60), "expected 1152921504606846976"),
    "name that writes to the terminal": (
        config(name="gru\n\x1b[31m", units=5), r"called 'gru\n\x1b[31m"),
    "activation that is a program": (
        lambda f: config(activation={"class_name": "__lambda__", "config": {"value": [code(f)]}}),
        "activation is ... __lambda__"),
    "metadata cut short": (
        archive([("metadata.json", b"{"), ("config.json", b"{}"), (WEIGHTS, b"")]),
        "metadata.json is not JSON"),
    "an empty entry with a checksum": (
        patched(archive([(name, b"") for name in ("metadata.json", "config.json", WEIGHTS)]),
                (DIRECTORY, 16, b"\1")), "'metadata.json' is damaged (Bad CRC-32"),
    # What else is there
    "a layer that is a program": (
        lambda f: beside("Lambda", function={"class_name": "__lambda__",
                                             "config": {"code": code(f)}}), None),
    "an asset out of the archive": (
        lambda f: keras(more=[(f"assets/../../../../../../../..{f}/canary", b"x")]), None),
    # The weights
    "a changed number": (
        keras().replace(arrays()["uMatrix"].tobytes()[:8], bytes(8)),
        "model.weights.h5' is damaged (Bad CRC-32"),
    "no weights": (weights_in(), "holds no weights: expected them in model.weights.h5"),
    "weights in npz": (weights_in("model.weights.npz"), "holds its weights in 'model.weights.npz'"),
    "no GRU": (of_groups(golden.layer_config("Model", "own"), {}), "it has no GRU"),
    "groups 65 deep": (
        of_groups(None, {"\\".join(65 * ["layers"]): []}),
        "is 65 groups deep: expected at most 64"),
    "a group by two names": (of_groups(None, _TWICE), "is a duplicate name: expected once"),
}  # fmt: skip

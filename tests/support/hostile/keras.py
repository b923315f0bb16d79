"""Hostile .keras archives: their JSON, and what else they carry."""

import base64
import marshal
import zipfile

from hostile.cases import passed_by, refused, shell
from hostile.hdf5 import FIRST
from hostile.sound import archive, keras, keras_config, keras_h5


@refused("config.json has .*expected at most", "h5py")
def configuration_of_60_mebibytes(folder):
    """A configuration of 60 MiB of zeros, deflated: JSON takes many times its own size."""
    return keras(bytes(60 * 2**20), compression=zipfile.ZIP_DEFLATED)


@refused("config.json has .*expected at most", "h5py")
def configuration_of_small_lists(folder):
    """A configuration of 30 million empty lists, deflated: each is 56 bytes in Python."""
    return keras(b"[" + b"[]," * 10**7 + b"[]]", compression=zipfile.ZIP_DEFLATED)


@refused("config.json is no JSON", "h5py")
def configuration_nested_deeply(folder):
    """A configuration of 100,000 lists, each within the other."""
    return keras(b"[" * 100_000 + b"]" * 100_000)


@refused("more than 32 deep", "h5py")
def models_nested_deeply(folder):
    """Models within models, 300 deep, which Python's JSON reads and a walk may not."""
    config = keras_config()
    for _ in range(300):
        outer = {"name": "model", "layers": [config]}
        config = {"class_name": "Sequential", "config": outer}
    return keras(config)


@refused("units is nan", "h5py")
def units_that_are_no_number(folder):
    """NaN units, which Python's JSON takes for a number."""
    return keras(keras_config(units=float("nan")))


@refused("expected 1152921504606846976", "h5py")
def units_of_2_to_the_60(folder):
    """More units than there is memory for."""
    return keras(keras_config(units=2**60))


@refused("the key .reset_after. twice", "h5py")
def duplicate_key(folder):
    """A configuration with reset_after twice: which of them is meant?"""
    text = b'"reset_after": true'
    config = archive_json(keras_config()).replace(text, text + b', "reset_after": false')
    return keras(config)


@refused("activation is .*__lambda__", "h5py")
def activation_that_is_a_program(folder):
    """An activation that is a function of the file's own: code of Python, which Keras would run."""
    code = marshal.dumps(compile(f"__import__('os').system({shell(folder)!r})", "a", "eval"))
    function = [base64.b64encode(code).decode(), None, None]
    config = {"class_name": "__lambda__", "config": {"value": function}}
    return keras(keras_config(activation=config))


@refused("activation is .system system", "h5py")
def activation_of_another_module(folder):
    """An activation that is any function of any module, by name."""
    function = {"module": "os", "class_name": "function", "config": "system"}
    return keras(keras_config(activation=function | {"registered_name": "system"}))


@passed_by("h5py")
def lambda_layer(folder):
    """A layer beside a sound GRU that is code of Python."""
    code = marshal.dumps(compile(f"__import__('os').system({shell(folder)!r})", "a", "eval"))
    function = {"class_name": "__lambda__", "config": {"code": base64.b64encode(code).decode()}}
    config = keras_config()
    layer = {"class_name": "Lambda", "config": {"name": "lambda", "function": function}}
    config["config"]["layers"].append(layer)
    return keras(config)


@passed_by("h5py")
def layer_of_another_module(folder):
    """A layer beside a sound GRU that Keras would import a module for."""
    config = keras_config()
    layer = {"module": "antigravity", "class_name": "Layer", "config": {"name": "layer"}}
    config["config"]["layers"].append(layer)
    return keras(config)


@passed_by("h5py")
def asset_out_of_the_archive(folder):
    """An asset whose name leads out of any folder that it is extracted to."""
    return keras(more=[(f"assets/../../../../../../../..{folder}/canary", b"x")])


@refused(r"a link of another kind \(external\)", "h5py")
def external_link_in_the_weights(folder):
    """Weights within the archive that are a link to a file outside of it."""
    import h5py

    (folder / "secret.h5").write_bytes(keras_h5())

    def spoil(file):
        del file[FIRST]
        file[FIRST] = h5py.ExternalLink(str(folder / "secret.h5"), FIRST)

    return keras(weights=keras_h5(spoil))


@refused("holds no weights", "h5py")
def without_weights(folder):
    """An archive that has a configuration, and nothing to go with it."""
    return archive([("metadata.json", b"{}"), ("config.json", archive_json(keras_config()))])


@refused(r"called .gru\\n\\x1b\[31m", "h5py")
def name_that_writes_to_the_terminal(folder):
    """A layer's name with a line's end and a terminal's escape, in a message about its units."""
    return keras(keras_config(name="gru\n\x1b[31m", units=5))


def archive_json(config):
    """Return a configuration as JSON."""
    import json

    return json.dumps(config).encode()

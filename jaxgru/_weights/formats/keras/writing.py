"""Writing files with Keras 3: a model of the layers of a net, or its weights."""

import collections
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgru._net import Net, parts
from jaxgru._optional import need
from jaxgru._weights.conventions import Capabilities, Layer, has_bias
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.keras.archive import STACK
from jaxgru._weights.libraries.keras.building import build_layer, keras_layers, using_keras

# A file of weights has no fields, so its reader assumes the defaults.
_WEIGHTS_ALONE = Capabilities("a weights-only file", merges=("concat",), has_stacks=True)


def write_keras(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as a Keras model, a ``.keras`` file.

    A stack becomes Keras layers named ``gru``, ``gru_1``, ``bidirectional`` and so on, which are
    read back as a tuple. Only the last layer may be a ``Backward``. Because ``go_backwards`` of
    Keras returns outputs in the order of computation, such a model returns only its last state.
    """
    _write(net, path, "model.keras", lambda model, file: model.save(file))


def write_weights_h5(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as the weights of a Keras model, a ``.weights.h5`` file.

    It is the file of ``Model.save_weights`` for the model of ``write_keras``, with only arrays and
    names. The fields of the net must be those that a reader assumes.
    """
    for layer in _WEIGHTS_ALONE.layers(net):
        for params in layer.sides.values():
            if not params.reset_after and not has_bias(params):
                raise WeightsError(
                    "reset_after is False and there is no bias: expected a bias, whose shape shows "
                    f"that in {_WEIGHTS_ALONE.name}"
                )
    _write(net, path, "model.weights.h5", lambda model, file: model.save_weights(file))


def _write(net: Net, path: Path, name: str, save: Callable[[Any, Path], None]) -> None:
    need("h5py", "hdf5", "writing HDF5 files")
    # Keras requires its suffix, and the file to write may have another.
    with tempfile.TemporaryDirectory(prefix="jaxgru-") as folder:
        written = Path(folder, name)
        # Otherwise the JAX backend of Keras rounds float64.
        with using_keras(f"writing {written.suffix}") as keras, jax.enable_x64(True):
            save(_model(keras, keras_layers(keras, net)), written)
        # Copied, because path may be a device or on another disk.
        with open(written, "rb") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)


def _model(keras: Any, layers: list[Layer]) -> Any:
    counts: collections.Counter[str] = collections.Counter()
    first = next(iter(layers[0].sides.values()))
    inputs = keras.Input((None, first.input_size), name="inputs", dtype=first.dtype.name)
    outputs = inputs
    for layer in layers:
        structure = parts(layer.net).kind
        kind = "bidirectional" if structure == "bidirectional" else "gru"
        name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        is_state_alone = structure == "backward" and layer is layers[-1]
        built = build_layer(keras, layer, name=name, return_sequences=not is_state_alone)
        outputs = built(outputs)
    return keras.Model(inputs, outputs, name=STACK if len(layers) > 1 else "net")

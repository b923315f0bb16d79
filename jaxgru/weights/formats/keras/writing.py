"""Keras 3's own files, written by Keras: a model of the net's layers, or its weights alone."""

import collections
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.weights.conventions import Holder, Layer, has_bias
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.keras.archive import STACK
from jaxgru.weights.libraries.keras.building import build_layer, keras_layers, using_keras

# The reader of weights without their model has nothing but the defaults.
_WEIGHTS_ALONE = Holder("a file of weights alone", merges=("concat",), has_stacks=True)


def write_keras(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as a Keras model, a ``.keras`` file.

    A stack becomes as many Keras layers, called ``gru``, ``gru_1``, ``bidirectional`` and so on,
    and is read back as a tuple of these. A ``Backward`` can be the last layer only: Keras'
    ``go_backwards`` gives outputs in the order of computing, so that such a model gives its last
    state alone.
    """
    _write(net, path, "model.keras", lambda model, file: model.save(file))


def write_weights_h5(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as the weights of a Keras model, a ``.weights.h5`` file.

    It holds what ``Model.save_weights`` gives for the model of ``write_keras``, and so no more
    than the arrays and the names. What is then assumed must be true of the net.
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
    # Keras takes only its own ending, which the file to write need not have.
    with tempfile.TemporaryDirectory(prefix="jaxgru-") as folder:
        written = Path(folder, name)
        # Keras' JAX backend would round float64 otherwise.
        with using_keras(f"writing {written.suffix}") as keras, jax.enable_x64(True):
            save(_model(keras, keras_layers(keras, net)), written)
        # Not moved: path may be a device, and may be on another disk.
        with open(written, "rb") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)


def _model(keras: Any, layers: list[Layer]) -> Any:
    counts: collections.Counter[str] = collections.Counter()
    first = next(iter(layers[0].sides.values()))
    inputs = keras.Input((None, first.input_size), name="inputs", dtype=first.dtype.name)
    outputs = inputs
    for layer in layers:
        kind = "bidirectional" if isinstance(layer.net, Bidirectional) else "gru"
        name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        is_state_alone = isinstance(layer.net, Backward) and layer is layers[-1]
        built = build_layer(keras, layer, name=name, return_sequences=not is_state_alone)
        outputs = built(outputs)
    return keras.Model(inputs, outputs, name=STACK if len(layers) > 1 else "net")

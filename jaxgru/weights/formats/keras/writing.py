"""Keras 3's own files, written by Keras: a model of the net's layers, or its weights alone."""

import collections
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.libraries.keras.building import build_layer
from jaxgru.weights.libraries.keras.library import using_keras


def write_keras(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as a Keras model, a ``.keras`` file.

    A stack becomes as many Keras layers, called ``gru``, ``gru_1``, ``bidirectional`` and so on,
    and is read back as these. A ``Backward`` can be the last layer only: Keras' ``go_backwards``
    gives outputs in the order of computing, so that such a model gives its last state alone.

    Raises:
        WeightsError: Keras has no layers that compute the same.
        ImportError: Keras is not installed.
    """
    _write(net, path, "model.keras", lambda model, file: model.save(file))


def write_weights_h5(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays as the weights of a Keras model, a ``.weights.h5`` file.

    It holds what ``Model.save_weights`` gives for the model of ``write_keras``, and so no more
    than the arrays and the names. What is then assumed must be true of the net.

    Raises:
        WeightsError: Keras has no layers that compute the same, or the file could not say so.
        ImportError: Keras is not installed.
    """
    for layer in _stacked(net):
        _check_usual(layer)
    _write(net, path, "model.weights.h5", lambda model, file: model.save_weights(file))


def _write(net: Net, path: Path, name: str, save: Callable[[Any, Path], None]) -> None:
    # Keras asks for its own ending, which the file to write need not have.
    with tempfile.TemporaryDirectory(prefix="jaxgru-") as folder:
        written = Path(folder, name)
        # Keras' JAX backend would round float64 otherwise.
        with using_keras(f"writing {written.suffix}") as keras, jax.enable_x64(True):
            save(_model(keras, net), written)
        # Not moved: path may be a device, and may be on another disk.
        with open(written, "rb") as source, open(path, "wb") as target:
            shutil.copyfileobj(source, target)


def _model(keras: Any, net: Net) -> Any:
    layers = _stacked(net)
    counts: collections.Counter[str] = collections.Counter()
    first = _first_params(layers[0])
    inputs = keras.Input((None, first.input_size), name="inputs", dtype=first.dtype.name)
    outputs = inputs
    for i, layer in enumerate(layers):
        kind = "bidirectional" if isinstance(layer, Bidirectional) else "gru"
        name = f"{kind}_{counts[kind]}" if counts[kind] else kind
        counts[kind] += 1
        is_state_alone = isinstance(layer, Backward) and i == len(layers) - 1
        built = build_layer(
            keras,
            layer,
            name=name,
            return_sequences=not is_state_alone,
            where=f"net[{i}]" if len(layers) > 1 else "net",
        )
        outputs = built(outputs)
    return keras.Model(inputs, outputs, name="net")


def _stacked(net: Net) -> list[Any]:
    """Return the layers of a net, first one first: a stack of stacks is one stack."""
    if isinstance(net, tuple | list):
        return [layer for part in net for layer in _stacked(part)]
    return [net]


def _first_params(layer: Any) -> GRUParams:
    params: GRUParams = jax.tree.leaves(layer, is_leaf=lambda node: isinstance(node, GRUParams))[0]
    return params


def _check_usual(layer: Any) -> None:
    # What Settling takes as usual: the reader of such a file has nothing else to go by.
    where = "of weights without their model"
    if isinstance(layer, Backward):
        raise WeightsError(f"net is a Backward: expected a forward net, as is assumed {where}")
    if isinstance(layer, Bidirectional):
        if layer.merge != "concat":
            raise WeightsError(
                f"merge is {layer.merge!r}: expected 'concat', as is assumed {where}"
            )
        for side in (layer.forward, layer.backward):
            _check_usual(side)
    if isinstance(layer, GRUParams):
        for field, usual in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
            if getattr(layer, field) != usual:
                raise WeightsError(
                    f"{field} is {getattr(layer, field)!r}: expected {usual!r}, as is assumed "
                    f"{where}"
                )
        if not layer.reset_after and layer.bias is None and layer.recurrent_bias is None:
            raise WeightsError(
                "reset_after is False and there is no bias: expected a bias, whose shape says so "
                f"{where}"
            )

"""Keras' GRU layer, with the loops of jaxgru: ``import jaxgru.keras``.

It imports Keras, with JAX as its backend unless ``KERAS_BACKEND`` or an earlier import chose one.
"""

import types
from typing import Any

import jax.numpy as jnp

from jaxgru._dropins import hand_over, names_of, promoted
from jaxgru._params import GRUParams
from jaxgru._sequence import gru
from jaxgru._weights.libraries.keras.building import using_keras
from jaxgru._weights.libraries.keras.config import keras_names

with using_keras("jaxgru.keras") as keras:
    pass
__all__ = ["GRU", "accelerate"]

_Layer: Any = keras.layers.GRU
_Cell: Any = keras.layers.GRUCell


@keras.saving.register_keras_serializable(package="jaxgru")
class GRU(_Layer):  # type: ignore[misc]
    """``keras.layers.GRU``, with the same arguments, weights and weights files.

    Outputs agree with those of Keras up to float32 rounding. Half precision is computed in float32
    and rounded once. Masks, states, ``stateful`` and dropout of the inputs are Keras' own, so the
    same seed drops the same inputs. ``unroll`` has no effect without a mask. Zero steps are an
    error, as in Keras. Without a valid step, the last state is the initial state. A saved model
    with this layer needs ``import jaxgru.keras`` before it is loaded; see ``accelerate``.

    Keras' own loop runs, with a warning, for recurrent dropout and for dropout of 1 or with
    ``implementation=1`` in training, for masks with ``unroll``, for an activation that jaxgru
    lacks, and on a backend other than JAX.

    >>> import numpy as np
    >>> import jaxgru.keras
    >>> layer = jaxgru.keras.GRU(4, return_sequences=True)
    >>> layer(np.ones((2, 5, 3), "float32")).shape
    (2, 5, 4)

    Source: ``keras/src/layers/rnn/gru.py``.
    """


def accelerate(model: Any) -> Any:
    """Run every GRU of a model with the loops of jaxgru, in place, and return the model.

    Every ``keras.layers.GRU`` and ``keras.layers.RNN`` of a ``GRUCell``, also within other layers
    and models, keeps its class, weights and configuration. So the model is saved as before, and the
    file can be loaded without jaxgru. A loaded or cloned model is not accelerated. Compiled
    functions of the model are compiled again. See ``GRU`` for the agreement with Keras and for the
    cases in which Keras' own loop runs.

    Args:
        model: a Keras model or layer.

    Raises:
        ValueError: it contains no such layer, or Keras does not run on JAX.

    >>> import keras, numpy as np
    >>> import jaxgru.keras
    >>> model = keras.Sequential([keras.Input((5, 3)), keras.layers.GRU(4)])
    >>> jaxgru.keras.accelerate(model).predict(np.ones((2, 5, 3)), verbose=0).shape
    (2, 4)

    Source: ``keras/src/layers/rnn/rnn.py``.
    """
    if keras.config.backend() != "jax":
        raise ValueError(f"Keras runs on {keras.config.backend()}: expected KERAS_BACKEND=jax")
    if not isinstance(model, keras.Layer):
        raise ValueError(f"model is a {type(model).__name__}: expected a Keras model or layer")
    parts = model._flatten_layers()
    layers = [part for part in parts if isinstance(getattr(part, "cell", None), _Cell)]
    if not layers:
        raise ValueError(f"there is no GRU in {model.name!r}: expected at least one")
    for layer in layers:
        if type(layer) in (_Layer, keras.layers.RNN) and type(layer.cell) is _Cell:
            layer.inner_loop = types.MethodType(_inner_loop, layer)
        elif type(layer) is not GRU:
            hand_over(f"Keras' {layer.name}", "it is of a subclass of Keras' classes")
    for part in parts:
        for name in ("train_function", "test_function", "predict_function"):
            if hasattr(part, name):
                setattr(part, name, None)
    return model


def _inner_loop(
    layer: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
) -> Any:
    """Return the results of the loop of a Keras layer: the last output, outputs and states."""
    cell = layer.cell
    if reason := _reason(layer, mask, training):
        hand_over(f"Keras' {layer.name}", reason)
        own = _Layer if isinstance(layer, _Layer) else keras.layers.RNN
        return own.inner_loop(layer, sequences, initial_state, mask=mask, training=training)
    state = keras.tree.flatten(initial_state)[0]
    if training and cell.dropout:
        sequences = sequences * jnp.expand_dims(cell.get_dropout_mask(sequences[:, 0, :]), 1)
    if mask is not None:
        mask = keras.ops.cast(keras.tree.flatten(mask)[0], "bool")
        mask = mask.any(-1) if mask.ndim == 3 else mask
    zero_masked = mask is not None and layer.zero_output_for_mask
    all_steps = layer.return_sequences or zero_masked
    params, xs = promoted((_params(cell), sequences))
    ys, last = gru(
        params, xs, state, mask=mask, reverse=layer.go_backwards, zero_masked=zero_masked,
        return_sequences=all_steps,
    )  # fmt: skip
    if not all_steps:
        return last, jnp.expand_dims(last, 1), [last]
    ys = jnp.flip(ys, 1) if layer.go_backwards else ys  # last step first
    return ys[:, -1] if zero_masked else last, ys, [last]


GRU.inner_loop = _inner_loop


def _reason(layer: Any, mask: Any, training: Any) -> str | None:
    """Return the reason why Keras' own loop runs, or None."""
    cell = layer.cell
    if keras.config.backend() != "jax":
        return f"its backend is {keras.config.backend()}, not jax"
    if training and cell.recurrent_dropout:
        return "it has recurrent dropout, which Keras draws for each gate"
    if training and cell.dropout and (cell.implementation == 1 or cell.dropout == 1):
        return "it has dropout of 1, or with implementation=1, which Keras draws for each gate"
    if layer.unroll and mask is not None:
        return "it has a mask with unroll=True"
    return "jaxgru lacks an activation of the cell" if None in _names(cell) else None


def _names(cell: Any) -> tuple[Any, ...]:
    known = keras_names(keras.__version__).items()
    # Early versions of Keras 3 lack some.
    functions = {ours: getattr(keras.activations, str(theirs), None) for ours, theirs in known}
    return names_of((cell.activation, cell.recurrent_activation), functions)


def _params(cell: Any) -> GRUParams:
    value = keras.ops.convert_to_tensor  # in the compute dtype of the layer
    bias = None if cell.bias is None else value(cell.bias)
    bias, recurrent_bias = bias if bias is not None and cell.reset_after else (bias, None)
    weights = value(cell.kernel), value(cell.recurrent_kernel), bias, recurrent_bias
    return GRUParams(*weights, cell.reset_after, *_names(cell))

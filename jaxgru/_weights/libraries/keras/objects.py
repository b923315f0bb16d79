"""The conversion of Keras' GRU layers in memory."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from jax.typing import ArrayLike

from jaxgru._net import Net
from jaxgru._weights.defaults import Assume, Fields, check_assume, overridden
from jaxgru._weights.errors import WeightsError, result_or_error
from jaxgru._weights.libraries.keras.arrays import net_from_arrays
from jaxgru._weights.libraries.keras.building import build_layer, keras_layers, using_keras
from jaxgru._weights.libraries.keras.chains import grus, inputs_of
from jaxgru._weights.libraries.keras.config import model_of
from jaxgru._weights.results import GRUsByName, Inputs, LoadedGRU, pick, to_jax_and_warn

if TYPE_CHECKING:
    import keras


def from_keras(
    source: "keras.Layer | Sequence[ArrayLike]",
    *,
    layer: str | None = None,
    assume: Assume | None = None,
    override: Assume | None = None,
) -> Net:
    """Return the net of a Keras layer, or of a list of its weights, as JAX arrays.

    Args:
        source: a built ``keras.layers.GRU``, ``GRUCell``, ``RNN`` of one or several ``GRUCell``,
            or ``Bidirectional`` of these; a model with such layers; or the ``get_weights()`` of
            such a layer, two or three arrays, or four or six for both directions.
        layer: the name of the layer, required if a model has several, see ``jaxgru.load``; inside
            a model or a wrapper, ``"outer/inner"``.
        assume: values of fields that a list of weights does not include, as in ``jaxgru.load``.
        override: values that replace those of the source, as in ``jaxgru.load``.

    Returns:
        The net: a ``GRUParams``; a ``Bidirectional``; a tuple for several cells; a ``Backward``
        for ``go_backwards``, whose outputs are in the order of the input.

    Raises:
        WeightsError: there is no GRU, there are several and ``layer`` is not given, or no net
            represents it exactly.
        ImportError: source is not a list and Keras is not installed.

    Warns:
        WeightsWarning: a field was assumed; weights are NaN or Inf; float64 was rounded, because
            JAX's x64 mode is off.

    >>> import jaxgru, numpy as np
    >>> weights = [np.ones((3, 15), "f"), np.ones((5, 15), "f"), np.ones((2, 15), "f")]
    >>> assume = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    >>> jaxgru.from_keras(weights, assume=assume).recurrent_bias.shape
    (15,)

    Source: ``keras.layers.GRU``.
    """
    checked = check_assume(assume, override)
    given: Any = source
    if isinstance(source, list | tuple):
        gathered: GRUsByName = {"weights": _from_weights(given, checked)}
        return to_jax_and_warn(pick(overridden(gathered, checked), None), "weights", stacklevel=2)
    with using_keras("from_keras of a layer") as keras:
        gathered = _gather(keras, given, checked)
    found = pick(overridden(gathered, checked), layer)
    return to_jax_and_warn(found, f"{given.name!r}", stacklevel=2)


def to_keras(
    net: Net,
    *,
    return_sequences: bool = True,
    return_state: bool = False,
    name: str | None = None,
) -> "keras.Layer":
    """Return a built Keras layer that is exactly equivalent to a net.

    Args:
        net: a ``GRUParams``, a ``Bidirectional`` of two, or a ``Backward`` of one.
        return_sequences: see ``keras.layers.GRU``; if False, the layer returns the last state. A
            ``Backward`` requires False, as Keras returns the sequence in the order of computation.
        return_state: see ``keras.layers.GRU``.
        name: the name of the layer; by default Keras chooses one.

    Returns:
        A ``keras.layers.GRU`` or ``Bidirectional`` with the dtype of the net. Its
        ``get_weights()`` fits other layers of the same configuration.

    Raises:
        WeightsError: no single Keras layer is equivalent, for example with clip,
            hard_sigmoid_keras2, two biases without ``reset_after``, or a stack.
        ValueError: the layers of the net do not fit together.
        ImportError: Keras is not installed.

    >>> import jax, jaxgru
    >>> layer = jaxgru.to_keras(jaxgru.init(jax.random.key(0), 3, 5))  # doctest: +SKIP
    >>> [weight.shape for weight in layer.get_weights()]  # doctest: +SKIP
    [(3, 15), (5, 15), (2, 15)]

    Source: ``keras.layers.GRU``.
    """
    with using_keras("to_keras") as keras:
        layers = keras_layers(keras, net)
        if len(layers) > 1:
            raise WeightsError(
                f"net is a {type(net).__name__} of {len(layers)}: expected one layer, as in a "
                "Keras layer; convert each by itself"
            )
        return build_layer(
            keras,
            layers[0],
            name=name,
            return_sequences=return_sequences,
            return_state=return_state,
        )


def _from_weights(weights: Sequence[Any], assume: Mapping[str, Any]) -> LoadedGRU:
    count = len(weights)
    if count not in (2, 3, 4, 6):
        raise WeightsError(
            f"weights are a list of {count}: expected 2 or 3 arrays, or 4 or 6 for two directions"
        )
    arrays = [np.asarray(weight) for weight in weights]
    cells = [arrays] if count < 4 else [arrays[: count // 2], arrays[count // 2 :]]
    fields = Fields(assume)
    net = net_from_arrays([[(cell, "weights")] for cell in cells], fields)
    order = (
        "the list does not show the order of its directions: forward first is assumed, as in "
        "Keras 3; in Keras 2, get_weights() lists a frozen direction last",
    )
    return LoadedGRU(net, fields.notes() + order * (len(cells) == 2))


def _gather(keras: Any, source: Any, assume: Mapping[str, Any]) -> GRUsByName:
    if not isinstance(source, keras.Layer):
        raise WeightsError(
            f"source is a {type(source).__name__}: expected a Keras layer or model, or the list "
            "from get_weights()"
        )
    name = "" if isinstance(source, keras.Model) else source.name
    gathered: GRUsByName = dict(_found_in(keras, source, name, assume, {}))
    if not gathered:
        raise WeightsError(f"there is no GRU in {source.name!r}: expected at least one")
    return gathered


def _found_in(
    keras: Any, layer: Any, name: str, assume: Mapping[str, Any], inputs: dict[str, Inputs]
) -> Iterator[tuple[str, LoadedGRU | WeightsError]]:
    """Yield each GRU in a layer with its name, given the inputs of those in the model around it."""
    cells = _cells(keras, layer)
    if any(isinstance(cell, keras.layers.GRUCell) for cell in cells):
        found = result_or_error(_found, keras, layer, cells, name, assume)
        if isinstance(found, LoadedGRU):
            found = found._replace(inputs=inputs.get(name))
        yield name, found
        return
    prefix = f"{name}/" if name else ""
    if isinstance(layer, keras.Model):
        inner = layer.layers
        # Not those of a custom class, nor those in a model whose inputs are known.
        if type(layer).__module__.startswith("keras.") and not inputs:
            inputs = inputs_of(model_of(keras.saving.serialize_keras_object(layer)), prefix)
    elif isinstance(layer, keras.layers.Wrapper):
        inner = [layer.layer]
    else:
        return
    for each in inner:
        yield from _found_in(keras, each, f"{prefix}{each.name}", assume, inputs)


def _found(
    keras: Any, layer: Any, cells: list[Any], name: str, assume: Mapping[str, Any]
) -> LoadedGRU:
    config = keras.saving.serialize_keras_object(layer)
    if isinstance(layer, keras.layers.GRUCell):
        config = {"class_name": "RNN", "config": {"cell": config}}
    model = model_of({"class_name": "Model", "config": {"layers": [config]}})
    found = list(grus(model.inner, {}, keras.__version__, assume))
    if len(found) != 1 or found[0].layer is not model.inner[0]:
        raise WeightsError(
            f"{name} is a {type(layer).__name__}, whose configuration lacks the fields of a GRU: "
            "expected a layer of Keras"
        )
    found[0].checked()
    weights = [cell.get_weights() for cell in cells]
    if not all(weights):
        raise WeightsError(f"{name} has no weights yet: expected a built layer")
    return found[0].found([(arrays, name) for arrays in weights])


def _cells(keras: Any, layer: Any) -> list[Any]:
    """Return the cells of a recurrent layer, forward first; of any other layer, itself."""
    layers = keras.layers
    if isinstance(layer, layers.Bidirectional):
        return _cells(keras, layer.forward_layer) + _cells(keras, layer.backward_layer)
    if isinstance(layer, layers.RNN):
        return _cells(keras, layer.cell)
    if isinstance(layer, layers.StackedRNNCells):
        return list(layer.cells)
    return [layer]

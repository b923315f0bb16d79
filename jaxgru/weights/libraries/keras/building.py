"""Keras layers that hold a net exactly."""

from typing import Any

from jax.dtypes import canonicalize_dtype

from jaxgru.net import Backward, Bidirectional, Net
from jaxgru.params import GRUParams
from jaxgru.weights.dtypes import check_floats
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.libraries.keras.arrays import to_arrays


def build_layer(
    keras: Any,
    net: Net,
    *,
    name: str | None,
    return_sequences: bool,
    return_state: bool = False,
    where: str = "net",
) -> Any:
    """Return a built Keras layer with the weights of a net.

    Args:
        keras: the library.
        net: a layer of NumPy arrays, a ``Bidirectional`` of two, or a ``Backward`` of one.
        name: the name of the Keras layer, or None to let Keras choose.
        return_sequences: see ``keras.layers.GRU``.
        return_state: see ``keras.layers.GRU``.
        where: what the net is called in errors.

    Raises:
        WeightsError: Keras has no layer that computes the same.
    """
    options = {"return_sequences": return_sequences, "return_state": return_state}
    if isinstance(net, Bidirectional):
        return _build_bidirectional(keras, net, where, name, options)
    if isinstance(net, Backward):
        if return_sequences:
            raise WeightsError(
                f"{where} is a Backward, whose outputs are in the input's order of time: expected "
                "a forward net, or the last state alone, as Keras' go_backwards gives its "
                "outputs in the order of computing"
            )
        params = _only_params(net.net, f"{where}.net")
    else:
        params = _only_params(net, where)
    layer = _new_gru(keras, params, name, options, go_backwards=isinstance(net, Backward))
    layer.build((None, None, params.input_size))
    _fill(keras, layer, params)
    return layer


def _build_bidirectional(
    keras: Any, net: Bidirectional, where: str, name: str | None, options: dict[str, bool]
) -> Any:
    forward, backward = (
        _only_params(getattr(net, side), f"{where}.{side}") for side in ("forward", "backward")
    )
    layer = keras.layers.Bidirectional(
        _new_gru(keras, forward, "gru", options),
        backward_layer=_new_gru(keras, backward, "backward_gru", options, go_backwards=True),
        merge_mode=net.merge,
        name=name,
        dtype=forward.dtype.name,
    )
    layer.build((None, None, forward.input_size))
    # The forward layer is by now another one, which Keras made from the one above.
    _fill(keras, layer.forward_layer, forward)
    _fill(keras, layer.backward_layer, backward)
    return layer


def _new_gru(
    keras: Any,
    params: GRUParams,
    name: str | None,
    options: dict[str, bool],
    *,
    go_backwards: bool = False,
) -> Any:
    _check_held(keras, params)
    return keras.layers.GRU(
        params.hidden_size,
        activation=params.activation,
        recurrent_activation=params.recurrent_activation,
        use_bias=params.bias is not None or params.recurrent_bias is not None,
        reset_after=params.reset_after,
        go_backwards=go_backwards,
        # Keras' own ones take time, and cannot draw in half precision.
        kernel_initializer="zeros",
        recurrent_initializer="zeros",
        dtype=params.dtype.name,
        name=name,
        **options,
    )


def _fill(keras: Any, layer: Any, params: GRUParams) -> None:
    # A model made anew from this one's configuration should be drawn as Keras draws.
    layer.cell.kernel_initializer = keras.initializers.GlorotUniform()
    layer.cell.recurrent_initializer = keras.initializers.Orthogonal()
    layer.cell.set_weights(to_arrays(params))


def _check_held(keras: Any, params: GRUParams) -> None:
    arrays = {field: getattr(params, field) for field in _ARRAYS}
    check_floats({field: array for field, array in arrays.items() if array is not None})
    if keras.config.backend() == "jax" and params.dtype != canonicalize_dtype(params.dtype):
        raise WeightsError(
            "the layer holds float64, and Keras' JAX backend rounds it: expected "
            'jax.config.update("jax_enable_x64", True) before'
        )
    for field in ("activation", "recurrent_activation"):
        name = getattr(params, field)
        # Keras up to 2 called it hard_sigmoid, which means another function since.
        is_known = name != "hard_sigmoid_keras2" and hasattr(keras.activations, name)
        if not is_known:
            raise WeightsError(
                f"{field} is {name!r}: expected an activation that Keras {keras.__version__} has"
            )


_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


def _only_params(net: Net, where: str) -> GRUParams:
    if isinstance(net, GRUParams):
        return net
    kind = type(net).__name__
    if isinstance(net, tuple | list):
        raise WeightsError(
            f"{where} is a {kind} of {len(net)}: expected a single GRUParams there, as a Keras "
            "layer holds one; go layer by layer"
        )
    raise WeightsError(f"{where} is a {kind}: expected a GRUParams there, as in a Keras layer")

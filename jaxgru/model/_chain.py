"""A chain of layers, among them GRUs, as one pytree and one function."""

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export
from jax.typing import ArrayLike

from jaxgru._checks import check_lengths, check_masks
from jaxgru._dropout import Dropout
from jaxgru._masks import length_mask
from jaxgru._sequence import gru
from jaxgru.model._layers import Dense, Elementwise, Embedding, Layer, Signal, layer_class

Array = jax.Array


class Model:
    """A chain of layers: ``y = layer_n(... layer_2(layer_1(x)))``.

    Args:
        layers: the layers by name, first layer first. A layer is one of this module's, a net as in
            ``jaxgru.gru``, or a callable pytree that maps one vector to one vector, such as an
            ``eqx.nn.Linear``; it is mapped over batch and time.
        example_axes: the number of axes of one example, without batch axes: 2 for ``(T, I)``; None:
            1 if the first layer is an ``Embedding``, else 2.
        named: further layers, by keyword.

    ``model.layers`` has the layers by name, and ``model.name`` is the layer called ``name``.

    Raises:
        ValueError: there is no layer, or a layer is of none of these kinds.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> from jaxgru.model import Dense, Model
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> model = Model(gru=net, dense=Dense(jnp.ones((5, 2)), jnp.zeros(2)))
    >>> model(jnp.ones((4, 7, 3))).shape
    (4, 7, 2)

    Source: Keras' ``Sequential``.
    """

    layers: Mapping[str, Any]
    example_axes: int

    def __init__(
        self,
        layers: Mapping[str, Any] | None = None,
        /,
        *,
        example_axes: int | None = None,
        **named: Any,
    ) -> None:
        chain = {**(layers or {}), **named}
        if not chain:
            raise ValueError("a model has no layer: expected at least one")
        if example_axes is None:
            example_axes = 1 if isinstance(next(iter(chain.values())), Embedding) else 2
        object.__setattr__(self, "layers", MappingProxyType(chain))
        object.__setattr__(self, "example_axes", example_axes)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Model is immutable: use Model({{**model.layers, {name!r}: ...}})")

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["layers"][name]
        except KeyError:
            raise AttributeError(f"a Model has no attribute and no layer {name!r}") from None

    def __reduce__(self) -> Any:
        return _model, (dict(self.layers), self.example_axes)

    def __repr__(self) -> str:
        """Show one layer per line."""
        lines = "".join(f"\n  {name}: {layer!r}" for name, layer in self.layers.items())
        return f"Model({lines}\n)"

    def __call__(
        self,
        xs: ArrayLike,
        *,
        lengths: ArrayLike | None = None,
        mask: ArrayLike | None = None,
        key: Array | None = None,
        h0: Mapping[str, Any] | None = None,
        return_state: bool = False,
        last_only: bool = False,
        **options: Any,
    ) -> Any:
        """Return the predictions of the model.

        Args:
            xs: the input, ``(..., T, I)``, or integers ``(..., T)`` for an ``Embedding``; any batch
                axes.
            lengths: integers ``(...)``: the number of valid steps of each sequence. The model's own
                mask (``Embedding``, ``Masking``) replaces it, as in Keras.
            mask: booleans ``(..., T)``: True at valid steps. Pass ``lengths`` or ``mask``, not
                both.
            key: a JAX random key for dropout and noise. None: inference.
            h0: the states before the first step, by the name of the layer, as in ``jaxgru.gru``;
                zeros for those that are not named.
            return_state: whether to return also the last states, by the name of the layer.
            last_only: whether the last GRU returns only the output of its last step.
            options: of ``jaxgru.gru`` for every GRU: ``precision``, ``remat``, ``implementation``,
                ``dropout``, ``recurrent_dropout``.

        Returns:
            The predictions with the batch axes of xs; then, with ``return_state``, the last states.

        Raises:
            ValueError: a shape or dtype does not fit. The message names the layer.
        """
        _check_integers(xs)
        xs = jnp.asarray(xs)
        if xs.ndim < self.example_axes:
            raise ValueError(
                f"xs has shape {xs.shape}: expected batch axes and {self.example_axes} more"
            )
        batch = xs.shape[: xs.ndim - self.example_axes]
        x = xs.reshape(math.prod(batch), *xs.shape[len(batch) :])
        signal = Signal(x, _valid_steps(x, batch, lengths, mask))
        h0 = {
            name: jax.tree.map(lambda h: _rows(h, batch), state)
            for name, state in (h0 or {}).items()
        }
        signal, states = run_chain(self, signal, key, h0, last_only=last_only, options=options)
        y, states = jax.tree.map(lambda a: a.reshape(*batch, *a.shape[1:]), (signal.x, states))
        return (y, states) if return_state else y


def run_chain(
    model: Model,
    signal: Signal,
    key: Array | None,
    h0: Mapping[str, Any],
    *,
    last_only: bool,
    options: Mapping[str, Any],
) -> tuple[Signal, dict[str, Any]]:
    """Return the signal after all layers of a model, and the last states, see ``Model``."""
    for name in h0:
        if name not in model.layers:
            known = ", ".join(model.layers)
            raise ValueError(f"h0 has a state for {name!r}: expected only {known}")
    recurrent = [name for name, layer in model.layers.items() if is_recurrent(layer)]
    states: dict[str, Any] = {}
    for i, (name, layer) in enumerate(model.layers.items()):
        own_key = None if key is None else jax.random.fold_in(key, i)
        try:
            if is_recurrent(layer):
                layer = layer if isinstance(layer, Recurrent) else Recurrent(layer)
                last = last_only and name == recurrent[-1]
                signal, states[name] = layer.run(signal, own_key, h0.get(name), last, options)
            elif isinstance(layer, Layer):
                signal = layer(signal, own_key)
            else:
                signal = signal._replace(x=_mapped(layer, signal.x))
        except ValueError as error:
            raise ValueError(f"layer {name!r}: {error}") from error
    return signal, states


def _model(layers: Mapping[str, Any], example_axes: int) -> Model:
    return Model(layers, example_axes=example_axes)


def end_activation(model: Model) -> Any:
    """Return the final activation of a model, "linear" for none."""
    *_, last = model.layers.values()
    return last.activation if isinstance(last, Dense | Elementwise) else "linear"


def is_recurrent(layer: Any) -> bool:
    """Return whether a layer is a net, which, unlike the other layers, is not callable."""
    return isinstance(layer, Recurrent) or not callable(layer)


def _mapped(function: Any, x: Any) -> Any:
    """Return a function of each vector; of each pair of vectors for a net with two outputs."""
    vectors = jax.tree.leaves(x)
    mapped = function
    for _ in range(vectors[0].ndim - 1):
        mapped = jax.vmap(mapped)
    try:
        y = mapped(x)
    except ValueError:
        raise
    except Exception as error:  # another library may raise any error
        shapes = " and ".join(str(vector.shape[-1:]) for vector in vectors)
        raise ValueError(
            f"it does not accept an input of shape {shapes}: {type(error).__name__}: {error}"
        ) from error
    if not hasattr(y, "shape"):
        raise ValueError(f"its result is a {type(y).__name__}: expected an array")
    return y


def _check_integers(xs: Any) -> None:
    """Raise ValueError for NumPy integers that would change when converted to JAX."""
    if not (isinstance(xs, np.ndarray) and np.issubdtype(xs.dtype, np.integer)):
        return
    limits = np.iinfo(jax.dtypes.canonicalize_dtype(xs.dtype))
    for wrong in xs[(xs < limits.min) | (xs > limits.max)].flat[:1]:
        raise ValueError(f"xs has {wrong}: expected integers of type {limits.dtype.name}")


def _rows(array: Any, batch: tuple[int, ...]) -> Array:
    """Return a state ``(..., H)`` for all rows of a batch whose axes are merged."""
    array = jnp.asarray(array)
    whole = jnp.broadcast_to(array, (*batch, array.shape[-1]))
    return whole.reshape(math.prod(batch), array.shape[-1])


def _valid_steps(x: Array, batch: tuple[int, ...], lengths: Any, mask: Any) -> Array | None:
    if lengths is None and mask is None:
        return None
    rows, time = x.shape[:2]
    check_masks(lengths, mask, None, (*batch, time), batch)
    if mask is None:
        check_lengths(lengths, time)
        return length_mask(jnp.asarray(lengths).reshape(rows), time).T
    return jnp.asarray(mask).reshape(rows, time)


def _flatten(model: Model) -> tuple[tuple[Any, ...], tuple[tuple[str, ...], int]]:
    return tuple(model.layers.values()), (tuple(model.layers), model.example_axes)


def _flatten_with_keys(model: Model) -> Any:
    children, static = _flatten(model)
    keys = map(jax.tree_util.GetAttrKey, static[0])
    return tuple(zip(keys, children, strict=True)), static


def _unflatten(static: Any, children: Any) -> Model:
    names, axes = static
    return Model(dict(zip(names, children, strict=True)), example_axes=axes)


jax.tree_util.register_pytree_with_keys(Model, _flatten_with_keys, _unflatten, _flatten)
export.register_pytree_node_serialization(
    Model,
    serialized_name="jaxgru.Model",
    serialize_auxdata=lambda static: json.dumps(static).encode(),
    deserialize_auxdata=lambda stored: (lambda s: (tuple(s[0]), s[1]))(json.loads(stored)),
    from_children=lambda static, children: _unflatten(static, children),
)


@layer_class(
    data="net", meta="return_sequences zero_masked reverse_outputs dropout recurrent_dropout"
)
class Recurrent(Layer):
    """A net in a model, see ``jaxgru.gru``.

    Args:
        net: the net.
        return_sequences: the outputs of every step ``(B, T, O)``, or of the last ``(B, O)``.
        zero_masked: whether outputs are zero at invalid steps, as in Keras' ``Bidirectional``.
        reverse_outputs: whether outputs are in reversed order of time, as with Keras'
            ``go_backwards``.
        dropout: in training, the dropout rate of the inputs of each layer, with one draw for all
            steps.
        recurrent_dropout: in training, the dropout rate of the state in its products.
    """

    net: Any
    return_sequences: bool = True
    zero_masked: bool = False
    reverse_outputs: bool = False
    dropout: float = 0.0
    recurrent_dropout: float = 0.0

    def run(
        self, signal: Signal, key: Array | None, h0: Any, last: bool, options: Mapping[str, Any]
    ) -> tuple[Signal, Any]:
        """Return the signal after the layer, and its last state."""
        steps = self.return_sequences and not last
        given = dict(options)
        if key is not None:
            given.setdefault("dropout", Dropout(self.dropout, on="inputs", shared=True))
            given.setdefault("recurrent_dropout", self.recurrent_dropout)
        ys, h = gru(
            self.net,
            signal.x,
            h0,
            mask=signal.mask,
            zero_masked=self.zero_masked and steps,
            return_sequences=steps,
            key=key,
            **given,
        )
        if steps and self.reverse_outputs:
            ys = jax.tree.map(lambda ys: ys[:, ::-1], ys)
        return Signal(ys, signal.mask if steps else None), h

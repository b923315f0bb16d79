"""Models in training: the readout of a net, and predictions for a loss."""

import dataclasses
import functools
import warnings
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxgru import model as chain
from jaxgru._dropout import Dropout
from jaxgru._masks import length_mask
from jaxgru._net import unroll
from jaxgru._recurrence.layer import Precision, Remat
from jaxgru.finetune._lora import merge
from jaxgru.finetune._losses import Loss, On
from jaxgru.model import Signal
from jaxgru.model._chain import end_activation, is_recurrent, run_chain

Array = jax.Array

# Layers that act on each step by itself.
_OF_EACH_STEP = (
    chain.BatchNormalization,
    chain.Dense,
    chain.Elementwise,
    chain.LayerNormalization,
    chain.Noise,
    chain.ReLU,
)


class Model:
    """Deprecated: use ``jaxgru.model.Model(net=net, readout=readout)``."""

    # A class, because pickles refer to it.
    def __new__(cls, net: Any, readout: Any = None) -> chain.Model:  # type: ignore[misc]
        """Return a ``jaxgru.model.Model`` of a net and its readout."""
        warnings.warn(
            "jaxgru.finetune.Model(net, readout) is deprecated: use "
            "jaxgru.model.Model(net=net, readout=readout)",
            DeprecationWarning,
            stacklevel=2,
        )
        return chain.Model(net=net, **({} if readout is None else {"readout": readout}))


class RunOptions(NamedTuple):
    """Options for running the nets of a model in training: arguments of ``jaxgru.gru``.

    A dropout of None means the configured rate of the layer, and no dropout for a plain net.
    """

    dropout: float | Dropout | None = None
    recurrent_dropout: float | None = None
    precision: Precision = None
    remat: Remat = None


@functools.partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LinearReadout:
    """An affine map of an output: ``prediction = y W + b``.

    Args:
        kernel: W, ``(H, O)``.
        bias: b, ``(O,)``.

    >>> import jax, jax.numpy as jnp
    >>> from jaxgru.finetune import LinearReadout
    >>> LinearReadout(2 * jnp.eye(3), jnp.ones(3))(jnp.arange(3.0)).tolist()
    [1.0, 3.0, 5.0]
    """

    kernel: Array
    bias: Array

    def __call__(self, y: Array) -> Array:
        """Return the prediction ``(O,)`` for an output ``(H,)``."""
        shapes, wanted = (self.kernel.shape, self.bias.shape), (len(y), self.bias.size)
        if shapes != (wanted, wanted[1:]):
            raise ValueError(
                f"its kernel and bias have shapes {shapes}: expected ({len(y)}, O) and (O,), as "
                f"the net has {len(y)} outputs"
            )
        prediction: Array = y @ self.kernel.astype(y.dtype) + self.bias.astype(y.dtype)
        return prediction


def linear_readout(
    key: Array, inputs: int, outputs: int, *, dtype: DTypeLike = jnp.float32
) -> LinearReadout:
    """Return a new linear readout: its kernel is Glorot-uniform, its bias zero.

    Args:
        key: a JAX random key.
        inputs: H, the number of outputs of the net.
        outputs: O, the size of a prediction.
        dtype: floating-point type of the weights.

    Returns:
        The readout, its kernel ``(H, O)``.

    Raises:
        ValueError: a size is below 1.

    >>> import jax
    >>> from jaxgru.finetune import linear_readout
    >>> linear_readout(jax.random.key(0), 5, 2).kernel.shape
    (5, 2)

    Source: Glorot and Bengio 2010; the defaults of Keras' ``Dense``.
    """
    for name, size in (("inputs", inputs), ("outputs", outputs)):
        if size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")
    kernel = jax.nn.initializers.glorot_uniform()(key, (inputs, outputs), dtype)
    return LinearReadout(kernel, jnp.zeros(outputs, dtype))


def predict(
    model: chain.Model, inputs: ArrayLike, lengths: ArrayLike | None = None, *, on: On = "steps"
) -> Any:  # Any: an array, or a pair of them for a merge of None
    """Return the predictions of a model.

    Args:
        model: the model; its low-rank changes are merged.
        inputs: ``(..., T, I)``, or integers ``(..., T)`` for an ``Embedding``.
        lengths: integers ``(...)``; None if all steps are valid.
        on: "steps" for all predictions, "last" for those at the last valid step.

    Returns:
        The predictions, ``(..., T, O)`` or ``(..., O)``.

    Raises:
        ValueError: as in ``jaxgru.model.Model``.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> from jaxgru.finetune import linear_readout, predict
    >>> from jaxgru.model import Model
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> model = Model(net=net, readout=linear_readout(jax.random.key(1), 5, 2))
    >>> predict(model, jnp.ones((4, 7, 3))).shape
    (4, 7, 2)
    """
    merged = merge(checked_model(model))
    last_only = on == "last" and _ends_in_steps(merged)
    return merged(inputs, lengths=lengths, last_only=last_only)


class Run(NamedTuple):
    """The results of a model for a batch.

    Args:
        predictions: ``(B, T, O)`` or ``(B, O)``.
        counted: flags of the predictions that count, ``(B, T)`` or ``(B,)``; None: all.
        states: the last states of the nets by the names of their layers.
    """

    predictions: Any
    counted: Array | None
    states: dict[str, Any]


def run_model(
    model: chain.Model,
    inputs: Any,
    lengths: Any,
    h0: Any,
    *,
    loss: Loss,
    options: RunOptions = RunOptions(),  # noqa: B008 (an immutable tuple)
    key: Array | None = None,
) -> Run:
    """Return the results of a model for a batch, given the loss and the states of its nets by name.

    Predictions count within the final mask of the model and within the lengths.
    """
    model, inputs = merge(model), jnp.asarray(inputs)
    if loss.of_logits:
        model = _of_logits(model)
    lengths = None if lengths is None else jnp.asarray(lengths)
    mask = None
    if lengths is not None and has_time(model):
        mask = length_mask(lengths, inputs.shape[1]).T
    signal, states = run_chain(
        model,
        Signal(inputs, mask),
        key,
        h0 or {},
        last_only=loss.on == "last" and _ends_in_steps(model),
        options={name: value for name, value in options._asdict().items() if value is not None},
    )
    if loss.on == "last":
        return Run(signal.x, None if lengths is None else lengths > 0, states)
    counted = signal.mask
    if lengths is not None:
        steps = jax.tree.leaves(signal.x)[0].shape[1:2]
        own = jnp.broadcast_to((lengths > 0)[:, None], (len(lengths), *steps))
        if mask is not None and mask.shape == own.shape:
            own = mask
        counted = own if counted is None else counted & own
    return Run(signal.x, counted, states)


def _of_logits(model: chain.Model) -> chain.Model:
    if end_activation(merge(model)) not in ("softmax", "sigmoid"):
        return model
    *_, (name, last) = model.layers.items()
    layers = {**model.layers, name: dataclasses.replace(last, activation="linear")}
    return chain.Model(layers, example_axes=model.example_axes)


def checked_model(model: chain.Model) -> chain.Model:
    """Return a model whose leaves are all JAX arrays; raise ValueError unless all are arrays."""
    if not isinstance(model, chain.Model):
        raise ValueError(
            f"model is a {type(model).__name__}: expected a jaxgru.model.Model, such as "
            "Model(net=net, readout=readout)"
        )
    for name, layer in model.layers.items():
        for leaf in jax.tree.leaves(layer):
            if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
                raise ValueError(
                    f"layer {name!r}: one of its leaves is a {type(leaf).__name__}: expected "
                    "arrays; use jax.tree_util.Partial(function, weights) for a function"
                )
    # The type of a weakly typed array would change at the first step.
    arrays: chain.Model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), model)
    return arrays


def has_time(model: chain.Model) -> bool:
    """Return whether the input of a model is a sequence, and not a vector."""
    return model.example_axes > 1 or takes_integers(model) is not None


def takes_integers(model: chain.Model) -> int | None:
    """Return the number of rows of the ``Embedding`` that a model begins with, None without it."""
    first = next(iter(merge(model).layers.values()))
    return len(first.table) if isinstance(first, chain.Embedding) else None


def _ends_in_steps(model: chain.Model) -> bool:
    """Return whether the predictions are at every step, each from the output of a net there."""
    for layer in list(model.layers.values())[::-1]:
        if is_recurrent(layer):
            return not isinstance(layer, chain.Recurrent) or layer.return_sequences
        if isinstance(layer, chain.Layer) and not isinstance(layer, _OF_EACH_STEP):
            return False
    return False


def check_windows(model: chain.Model) -> None:
    """Raise ValueError unless a model may be run in windows of time, one after another."""
    for name, layer in merge(model).layers.items():
        plain = isinstance(layer, (*_OF_EACH_STEP, chain.Embedding, chain.Masking))
        if not (is_recurrent(layer) or plain or not isinstance(layer, chain.Layer)):
            raise ValueError(
                f"window is given, and layer {name!r} is a {type(layer).__name__}: expected only "
                "layers that act on each step by itself, and forward nets"
            )
        net = layer.net if isinstance(layer, chain.Recurrent) else layer
        if not is_recurrent(layer):
            continue
        if any(each.reverse for each in unroll(net)):
            raise ValueError(
                f"window is given, and layer {name!r} has a backward direction: expected forward "
                "layers only, because a backward state depends on later windows"
            )
        if isinstance(layer, chain.Recurrent) and not layer.return_sequences:
            raise ValueError(
                f"window is given, and layer {name!r} returns only its last output: expected the "
                "outputs of every step"
            )

"""Models: a net and its readout, and their predictions."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike, DTypeLike

from jaxgru._dropout import Dropout
from jaxgru._net import Net, check_net
from jaxgru._recurrence.layer import Precision, Remat
from jaxgru._sequence import gru
from jaxgru.finetune._lora import LowRank, merge
from jaxgru.finetune._losses import On

Array = jax.Array


class Model(NamedTuple):
    """A net and its readout: all weights as one pytree.

    Args:
        net: as in ``jaxgru.gru``, or a ``LowRank`` net.
        readout: a callable pytree that maps one output of the net, ``(H,)``, to one prediction,
            ``(O,)``; it is mapped over batch and time by ``jax.vmap``. Its leaves are arrays, the
            weights. A ``linear_readout``, an ``eqx.nn.Linear``, an ``nnx.Linear`` and a
            ``jax.tree_util.Partial(function, weights)`` are such pytrees. None: the outputs are
            the predictions.

    >>> import jax, jaxgru
    >>> from jaxgru.finetune import Model, leaf_paths, linear_readout
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, use_bias=False)
    >>> leaf_paths(Model(net, linear_readout(jax.random.key(1), 5, 2)))
    ['net.kernel', 'net.recurrent_kernel', 'readout.kernel', 'readout.bias']
    """

    net: Net | LowRank
    readout: Any = None  # Any: a callable pytree of any library, with attributes of its own


class RunOptions(NamedTuple):
    """Options for running a net in training; the fields are arguments of ``jaxgru.gru``."""

    dropout: float | Dropout = 0.0
    recurrent_dropout: float = 0.0
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
    model: Model, inputs: ArrayLike, lengths: ArrayLike | None = None, *, on: On = "steps"
) -> Any:  # Any: an array, or a pair of them for a merge of None
    """Return the predictions of a model.

    Args:
        model: the net and its readout.
        inputs: ``(..., T, I)``.
        lengths: integers ``(...)``; None if all steps are valid.
        on: "steps" for predictions at every step, "last" for those at the last valid step.

    Returns:
        The predictions, ``(..., T, O)`` or ``(..., O)``.

    Raises:
        ValueError: as in ``jaxgru.gru``.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> from jaxgru.finetune import Model, linear_readout, predict
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> model = Model(net, linear_readout(jax.random.key(1), 5, 2))
    >>> predict(model, jnp.ones((4, 7, 3))).shape
    (4, 7, 2)
    """
    predictions, _ = run_model(checked_model(model), inputs, lengths, None, on=on)
    return predictions


def run_model(
    model: Model,
    inputs: Any,
    lengths: Any,
    h0: Any,
    *,
    on: On,
    options: RunOptions = RunOptions(),  # noqa: B008 (a tuple: nobody can change it)
    key: Array | None = None,
) -> tuple[Any, Any]:
    """Return the predictions of a model and the last state of its net, see ``jaxgru.gru``."""
    ys, h = gru(
        merge(model.net),
        jnp.asarray(inputs),
        h0,
        lengths=None if lengths is None else jnp.asarray(lengths),
        return_sequences=on == "steps",
        key=key,
        **options._asdict(),
    )
    readout = model.readout
    if readout is None:
        return ys, h
    for _ in range(jax.tree.leaves(ys)[0].ndim - 1):
        readout = jax.vmap(readout)
    return readout(ys), h


def checked_model(model: Model) -> Model:
    """Return a model whose leaves are all JAX arrays.

    Raises ValueError unless it is a ``Model`` of a net and a readout that accepts its outputs.
    """
    if not isinstance(model, Model):
        raise ValueError(f"model is a {type(model).__name__}: expected a Model(net, readout)")
    inputs, _ = check_net(jax.eval_shape(merge, model.net))
    if model.readout is not None:
        _check_readout(model.readout, model.net, inputs)
    # The type of a weakly typed array would change in the first step.
    arrays: Model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), model)
    return arrays


def _check_readout(readout: Any, net: Any, inputs: int) -> None:
    if not callable(readout):
        raise ValueError(f"readout is a {type(readout).__name__}: expected a callable pytree")
    for leaf in jax.tree.leaves(readout):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic):
            raise ValueError(
                f"readout: one of its leaves is a {type(leaf).__name__}: expected arrays; use "
                "jax.tree_util.Partial(function, weights) for a function"
            )
    x = jnp.zeros((1, inputs), jnp.result_type(*jax.tree.leaves(net)))
    y = jax.eval_shape(lambda net: jax.tree.map(lambda ys: ys[0], gru(merge(net), x)[0]), net)
    try:
        prediction = jax.eval_shape(lambda readout, y: readout(y), readout, y)
    except ValueError as error:
        raise ValueError(f"readout: {error}") from error
    except Exception as error:  # a readout may raise any error
        shapes = " and ".join(str(leaf.shape) for leaf in jax.tree.leaves(y))
        raise ValueError(
            f"readout: it does not accept an output of the net, of shape {shapes}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not hasattr(prediction, "shape"):
        raise ValueError(f"readout: its result is a {type(prediction).__name__}: expected an array")

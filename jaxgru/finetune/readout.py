"""What turns the outputs of a net into predictions: a callable pytree, here two kinds of it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

Array = jax.Array


@functools.partial(jax.tree_util.register_dataclass, data_fields=["kernel", "bias"], meta_fields=[])
@dataclasses.dataclass(frozen=True)
class LinearReadout:
    """An affine map of the outputs of a net.

    With ``W`` the kernel and ``b`` the bias: ``prediction = y W + b``.

    Args:
        kernel: ``(H, O)``.
        bias: ``(O,)``.

    >>> import jax, jax.numpy as jnp
    >>> from jaxgru.finetune import LinearReadout
    >>> LinearReadout(2 * jnp.eye(3), jnp.ones(3))(jnp.arange(3.0)).tolist()
    [1.0, 3.0, 5.0]
    """

    kernel: Array
    bias: Array

    def __call__(self, ys: Array) -> Array:
        """Return the predictions ``(..., O)`` for outputs ``(..., H)``."""
        if ys.shape[-1] != self.kernel.shape[0]:
            raise ValueError(
                f"the readout's kernel has shape {self.kernel.shape}: expected "
                f"({ys.shape[-1]}, O), as the net has {ys.shape[-1]} outputs"
            )
        kernel, bias = (jnp.asarray(weight, ys.dtype) for weight in (self.kernel, self.bias))
        product = ys @ kernel
        return product + jnp.broadcast_to(bias, product.shape)


@functools.partial(
    jax.tree_util.register_dataclass, data_fields=["weights"], meta_fields=["function"]
)
@dataclasses.dataclass(frozen=True)
class Readout:
    """A function of one's own and its weights: ``prediction = function(weights, y)``.

    Args:
        function: takes the weights and the outputs, ``(..., H)``, any leading axes.
        weights: a pytree of arrays.

    >>> import jax, jax.numpy as jnp
    >>> from jaxgru.finetune import Readout
    >>> Readout(lambda weights, ys: weights["scale"] * ys, {"scale": 2.0})(jnp.ones(2)).tolist()
    [2.0, 2.0]
    """

    function: Callable[[Any, Any], Any]
    weights: Any

    def __call__(self, ys: Any) -> Any:
        """Return the predictions for the outputs of a net."""
        return self.function(self.weights, ys)


def linear_readout(
    key: Array, inputs: int, outputs: int, *, dtype: DTypeLike = jnp.float32
) -> LinearReadout:
    """Return a new linear readout: its kernel Glorot-uniform, its bias zero.

    Args:
        key: a JAX random key.
        inputs: how many outputs the net has, H.
        outputs: how many predictions there are, O.
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

"""The weights of one GRU layer: a pytree, its initializers and its checks."""

import dataclasses
import math
import numbers
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from jaxgru._activations import ActivationLike, canonical
from jaxgru._pytree import pytree_dataclass

Array = jax.Array

GATES = ("update", "reset", "candidate")


@pytree_dataclass(
    data=("kernel", "recurrent_kernel", "bias", "recurrent_bias"),
    meta=("reset_after", "activation", "recurrent_activation", "clip"),
)
@dataclasses.dataclass(frozen=True)
class GRUParams:
    """The weights of one GRU layer, in the convention of Keras.

    Let ``sigma`` be the recurrent activation, ``phi`` the activation, ``W`` the kernel, ``U`` the
    recurrent kernel, ``b`` the bias and ``c`` the recurrent bias, each split along its last axis
    into the blocks z (update), r (reset) and h (candidate). Then::

        z  = sigma(x Wz + bz + h Uz + cz)
        r  = sigma(x Wr + br + h Ur + cr)
        n  = phi(x Wh + bh + r * (h Uh + ch))       reset_after=True
        n  = phi(x Wh + bh + (r * h) Uh + ch)       reset_after=False
        h' = z * h + (1 - z) * n

    It is a plain pytree. The arrays are leaves and the other fields are part of the structure, so
    ``jax.tree.map``, ``jax.vmap`` over stacked layers and any optimizer apply.

    Args:
        kernel: input weights, ``(I, 3H)`` for I inputs and H units.
        recurrent_kernel: state weights, ``(H, 3H)``.
        bias: input-side bias ``(3H,)``, or None.
        recurrent_bias: state-side bias ``(3H,)``, or None.
        reset_after: whether the reset gate is applied after the product with the state (Keras 2
            and later, cuDNN, PyTorch) or before it (Keras 1, Haiku, Cho et al. 2014).
        activation: the candidate's activation: a name in ``jaxgru.ACTIVATIONS``, or a
            ``jaxgru.Activation`` with parameters.
        recurrent_activation: the gates' activation, likewise.
        clip: if given, each pre-activation is limited to ``[-clip, clip]``, as in ONNX.

    Raises:
        ValueError: an activation is unknown, or clip is not a positive number.

    >>> import jax, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> params.input_size, params.hidden_size, params.dtype.name
    (3, 5, 'float32')
    >>> jax.tree.map(lambda leaf: leaf.shape, params).kernel
    (3, 15)

    Source: Cho et al. 2014 (arXiv:1406.1078); Keras' ``GRU`` layer for order and signs.
    """

    kernel: Array
    recurrent_kernel: Array
    bias: Array | None = None
    recurrent_bias: Array | None = None
    reset_after: bool = True
    activation: ActivationLike = "tanh"
    recurrent_activation: ActivationLike = "sigmoid"
    clip: float | None = None

    if TYPE_CHECKING:  # NumPy arrays are accepted as well

        def __init__(
            self,
            kernel: ArrayLike,
            recurrent_kernel: ArrayLike,
            bias: ArrayLike | None = None,
            recurrent_bias: ArrayLike | None = None,
            reset_after: bool = True,
            activation: ActivationLike = "tanh",
            recurrent_activation: ActivationLike = "sigmoid",
            clip: float | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        # Only static fields are checked here, because pytree transformations pass leaves that are
        # not arrays. check_params checks the leaves.
        for field in ("activation", "recurrent_activation"):
            object.__setattr__(self, field, canonical(getattr(self, field), field))
        if self.clip is not None:
            if not (_is_number(self.clip) and math.isfinite(self.clip) and self.clip > 0):
                raise ValueError(
                    f"clip is {self.clip!r}: expected None or a positive finite number"
                )
            # The dtype of a NumPy scalar would take part in promotion.
            object.__setattr__(self, "clip", float(self.clip))

    def __repr__(self) -> str:
        """Show shapes and types, not numbers."""
        fields = dataclasses.fields(self)
        return f"GRUParams({', '.join(f'{f.name}={shown(getattr(self, f.name))}' for f in fields)})"

    @property
    def input_size(self) -> int:
        """The number of inputs, I."""
        return int(self.kernel.shape[-2])

    @property
    def hidden_size(self) -> int:
        """The number of units, H."""
        return int(self.recurrent_kernel.shape[-2])

    @property
    def dtype(self) -> jnp.dtype:
        """The floating-point type of the weights."""
        return jnp.dtype(self.kernel.dtype)


def init(
    key: Array,
    input_size: int,
    hidden_size: int,
    *,
    use_bias: bool = True,
    reset_after: bool = True,
    dtype: DTypeLike = jnp.float32,
    activation: ActivationLike = "tanh",
    recurrent_activation: ActivationLike = "sigmoid",
    clip: float | None = None,
) -> GRUParams:
    """Return new weights with Keras' initializers.

    The kernel is Glorot-uniform over its whole ``(I, 3H)`` shape, the recurrent kernel has
    orthonormal rows, and biases are zero.

    Args:
        key: a JAX random key.
        input_size: number of inputs I, at least 1.
        hidden_size: number of units H, at least 1.
        use_bias: whether to use biases: two with ``reset_after``, one without, as in Keras.
        reset_after: see ``GRUParams``.
        dtype: floating-point type of the weights.
        activation: see ``GRUParams``.
        recurrent_activation: see ``GRUParams``.
        clip: see ``GRUParams``.

    Returns:
        The weights, a ``GRUParams``.

    Raises:
        ValueError: a size is below 1, or dtype is not a floating-point type.

    >>> import jax, jaxgru
    >>> jaxgru.init(jax.random.key(0), 3, 5, reset_after=False).recurrent_bias is None
    True

    Source: Keras' ``GRU`` defaults; Glorot and Bengio 2010; Saxe et al. 2013 (arXiv:1312.6120).
    """
    for name, size in (("input_size", input_size), ("hidden_size", hidden_size)):
        if size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"dtype is {jnp.dtype(dtype).name}: expected a floating-point type")
    key_kernel, key_recurrent = jax.random.split(key)
    # QR decompositions exist only in single and double precision: draw in these, then round.
    drawn = at_least_float32(dtype)
    glorot = jax.nn.initializers.glorot_uniform()
    # The orthogonal initializer of Keras: the rows over all three blocks are orthonormal.
    orthogonal = jax.nn.initializers.orthogonal()
    biases = (use_bias, use_bias and reset_after)
    # Two separate arrays, because a training step may donate both.
    bias, recurrent_bias = (jnp.zeros(3 * hidden_size, dtype) if has else None for has in biases)
    return GRUParams(
        kernel=glorot(key_kernel, (input_size, 3 * hidden_size), drawn).astype(dtype),
        recurrent_kernel=orthogonal(key_recurrent, (hidden_size, 3 * hidden_size), drawn).astype(
            dtype
        ),
        bias=bias,
        recurrent_bias=recurrent_bias,
        reset_after=reset_after,
        activation=activation,
        recurrent_activation=recurrent_activation,
        clip=clip,
    )


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """Return float32 for narrower types, and any other type unchanged."""
    dtype = jnp.dtype(dtype)
    return jnp.dtype(jnp.float32) if dtype.itemsize < 4 else dtype


def _is_number(value: object) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def shown(value: object) -> str:
    """Return an array as its type and shape, another value as it is."""
    if not (hasattr(value, "shape") and hasattr(value, "dtype")):
        return repr(value)
    return f"{value.dtype.name}[{','.join(str(size) for size in value.shape)}]"

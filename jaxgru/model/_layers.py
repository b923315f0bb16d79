"""The layers around a GRU.

Each is a frozen pytree whose arrays are leaves, and a pure function of its input, of the mask of
valid steps, and of a random key in training. The equations, the defaults and the propagation of
masks are those of Keras 3.
"""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, dataclass_transform

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxgru._activations import get_activation
from jaxgru._dropout import check_rate
from jaxgru._params import at_least_float32, shown
from jaxgru._pytree import pytree_dataclass
from jaxgru._recurrence.step import along

Array = jax.Array
T = TypeVar("T")


class Signal(NamedTuple):
    """The input or output of a layer: values ``(B, ...)``, and flags ``(B, T)``, True if valid."""

    x: Array
    mask: Array | None = None


class Layer:
    """A layer of a model: ``layer(signal, key)`` returns the signal for the next layer.

    ``key`` is None in inference, and a JAX random key in training.
    """

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        raise NotImplementedError

    def __repr__(self) -> str:
        """Show shapes and types, not numbers."""
        names = [field.name for field in dataclasses.fields(self)]  # type: ignore[arg-type]
        fields = ", ".join(f"{name}={shown(getattr(self, name))}" for name in names)
        return f"{type(self).__name__}({fields})"


@dataclass_transform(frozen_default=True)
def layer_class(data: str = "", meta: str = "") -> Callable[[type[T]], type[T]]:
    """Return a class decorator: a frozen dataclass and a pytree of the fields ``data``."""

    def decorate(cls: type[T]) -> type[T]:
        frozen = dataclasses.dataclass(frozen=True, repr=False)(cls)
        return pytree_dataclass(tuple(data.split()), tuple(meta.split()))(frozen)

    return decorate


@layer_class(data="table", meta="mask_zero")
class Embedding(Layer):
    """Rows of a table ``(N, I)``, by integers ``(B, ...)``; 0 is an invalid step if ``mask_zero``.

    An integer outside 0 to N - 1 is an error, and under ``jax.jit`` its row is NaN.
    """

    table: Array
    mask_zero: bool = False

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        ids, count = signal.x, len(self.table)
        if not jnp.issubdtype(ids.dtype, jnp.integer):
            raise ValueError(f"its input has dtype {ids.dtype}: expected integers, .astype(int)")
        inside = (ids >= 0) & (ids < count)
        if not isinstance(inside, jax.core.Tracer) and not bool(inside.all()):
            wrong = int(np.asarray(ids)[~np.asarray(inside)].flat[0])
            raise ValueError(f"its input has {wrong}: expected integers from 0 to {count - 1}")
        x = jnp.asarray(self.table)[jnp.where(inside, ids, 0)]
        x = jnp.where(inside[..., None], x, jnp.asarray(jnp.nan, x.dtype))
        return Signal(x, ids != 0 if self.mask_zero else signal.mask)


@layer_class(meta="mask_value")
class Masking(Layer):
    """A step with all values equal to ``mask_value`` is invalid and becomes zero."""

    mask_value: float = 0.0

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x = _floats(signal.x)
        valid = (x != jnp.asarray(self.mask_value, x.dtype)).any(-1)
        return Signal(jnp.where(valid[..., None], x, jnp.zeros_like(x)), valid)


@layer_class(data="kernel bias", meta="activation")
class Dense(Layer):
    """``activation(x W + b)`` of the last axis: kernel W ``(I, O)``, bias b ``(O,)`` or None."""

    kernel: Array
    bias: Array | None = None
    activation: Any = "linear"

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x, kernel, bias = _of_one_type(signal.x, self.kernel, self.bias)
        if x.shape[-1] != kernel.shape[0]:
            raise ValueError(
                f"its input has {x.shape[-1]} features: expected {kernel.shape[0]}, as its kernel "
                f"has shape {kernel.shape}"
            )
        return signal._replace(x=activate(self.activation, _plus(x @ kernel, bias)))


@layer_class(data="kernel bias", meta="activation stride padding dilation groups")
class Conv1D(Layer):
    """A convolution over time: kernel ``(K, I / groups, O)``, bias ``(O,)`` or None.

    ``padding`` is "valid", "same" or "causal". Its output has no mask.
    """

    kernel: Array
    bias: Array | None = None
    activation: Any = "linear"
    stride: int = 1
    padding: str = "valid"
    dilation: int = 1
    groups: int = 1

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x, kernel, bias = _of_one_type(signal.x, self.kernel, self.bias)
        before = self.dilation * (kernel.shape[0] - 1)
        y = lax.conv_general_dilated(
            x,
            kernel,
            (self.stride,),
            [(before, 0)] if self.padding == "causal" else self.padding.upper(),
            rhs_dilation=(self.dilation,),
            dimension_numbers=("NWC", "WIO", "NWC"),
            feature_group_count=self.groups,
        )
        return Signal(activate(self.activation, _plus(y, bias)))


@layer_class(data="gamma beta", meta="epsilon")
class LayerNormalization(Layer):
    """``gamma (x - mean) / sqrt(variance + epsilon) + beta``, over the last axis of each vector."""

    gamma: Array | None = None
    beta: Array | None = None
    epsilon: float = 1e-3

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x, gamma, beta = _of_one_type(signal.x, self.gamma, self.beta)
        centered = x - x.mean(-1, keepdims=True)
        variance = (centered * centered).mean(-1, keepdims=True)
        return signal._replace(x=_scaled(centered, variance, gamma, beta, self.epsilon))


@layer_class(data="mean variance gamma beta", meta="epsilon")
class BatchNormalization(Layer):
    """``gamma (x - mean) / sqrt(variance + epsilon) + beta``, with the moving statistics ``(I,)``.

    The statistics are constants, in training too: their gradient is zero.
    """

    mean: Array
    variance: Array
    gamma: Array | None = None
    beta: Array | None = None
    epsilon: float = 1e-3

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x, gamma, beta = _of_one_type(signal.x, self.gamma, self.beta)
        mean, variance = (
            along(lax.stop_gradient(jnp.asarray(a)).astype(x.dtype), x)
            for a in (self.mean, self.variance)
        )
        return signal._replace(x=_scaled(x - mean, variance, gamma, beta, self.epsilon))


@layer_class(meta="kind rate drawn_axes")
class Noise(Layer):
    """A layer that acts only in training: dropout or noise, by its name in Keras.

    Args:
        kind: "Dropout", "SpatialDropout1D" (one draw for all steps), "GaussianDropout",
            "GaussianNoise" or "AlphaDropout".
        rate: the probability of being dropped; the standard deviation of "GaussianNoise".
        drawn_axes: for each axis after the batch, whether draws differ along it; None: all.

    Source: Srivastava et al. 2014; Klambauer et al. 2017 (arXiv:1706.02515) for "AlphaDropout".
    """

    kind: str
    rate: float
    drawn_axes: tuple[bool, ...] | None = None

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        if key is None or not self.rate:
            return signal
        x, rate = _floats(signal.x), self.rate
        if self.kind != "GaussianNoise":
            check_rate("rate", rate)
        drawn = (False, True) if self.kind == "SpatialDropout1D" else self.drawn_axes
        sizes = x.shape[1:]
        if drawn is not None:
            # The vector of a last step has only the last of these axes.
            drawn = drawn[len(drawn) - len(sizes) :]
            sizes = tuple(n if own else 1 for n, own in zip(sizes, drawn, strict=True))
        shape = (x.shape[0], *sizes)
        if self.kind.startswith("Gaussian"):
            normal = jax.random.normal(key, shape, x.dtype)
            is_noise = self.kind == "GaussianNoise"
            deviation = rate if is_noise else math.sqrt(rate / (1 - rate))
            x = x + deviation * normal if is_noise else x * (1 + deviation * normal)
            return signal._replace(x=x)
        kept = jnp.broadcast_to(jax.random.bernoulli(key, 1 - rate, shape), x.shape)
        if self.kind != "AlphaDropout":
            return signal._replace(x=jnp.where(kept, x / (1 - rate), jnp.zeros_like(x)))
        low = -1.7580993408473766  # of selu, for minus infinity
        scale = ((1 - rate) * (1 + rate * low**2)) ** -0.5
        dropped = jnp.where(kept, x, jnp.full_like(x, low))
        return signal._replace(x=scale * dropped - scale * low * rate)


@layer_class(data="alpha", meta="activation")
class Elementwise(Layer):
    """An activation by name; or, with alpha, ``x`` where it is positive, else ``alpha x``."""

    activation: Any = "linear"
    alpha: Array | None = None  # broadcasts to one example

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x = activate(self.activation, _floats(signal.x))
        if self.alpha is not None:
            x = jnp.where(x > 0, x, along(jnp.asarray(self.alpha).astype(x.dtype), x) * x)
        return signal._replace(x=x)


@layer_class(meta="max_value negative_slope threshold")
class ReLU(Layer):
    """x from the threshold to the largest value; below it ``negative_slope (x - threshold)``."""

    max_value: float | None = None
    negative_slope: float = 0.0
    threshold: float = 0.0

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x = _floats(signal.x)
        high = x if self.max_value is None else jnp.minimum(x, self.max_value)
        low = self.negative_slope * (x - self.threshold)
        return signal._replace(x=jnp.where(x >= self.threshold, high, low))


@layer_class(meta="size stride padding")
class MaxPooling1D(Layer):
    """The largest of every ``size`` steps. Its output has no mask."""

    size: int = 2
    stride: int = 2
    padding: str = "valid"

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x = _floats(signal.x)
        window, strides = (1, self.size, 1), (1, self.stride, 1)
        return Signal(
            lax.reduce_window(x, -jnp.inf, lax.max, window, strides, self.padding.upper())
        )


@layer_class(meta="kind keepdims")
class GlobalPooling1D(Layer):
    """The mean over valid steps ("average"), or the largest over all steps ("max")."""

    kind: str = "average"
    keepdims: bool = False

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        x, valid = _floats(signal.x), signal.mask
        if self.kind == "max":
            return Signal(x.max(1, keepdims=self.keepdims))
        if valid is None:
            return Signal(x.mean(1, keepdims=self.keepdims))
        valid = valid[..., None]
        total = jnp.where(valid, x, jnp.zeros_like(x)).sum(1, keepdims=self.keepdims)
        count = valid.astype(x.dtype).sum(1, keepdims=self.keepdims)
        # Without a valid step the mean is NaN, as in Keras, but has no derivative.
        mean = total / jnp.maximum(count, jnp.ones_like(count))
        return Signal(jnp.where(count > 0, mean, jnp.asarray(jnp.nan, x.dtype)))


@layer_class(meta="shape")
class Reshape(Layer):
    """Each example in another shape, with at most one -1. ``(-1,)`` flattens it. No mask."""

    shape: tuple[int, ...] = (-1,)

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        rows, *sizes = signal.x.shape
        shape = self.shape
        if -1 in shape and rows == 0:  # without elements, -1 cannot be computed
            known = -math.prod(shape)
            shape = tuple(math.prod(sizes) // known if n == -1 else n for n in shape)
        return Signal(signal.x.reshape(rows, *shape))


@layer_class(meta="count")
class RepeatVector(Layer):
    """A vector ``(B, I)`` as the input of each of some steps, ``(B, T, I)``. No mask."""

    count: int

    def __call__(self, signal: Signal, key: Array | None) -> Signal:
        rows, features = signal.x.shape
        return Signal(jnp.broadcast_to(signal.x[:, None], (rows, self.count, features)))


def statistics(tree: Any) -> Any:
    """Return flags in the structure of a pytree, True for moving statistics.

    >>> import jax.numpy as jnp
    >>> norm = BatchNormalization(jnp.zeros(3), jnp.ones(3), gamma=jnp.ones(3))
    >>> flags = statistics({"norm": norm})["norm"]
    >>> flags.mean, flags.variance, flags.gamma
    (True, True, False)
    """

    def flags(node: Any) -> Any:
        marked = jax.tree.map(lambda leaf: False, node)
        if isinstance(node, BatchNormalization):
            marked = dataclasses.replace(marked, mean=True, variance=True)
        return marked

    return jax.tree.map(flags, tree, is_leaf=lambda node: isinstance(node, BatchNormalization))


def activate(name: Any, x: Array) -> Array:
    """Return ``x`` after an activation: one of ``jaxgru.ACTIVATIONS``, or "(log_)softmax"."""
    if name == "softmax":
        return jax.nn.softmax(x, axis=-1)
    return (
        jax.nn.log_softmax(x, axis=-1) if name == "log_softmax" else get_activation(name).value(x)
    )


def _floats(x: Array) -> Array:
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x.astype(at_least_float32(x.dtype))
    return x.astype(jnp.float32)


def _of_one_type(x: Array, *arrays: Any) -> tuple[Any, ...]:
    """Return arrays of the promoted type of all, at least float32, None as None."""
    x = _floats(x)
    dtypes = [jnp.asarray(a).dtype for a in arrays if a is not None]
    dtype = at_least_float32(jnp.result_type(x.dtype, *dtypes))
    return tuple(None if a is None else jnp.asarray(a).astype(dtype) for a in (x, *arrays))


def _plus(x: Array, bias: Array | None) -> Array:
    return x if bias is None else x + along(bias, x)


def _scaled(
    centered: Array, variance: Array, gamma: Array | None, beta: Array | None, epsilon: float
) -> Array:
    x = centered * lax.rsqrt(variance + epsilon)
    return _plus(x if gamma is None else x * along(gamma, x), beta)

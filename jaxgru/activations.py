"""The named activations, each with its derivative."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

Array = jax.Array


class Activation(NamedTuple):
    """An elementwise function ``y = f(x)`` and its derivative.

    The derivative is given both x and y: most are told from y without a second transcendental,
    and do not look at x.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Any, Array], Array]
    needs_input: bool = False


def get_activation(name: str, argument: str = "activation") -> Activation:
    """Return the activation called ``name``.

    Raises ValueError with the known names, and that of the argument, if none is called so.
    """
    try:
        return _ACTIVATIONS[name]
    except (KeyError, TypeError):
        raise ValueError(
            f"{argument} {name!r} is unknown: expected one of {', '.join(_ACTIVATIONS)}"
        ) from None


# selu's two constants (Klambauer et al. 2017, arXiv:1706.02515), as in jax.nn.selu.
_SELU_SCALE = 1.0507009873554804934193349852946
_SELU_ALPHA = 1.6732632423543772848170429916717


def _indicator(condition: Array, like: Array) -> Array:
    return condition.astype(like.dtype)


def _silu_slope(x: Array, _: Array) -> Array:
    s = jax.nn.sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def _gelu_slope(x: Array, _: Array) -> Array:
    return jax.scipy.stats.norm.cdf(x) + x * jax.scipy.stats.norm.pdf(x)


# At a kink the slope is that of the flat side, as in jax.nn.relu.
_ACTIVATIONS = {
    "tanh": Activation(jnp.tanh, lambda x, y: 1.0 - y * y),
    "sigmoid": Activation(jax.nn.sigmoid, lambda x, y: y * (1.0 - y)),
    # Two functions go by this name: x/6 + 1/2 in Keras 3 and PyTorch ...
    "hard_sigmoid": Activation(
        lambda x: jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
        lambda x, y: _indicator((y > 0) & (y < 1), y) / 6.0,
    ),
    # ... and 0.2 x + 1/2 in Keras 1 and 2, Theano and ONNX's default.
    "hard_sigmoid_keras2": Activation(
        lambda x: jnp.clip(0.2 * x + 0.5, 0.0, 1.0),
        lambda x, y: _indicator((y > 0) & (y < 1), y) * 0.2,
    ),
    "hard_tanh": Activation(
        lambda x: jnp.clip(x, -1.0, 1.0), lambda x, y: _indicator(jnp.abs(y) < 1, y)
    ),
    "relu": Activation(jax.nn.relu, lambda x, y: _indicator(y > 0, y)),
    "relu6": Activation(jax.nn.relu6, lambda x, y: _indicator((y > 0) & (y < 6), y)),
    "elu": Activation(jax.nn.elu, lambda x, y: jnp.where(y > 0, jnp.ones_like(y), y + 1.0)),
    "selu": Activation(
        jax.nn.selu,
        lambda x, y: jnp.where(y > 0, jnp.full_like(y, _SELU_SCALE), y + _SELU_SCALE * _SELU_ALPHA),
    ),
    "softplus": Activation(jax.nn.softplus, lambda x, y: -jnp.expm1(-y)),
    "softsign": Activation(jax.nn.soft_sign, lambda x, y: (1.0 - jnp.abs(y)) ** 2),
    "exponential": Activation(jnp.exp, lambda x, y: y),
    "linear": Activation(lambda x: x, lambda x, y: jnp.ones_like(y)),
    "silu": Activation(jax.nn.silu, _silu_slope, needs_input=True),
    "gelu": Activation(lambda x: jax.nn.gelu(x, approximate=False), _gelu_slope, needs_input=True),
}

ACTIVATIONS = tuple(_ACTIVATIONS)

"""The functions of activations, their derivatives, and their names in other libraries.

To add an activation, add an entry to ``FUNCTIONS``, and its name to ``ActivationName``. Name a
library only if its function is the same: ``leaky_relu`` is -0.2 at -1 in Keras and -0.01 in JAX.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

Array = jax.Array

ActivationName: TypeAlias = Literal[
    "tanh",
    "sigmoid",
    "hard_sigmoid",
    "hard_sigmoid_keras2",
    "hard_tanh",
    "relu",
    "relu6",
    "leaky_relu",
    "elu",
    "selu",
    "softplus",
    "softsign",
    "exponential",
    "linear",
    "silu",
    "gelu",
]
FamilyName: TypeAlias = Literal[
    "leaky_relu", "elu", "hard_sigmoid", "thresholded_relu", "scaled_tanh", "affine"
]


class Keras(NamedTuple):
    """The names of an activation in Keras' configurations; the first is used for writing."""

    names: tuple[str, ...]
    versions: tuple[str, ...] = ("1", "2", "3")  # in which the names mean this function


class Onnx(NamedTuple):
    """An activation of ONNX's GRU with its parameters; None for parameters it does not have."""

    function: str
    alpha: float | None = None
    beta: float | None = None


class Function(NamedTuple):
    """An elementwise function ``y = f(x)``, its derivative, and its names in other libraries.

    The derivative is a function of x and y. Most are computed from y, without x and without another
    transcendental function. ``keras``, ``onnx`` and ``flax`` are None if the library lacks it.
    """

    value: Callable[[Array], Array]
    slope: Callable[[Any, Array], Array]  # of x, which is None unless needs_input, and y
    needs_input: bool = False
    keras: Keras | None = None
    onnx: Onnx | None = None
    flax: Callable[..., Array] | None = None  # the argument of Flax' cells


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


def _leaky_relu(alpha: float) -> Function:
    return Function(
        lambda x: jax.nn.leaky_relu(x, alpha),
        lambda x, y: jnp.where(
            (y if alpha > 0 else x) >= 0, jnp.ones_like(y), jnp.full_like(y, alpha)
        ),
        needs_input=alpha <= 0,  # else x and y have the same sign
        onnx=Onnx("LeakyRelu", alpha),
    )


def _elu(alpha: float) -> Function:
    return Function(
        lambda x: jax.nn.elu(x, alpha),
        lambda x, y: jnp.where((y if alpha > 0 else x) > 0, jnp.ones_like(y), y + alpha),
        needs_input=alpha <= 0,
        onnx=Onnx("Elu", alpha),
    )


def _hard_sigmoid(alpha: float, beta: float) -> Function:
    return Function(
        lambda x: jnp.clip(alpha * x + beta, 0.0, 1.0),
        lambda x, y: _indicator((y > 0) & (y < 1), y) * alpha,
        onnx=Onnx("HardSigmoid", alpha, beta),
    )


def _thresholded_relu(alpha: float) -> Function:
    return Function(
        lambda x: jnp.where(x <= alpha, jnp.zeros_like(x), x),  # NaN stays
        lambda x, y: _indicator(x > alpha, y),
        needs_input=True,
        onnx=Onnx("ThresholdedRelu", alpha),
    )


def _scaled_tanh(alpha: float, beta: float) -> Function:
    return Function(
        lambda x: alpha * jnp.tanh(beta * x),
        lambda x, y: alpha * beta * (1.0 - jnp.tanh(beta * x) ** 2),
        needs_input=True,  # as alpha may be 0
        onnx=Onnx("ScaledTanh", alpha, beta),
    )


def _affine(alpha: float, beta: float) -> Function:
    return Function(
        lambda x: alpha * x + beta,
        lambda x, y: jnp.full_like(y, alpha),
        onnx=Onnx("Affine", alpha, beta),
    )


# Functions with parameters, by their names in Activation.
FAMILIES: dict[FamilyName, Callable[..., Function]] = {
    "leaky_relu": _leaky_relu,
    "elu": _elu,
    "hard_sigmoid": _hard_sigmoid,
    "thresholded_relu": _thresholded_relu,
    "scaled_tanh": _scaled_tanh,
    "affine": _affine,
}

# At a kink, the slope is that of jax.nn: that of the flat side for relu, of the steep side for
# leaky_relu.
FUNCTIONS: dict[ActivationName, Function] = {
    "tanh": Function(
        jnp.tanh,
        lambda x, y: 1.0 - y * y,
        keras=Keras(("tanh",)),
        onnx=Onnx("Tanh"),
        flax=jnp.tanh,
    ),
    "sigmoid": Function(
        jax.nn.sigmoid,
        lambda x, y: y * (1.0 - y),
        keras=Keras(("sigmoid",)),
        onnx=Onnx("Sigmoid"),
        flax=jax.nn.sigmoid,
    ),
    # Two functions have this name: x/6 + 1/2 in Keras 3 and PyTorch,
    "hard_sigmoid": Function(
        lambda x: jnp.clip(x / 6.0 + 0.5, 0.0, 1.0),
        lambda x, y: _indicator((y > 0) & (y < 1), y) / 6.0,
        keras=Keras(("hard_sigmoid",), versions=("3",)),
        onnx=Onnx("HardSigmoid", 1 / 6, 0.5),
        flax=jax.nn.hard_sigmoid,
    ),
    # and 0.2 x + 1/2 in Keras 1 and 2, in Theano, and by default in ONNX.
    "hard_sigmoid_keras2": _hard_sigmoid(0.2, 0.5)._replace(
        keras=Keras(("hard_sigmoid",), versions=("1", "2"))
    ),
    "hard_tanh": Function(
        lambda x: jnp.clip(x, -1.0, 1.0),
        lambda x, y: _indicator(jnp.abs(y) < 1, y),
        keras=Keras(("hard_tanh",)),
        flax=jax.nn.hard_tanh,
    ),
    "relu": Function(
        jax.nn.relu,
        lambda x, y: _indicator(y > 0, y),
        keras=Keras(("relu",)),
        onnx=Onnx("Relu"),
        flax=jax.nn.relu,
    ),
    "relu6": Function(
        jax.nn.relu6,
        lambda x, y: _indicator((y > 0) & (y < 6), y),
        keras=Keras(("relu6",)),
        flax=jax.nn.relu6,
    ),
    # The slope of Keras; the default of jax.nn.leaky_relu and of ONNX is 0.01.
    "leaky_relu": _leaky_relu(0.2)._replace(keras=Keras(("leaky_relu",), versions=("3",))),
    "elu": _elu(1.0)._replace(
        keras=Keras(("elu", "celu")),  # celu with alpha 1 is the same function
        flax=jax.nn.elu,
    ),
    "selu": Function(
        jax.nn.selu,
        lambda x, y: jnp.where(y > 0, jnp.full_like(y, _SELU_SCALE), y + _SELU_SCALE * _SELU_ALPHA),
        keras=Keras(("selu",)),
        flax=jax.nn.selu,
    ),
    "softplus": Function(
        jax.nn.softplus,
        lambda x, y: -jnp.expm1(-y),
        keras=Keras(("softplus",)),
        onnx=Onnx("Softplus"),
        flax=jax.nn.softplus,
    ),
    "softsign": Function(
        jax.nn.soft_sign,
        lambda x, y: (1.0 - jnp.abs(y)) ** 2,
        keras=Keras(("softsign",)),
        onnx=Onnx("Softsign"),
        flax=jax.nn.soft_sign,
    ),
    "exponential": Function(jnp.exp, lambda x, y: y, keras=Keras(("exponential",)), flax=jnp.exp),
    "linear": Function(
        lambda x: x,
        lambda x, y: jnp.ones_like(y),
        keras=Keras(("linear",)),
        onnx=Onnx("Affine", 1.0, 0.0),
    ),
    "silu": Function(
        jax.nn.silu,
        _silu_slope,
        needs_input=True,
        keras=Keras(("silu", "swish")),
        flax=jax.nn.silu,
    ),
    # jax.nn.gelu is an approximation by tanh by default, unlike that of Keras.
    "gelu": Function(
        lambda x: jax.nn.gelu(x, approximate=False),
        _gelu_slope,
        needs_input=True,
        keras=Keras(("gelu",)),
    ),
}

# Names by ONNX function, where the function has a name.
BY_ONNX: dict[Onnx | None, ActivationName] = {
    **{f.onnx: name for name, f in FUNCTIONS.items() if f.onnx is not None},
    Onnx("ScaledTanh", 1.0, 1.0): "tanh",
    Onnx("LeakyRelu", 0.0): "relu",
    Onnx("LeakyRelu", 1.0): "linear",
    Onnx("ThresholdedRelu", 0.0): "relu",
}

"""Wrappers of optimizers: weight averaging, and decay towards the initial weights."""

from typing import Any, NamedTuple

import jax
import optax  # type: ignore[import-untyped]


class AverageState(NamedTuple):
    """The state of ``averaged``: of the optimizer and of the average, and the averaged weights."""

    optimizer: Any
    average: Any
    weights: Any


def averaged(
    optimizer: optax.GradientTransformation, average: optax.GradientTransformation
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer that also averages the weights over the steps.

    The steps are those of the optimizer. ``fit`` validates and returns the average.

    Args:
        optimizer: an Optax optimizer.
        average: an Optax transformation that averages, as ``optax.ema(0.999)``; it is applied to
            the trained weights after every step.

    >>> import optax
    >>> from jaxgru.finetune import averaged
    >>> optimizer = averaged(optax.adam(1e-3), optax.ema(0.999))

    Source: Polyak and Juditsky 1992.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def init(weights: Any) -> AverageState:
        return AverageState(optimizer.init(weights), average.init(weights), weights)

    def update(
        gradient: Any, state: AverageState, weights: Any = None, **extra: Any
    ) -> tuple[Any, AverageState]:
        updates, inner = optimizer.update(gradient, state.optimizer, weights, **extra)
        after = optax.apply_updates(weights, updates)
        mean, averaging = average.update(after, state.average, after)
        return updates, AverageState(inner, averaging, mean)

    return optax.GradientTransformationExtraArgs(init, update)


def pulled(
    optimizer: optax.GradientTransformation, strength: float
) -> optax.GradientTransformationExtraArgs:
    """Return an optimizer of the loss plus the squared distance from the initial weights.

    With ``L`` the loss, ``w`` the trained weights of the net and ``w0`` their initial values::

        L(w) + strength * sum((w - w0)^2)

    The readout of a ``Model`` is excluded. For a ``LowRank`` net, ``w`` are the factors. A line
    search uses the gradient of this sum, but the values of the loss only.

    Args:
        optimizer: an Optax optimizer.
        strength: the factor of the squared distance.

    >>> import optax
    >>> from jaxgru.finetune import pulled
    >>> optimizer = pulled(optax.adam(1e-3), 0.01)

    Source: Li et al. 2018 (arXiv:1802.01483), L2-SP.
    """

    def update(gradient: Any, start: Any, weights: Any = None) -> tuple[Any, Any]:
        net = jax.tree.map(
            lambda g, w, w0: g + (2 * strength * (w - w0)).astype(g.dtype),
            gradient.net,
            weights.net,
            start,
        )
        return gradient._replace(net=net), start

    pull = optax.GradientTransformation(lambda weights: weights.net, update)
    return optax.chain(pull, optimizer)


def average_in(optimizer_state: Any) -> Any:
    """Return the averaged weights in the state of an optimizer, or None."""
    nodes = jax.tree.leaves(optimizer_state, is_leaf=_is_average)
    return next((node.weights for node in nodes if _is_average(node)), None)


def _is_average(node: object) -> bool:
    return isinstance(node, AverageState)

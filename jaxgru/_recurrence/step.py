"""The equations of one step of a GRU, on arrays."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._activations import ActivationLike, get_activation
from jaxgru._params import GRUParams
from jaxgru._recurrence.implementation import Implementation
from jaxgru._recurrence.layout import Precision, blocks, padded, product_blocks, projections

Array = jax.Array


class Gates(NamedTuple):
    """The values inside one step: update gate z, reset gate r, candidate n, new state h.

    Each has the shape of the state, ``(..., H)``.
    """

    update: Array
    reset: Array
    candidate: Array
    h: Array


class Plan(NamedTuple):
    """The static properties of a layer: its equations, and how it is run."""

    reset_after: bool
    activation: ActivationLike
    recurrent_activation: ActivationLike
    clip: float | None
    precision: Precision
    implementation: Implementation = "scan"
    reverse: bool = False
    batch_major: bool = False  # the sequences lie as (B, T, ...) in memory: no other values
    last_only: bool = False  # return no states after each step
    gates: bool = False  # also return the gates of each step
    keep: bool = False  # the gates for the derivative, which else recomputes them from the states
    spare: int = 0  # the last units, which only fill vectors


class Weights(NamedTuple):
    """The weights of a step, with the two biases added where the equations allow it."""

    kernel: Array  # (I, 3H)
    recurrent_kernel: Array  # (H, 3H)
    bias: Array | None  # (3H,), added outside the reset gate
    candidate_bias: Array | None  # (H,), added inside the reset gate; None unless reset_after


class Step(NamedTuple):
    """The values of one step or of many, ``(..., H)`` each."""

    gates: Gates
    inside_reset: Array  # the factor of the reset gate: h Uh + ch, or h
    # The inputs of the activations before clipping: update, reset, candidate.
    preactivations: tuple[Array, Array, Array] | None

    def without_states(self) -> "Step":
        """Return the values without the new states."""
        missing: Any = None
        return self._replace(gates=self.gates._replace(h=missing))


def plan_of(params: GRUParams, precision: Precision, **how: Any) -> Plan:
    """Return the plan of a layer with the static fields of its parameters."""
    fields = (params.reset_after, params.activation, params.recurrent_activation, params.clip)
    return Plan(*fields, precision, **how)


def fold(params: GRUParams) -> Weights:
    """Return the weights of a step, arrays of the library of those given: JAX or NumPy."""
    bias, outside, inside = params.bias, params.recurrent_bias, None
    if params.reset_after and outside is not None:
        xp = np if isinstance(outside, np.ndarray) else jnp
        of_gates, inside = xp.split(outside, [2 * params.hidden_size])
        outside = xp.concatenate([of_gates, xp.zeros_like(inside)])
    if bias is None or outside is None:
        bias = outside if bias is None else bias
    else:
        bias = bias + outside
    return Weights(params.kernel, params.recurrent_kernel, bias, inside)


def with_spare_units(weights: Weights, units: int, spare: int) -> Weights:
    """Append unconnected units: their rows and columns are zero."""
    weights = jax.tree.map(lambda array: padded(array, units, spare), weights)
    kernel = jnp.pad(weights.recurrent_kernel, ((0, spare), (0, 0)))
    return weights._replace(recurrent_kernel=kernel)


def gates_suffice(params: GRUParams) -> bool:
    """Return whether the derivative can start from the gates' outputs alone."""
    names = (params.activation, params.recurrent_activation)
    return params.clip is None and not any(get_activation(name).needs_input for name in names)


def project(plan: Plan, weights: Weights, x: Array) -> list[Array]:
    """Return ``x W``, which needs no state, as three blocks ``(..., H)``."""
    return projections(x, weights.kernel, plan.precision)


def step(
    plan: Plan,
    weights: Weights,
    projected: list[Array],
    h: Array,
    factors: Array | None = None,
) -> Step:
    """Return one step, or many at once, from the projected inputs and the states before them.

    ``factors`` multiply the state in its products with the recurrent kernel (recurrent dropout).
    """
    gate = get_activation(plan.recurrent_activation).value
    candidate = get_activation(plan.activation).value
    entering = h if factors is None else along(factors, h) * h
    xz, xr, xn = projected
    if weights.bias is not None:
        bz, br, bn = blocks(weights.bias, 3)
        xz, xr, xn = xz + along(bz, xz), xr + along(br, xr), xn + along(bn, xn)
    if plan.reset_after:
        hz, hr, inside = product_blocks(entering, weights.recurrent_kernel, 3, plan.precision)
        if weights.candidate_bias is not None:
            inside = inside + along(weights.candidate_bias, inside)
        inside = without_spare(plan, inside)
    else:
        to_gates, to_candidate = split_candidate(weights.recurrent_kernel)
        hz, hr = product_blocks(entering, to_gates, 2, plan.precision)
        inside = entering
    az, ar = without_spare(plan, xz + hz), without_spare(plan, xr + hr)
    z, r = gate(clipped(az, plan.clip)), gate(clipped(ar, plan.clip))
    if plan.reset_after:
        an = xn + r * inside
    else:
        (hn,) = product_blocks(r * inside, to_candidate, 1, plan.precision)
        an = xn + hn
    an = without_spare(plan, an)
    n = candidate(clipped(an, plan.clip))
    return Step(Gates(z, r, n, z * h + (1 - z) * n), inside, (az, ar, an))


def without_spare(plan: Plan, array: Array) -> Array:
    """Return ``(..., H)`` with zeros for the spare units.

    Their weights are zero, but 0 times infinity is NaN, which products would take to all units.
    """
    if not plan.spare:
        return array
    units = jnp.arange(array.shape[-1]) < array.shape[-1] - plan.spare
    return jnp.where(along(units, array), array, jnp.zeros_like(array))


def split_candidate(kernel: Array) -> tuple[Array, Array]:
    """Split a recurrent kernel into the gates' part ``(H, 2H)`` and the candidate's ``(H, H)``."""
    units = kernel.shape[0]
    return kernel[:, : 2 * units], kernel[:, 2 * units :]


def along(vector: Array, like: Array) -> Array:
    """Repeat an array along the leading axes of another, as strict rank promotion requires."""
    return jnp.broadcast_to(vector, (*like.shape[: like.ndim - vector.ndim], *vector.shape))


def clipped(x: Array, clip: float | None) -> Array:
    """Return x limited to [-clip, clip], or x if clip is None."""
    return x if clip is None else jnp.clip(x, -clip, clip)

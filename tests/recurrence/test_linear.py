"""The linear recurrence and its transpose: against a plain loop, to second order, and mapped.

Both as a scan and, where it is installed, as the native loop.

Float64: the same sums in another order. ``check_grads`` compares with finite differences, which
are good to about the square root of the precision.
"""

import functools

import implementations
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from jaxgru._recurrence import native, scan
from jaxgru._recurrence.linear import linear
from jaxgru._recurrence.scan import Coefficients, Flags

_TIME, _ROWS, _UNITS = 3, 2, 2
_TOLERANCE = {"rtol": 1e-12, "atol": 1e-12}
_BOTH = pytest.mark.parametrize("implementation", implementations.ALL)
_CASES = pytest.mark.parametrize(
    ("before", "reverse", "flagged"),
    [(False, False, True), (True, True, True), (True, False, False)],
)


def _system(before, flagged):
    rng = np.random.default_rng(0)

    def draw(*shape):
        return jnp.asarray(0.5 * rng.standard_normal(shape))

    steps = (_TIME, _ROWS, _UNITS)
    valid = jnp.asarray(rng.random((_TIME, _ROWS)) < 0.7)[..., None]
    z, *others = (draw(*steps) for _ in range(5 if before else 4))
    if flagged:
        z, others = jnp.where(valid, z, 1.0), [jnp.where(valid, c, 0.0) for c in others]
    coefficients = Coefficients(z, *others, *([] if before else [None]))
    resets = jnp.asarray(rng.random((_TIME, _ROWS)) < 0.3)
    flags = Flags(valid[..., 0], resets) if flagged else Flags()
    factors = draw(_ROWS, _UNITS) if flagged else None
    return coefficients, draw(3 * _UNITS, _UNITS), draw(*steps), draw(_ROWS, _UNITS), flags, factors


def _looped(coefficients, transposed_kernel, forcing, dh, flags, factors, reverse):
    """Return the last state and all, one sequence and one step at a time."""
    kernel = np.asarray(transposed_kernel).T
    z, a, b, c, r = coefficients
    uz, ur, uh = np.split(kernel, 3, axis=1)
    dhs = np.zeros_like(forcing)
    dh = np.array(dh)
    for t in reversed(range(_TIME)) if reverse else range(_TIME):
        for row in range(_ROWS):
            one = dh[row]
            if flags.resets is not None and flags.resets[t, row]:
                one = 0 * one
            entering = one if factors is None else one * np.asarray(factors)[row]
            at = (t, row)
            if r is None:
                new = c[at] * (entering @ uh) + b[at] * (entering @ ur)
            else:
                new = c[at] * ((r[at] * entering + b[at] * (entering @ ur)) @ uh)
            dh[row] = z[at] * one + a[at] * (entering @ uz) + new + forcing[at]
        dhs[t] = dh
    return dh, dhs


@_BOTH
@_CASES
def test_values(x64, before, reverse, flagged, implementation):
    system = _system(before, flagged)
    found = linear(*system, None, reverse=reverse, implementation=implementation)
    for one, other in zip(found, _looped(*system, reverse), strict=True):
        np.testing.assert_allclose(one, other, **_TOLERANCE)


@_BOTH
@_CASES
def test_the_transpose(x64, before, reverse, flagged, implementation):
    coefficients, kernel, forcing, dh, flags, factors = _system(before, flagged)

    def run(forcing, dh):
        return scan.linear(coefficients, kernel, forcing, dh, flags, factors, None, reverse=reverse)

    cotangents = (dh + 1, forcing - 1)
    loops = {"scan": scan, "native": native}[implementation]
    of_dh, of_forcing = loops.transposed(
        coefficients, kernel, cotangents[1], cotangents[0], flags, factors, None, reverse=reverse
    )
    # The oracle is JAX's own transpose of the loop.
    expected = jax.linear_transpose(run, forcing, dh)(cotangents)
    np.testing.assert_allclose(of_forcing, expected[0], **_TOLERANCE)
    np.testing.assert_allclose(of_dh, expected[1], **_TOLERANCE)


@pytest.mark.slow
@_BOTH
@_CASES
def test_derivatives_to_second_order(x64, before, reverse, flagged, implementation):
    coefficients, *differentiable, flags, factors = _system(before, flagged)

    @jax.jit
    def run(coefficients, *rest):
        static = {"reverse": reverse, "implementation": implementation}
        return linear(coefficients, *rest, flags, factors, None, **static)

    if flagged:
        # At held steps the coefficients are the constants 1 and 0: they are no arguments.
        run, arguments = functools.partial(run, coefficients), tuple(differentiable)
    else:
        arguments = (coefficients, *differentiable)
    check_grads(run, arguments, order=2, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@_BOTH
@pytest.mark.parametrize("mapped_kernel", [False, True])
def test_mapped(x64, mapped_kernel, implementation):
    one = _system(False, True)
    other = jax.tree.map(lambda x: ~x if x.dtype == bool else 2 * x, one)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), one, other)
    if not mapped_kernel:
        other, stacked = ((system[0], one[1], *system[2:]) for system in (other, stacked))
    axes = (0, 0 if mapped_kernel else None, 0, 0, 0, 0)

    def loss(*system):
        last, dhs = linear(*system, None, reverse=False, implementation=implementation)
        return (last**2).sum() + (dhs**3).sum()

    each_alone = jax.jit(jax.value_and_grad(loss, argnums=(1, 2, 3)))
    together = jax.jit(jax.vmap(each_alone, in_axes=axes))(*stacked)
    for i, system in enumerate((one, other)):
        alone = each_alone(*system)
        jax.tree.map(
            lambda all_, each, i=i: np.testing.assert_allclose(all_[i], each, **_TOLERANCE),
            together,
            alone,
        )

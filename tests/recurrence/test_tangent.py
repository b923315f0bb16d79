"""The linear recurrence against a plain loop; the tangent and the pullback to second order, mapped.

Both as a scan and, where they are installed, as the native loops.

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

from jaxgru._recurrence import linear, native, scan
from jaxgru._recurrence.linear import Kept, Tangents
from jaxgru._recurrence.scan import Coefficients, Flags, Operands
from jaxgru._recurrence.step import Plan, Weights
from jaxgru._recurrence.tangent import tangent

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
    loop = {"scan": scan.linear, "native": native.linear}[implementation]
    found = loop(*system, None, reverse=reverse)
    for one, other in zip(found, _looped(*system, reverse), strict=True):
        np.testing.assert_allclose(one, other, **_TOLERANCE)


@_CASES
def test_the_transposed_loop(x64, before, reverse, flagged):
    coefficients, kernel, forcing, dh, flags, factors = _system(before, flagged)

    def run(forcing, dh):
        return scan.linear(coefficients, kernel, forcing, dh, flags, factors, None, reverse=reverse)

    of_dh, of_forcing = scan.transposed(
        coefficients, kernel, forcing - 1, dh + 1, flags, factors, None, reverse=reverse
    )
    # The oracle is JAX's own transpose of the loop.
    expected = jax.linear_transpose(run, forcing, dh)((dh + 1, forcing - 1))
    np.testing.assert_allclose(of_forcing, expected[0], **_TOLERANCE)
    np.testing.assert_allclose(of_dh, expected[1], **_TOLERANCE)


def _run(before, reverse, flagged, implementation, rows=_ROWS):
    """Return the plan of a layer, what a run of it leaves, and tangents."""
    rng = np.random.default_rng(1)

    def draw(*shape):
        return jnp.asarray(0.5 * rng.standard_normal(shape))

    def weights():
        inside = None if before else draw(_UNITS)
        return Weights(draw(3, 3 * _UNITS), draw(_UNITS, 3 * _UNITS), draw(3 * _UNITS), inside)

    plan = Plan(not before, "tanh", "sigmoid", None, None, implementation, reverse, gates=True)
    state, steps = (rows, _UNITS), (_TIME, rows, _UNITS)
    flags, reset_to, factors = Flags(), None, None
    if flagged:
        valid, resets = (jnp.asarray(rng.random(steps[:2]) < share) for share in (0.7, 0.3))
        flags, reset_to, factors = Flags(valid, resets), draw(*state), draw(*state)
    operands = Operands(weights(), draw(_TIME, rows, 3), draw(*state), reset_to, flags, factors)
    _, all_ = scan.forward(plan, operands)
    dreset_to = draw(*state) if flagged else None
    moved = Tangents(weights(), draw(_TIME, rows, 3), draw(*state), dreset_to, draw(*steps))
    return plan, Kept(operands, all_.gates.h, all_), moved


@_BOTH
@_CASES
def test_the_pullback(x64, before, reverse, flagged, implementation):
    plan, kept, tangents = _run(before, reverse, flagged, implementation)
    # The oracle is JAX's own transpose of the tangent as a scan.
    as_scan = functools.partial(linear.tangent, scan.linear, plan, 0, kept)
    last, all_ = as_scan(tangents)
    (expected,) = jax.linear_transpose(as_scan, tangents)((last, all_))
    _, pull = jax.vjp(functools.partial(tangent, plan, kept), tangents)
    (found,) = pull((last, all_))
    jax.tree.map(functools.partial(np.testing.assert_allclose, **_TOLERANCE), found, expected)


@pytest.mark.slow
@_BOTH
@_CASES
def test_derivatives_to_second_order(x64, before, reverse, flagged, implementation):
    plan, kept, tangents = _run(before, reverse, flagged, implementation)
    leaves, tree = jax.tree.flatten(kept)
    numbers = [i for i, leaf in enumerate(leaves) if leaf.dtype != bool]

    @jax.jit
    def run(values, tangents):
        given = list(leaves)
        for i, value in zip(numbers, values, strict=True):
            given[i] = value
        return tangent(plan, jax.tree.unflatten(tree, given), tangents)

    values = [leaves[i] for i in numbers]
    check_grads(run, (values, tangents), order=2, modes=("fwd", "rev"), atol=1e-5, rtol=1e-5)


@_BOTH
@pytest.mark.parametrize("mapped", ["weights", "tangents", "all but the weights"])
def test_mapped(x64, mapped, implementation):
    plan, kept, tangents = _run(True, False, True, implementation)
    twice = jax.tree.map(lambda x: ~x if x.dtype == bool else 2 * x, (kept, tangents))
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), (kept, tangents), twice)
    shared, moving = (kept, stacked[1]), (None, 0)
    if mapped == "weights":
        shared, moving = stacked, (0, 0)
    elif mapped != "tangents":
        operands = stacked[0].operands._replace(weights=kept.operands.weights)
        shared = (stacked[0]._replace(operands=operands), stacked[1])
        moving = (Kept(Operands(None, *[0] * 5), 0, 0), 0)

    def loss(kept, tangents):
        last, all_ = tangent(plan, kept, tangents)
        return (last**2).sum() + (all_**3).sum()

    each_alone = jax.jit(jax.value_and_grad(loss, argnums=1))
    if mapped == "weights" and implementation == "native":
        with pytest.raises(ValueError, match="expected weights without a mapped axis"):
            jax.jit(jax.vmap(each_alone, in_axes=moving))(*shared)
        return
    together = jax.jit(jax.vmap(each_alone, in_axes=moving))(*shared)
    for i in range(2):
        kept_i = kept if mapped == "tangents" else jax.tree.map(lambda x, i=i: x[i], stacked[0])
        if mapped == "all but the weights":
            operands = kept_i.operands._replace(weights=kept.operands.weights)
            kept_i = kept_i._replace(operands=operands)
        alone = each_alone(kept_i, jax.tree.map(lambda x, i=i: x[i], stacked[1]))
        jax.tree.map(
            lambda all_, each, i=i: np.testing.assert_allclose(all_[i], each, **_TOLERANCE),
            together,
            alone,
        )

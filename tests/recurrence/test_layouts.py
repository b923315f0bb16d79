"""However a loop is laid out, and whatever is kept for its derivative, the results are the same.

To second order, against autodiff of a plain loop: the states, and the last state alone.
"""

from typing import NamedTuple

import cases
import jax
import jax.numpy as jnp
import pytest
from plain_loop import plain_loop
from second_order import assert_equal_to_second_order

from jaxgru import recurrence
from jaxgru.recurrence import layout as schedule

_TIME = 5


class Layout(NamedTuple):
    """What a layout follows from; ``chunk`` and ``wide`` replace the limits in layout.py."""

    rows: int = 9
    inputs: int = 2
    units: int = 5
    reverse: bool = False
    remat: int | str | None = None
    chunk: int | None = None
    wide: int | None = None


# 9 rows of 5 and 3 spare units at each step, so that a chunk is 2 of the 5 steps.
_IN_CHUNKS = 2 * 72

_LAYOUTS = {
    "spare units": Layout(),
    "no spare unit": Layout(units=15, reverse=True),
    "products written out": Layout(rows=2),
    "inputs projected before": Layout(rows=2, inputs=9, reverse=True),
    "in chunks": Layout(chunk=_IN_CHUNKS),
    "in chunks, backwards": Layout(chunk=_IN_CHUNKS, reverse=True),
    "gates kept": Layout(wide=1),
    "gates kept, in chunks, backwards": Layout(wide=1, chunk=_IN_CHUNKS, reverse=True),
    "nothing kept but the states": Layout(wide=1, remat="states", reverse=True),
    "every state kept": Layout(remat=1),
    "every second state kept": Layout(wide=1, remat=2, reverse=True),
    "every third state kept, in chunks": Layout(remat=3, chunk=_IN_CHUNKS),
    "no state kept but the first": Layout(remat=_TIME),
}


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("layout", _LAYOUTS.values(), ids=_LAYOUTS)
def test_layout(key, x64, monkeypatch, layout, reset_after):
    _check(key, monkeypatch, layout, reset_after=reset_after)


@pytest.mark.parametrize(
    "variant",
    [
        {"activation": "softplus", "recurrent_activation": "hard_sigmoid"},
        # These need what went into the activation, so that the gates' outputs do not suffice.
        {"activation": "silu"},
        {"clip": 0.5},
    ],
    ids=str,
)
def test_gates_are_kept_where_they_suffice(key, x64, monkeypatch, variant):
    _check(key, monkeypatch, Layout(wide=1), **variant)


def _check(key, monkeypatch, layout, **variant):
    if layout.chunk is not None:
        monkeypatch.setattr(schedule, "_CHUNK", layout.chunk)
        assert schedule.chunk_steps(_TIME, (layout.rows, 8)) == 2
    if layout.wide is not None:
        monkeypatch.setattr(schedule, "_WIDE", layout.wide)
        assert schedule.keeps_gates(layout.inputs, layout.units)
    params = cases.random_params(key, layout.inputs, layout.units, dtype=jnp.float64, **variant)
    shapes = (layout.rows, _TIME, layout.inputs), (layout.rows, layout.units)
    xs, h0 = (
        cases.random_inputs(jax.random.fold_in(key, i), shape, jnp.float64)
        for i, shape in enumerate(shapes)
    )

    # Called below jaxgru.gru, whose compiled programs know nothing of the replaced limits.
    def found(arguments):
        params, xs, h0 = arguments
        last, ys = recurrence.states(
            params, jnp.swapaxes(xs, 0, 1), h0, reverse=layout.reverse, remat=layout.remat
        )
        return jnp.swapaxes(ys, 0, 1), last

    expected = _backwards if layout.reverse else _forwards
    assert_equal_to_second_order(key, found, expected, (params, xs, h0))


def _forwards(arguments):
    return plain_loop(*arguments)


def _backwards(arguments):
    return plain_loop(*arguments, reverse=True)

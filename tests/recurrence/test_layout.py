"""However a scan is laid out by the sizes, the results are the same, and so is what it costs.

Values and gradients are compared with a plain loop over the oracle's equations; the program's size,
what it leaves out and the memory it needs are read from the compiler.
"""

import functools
import re

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_loop import gradient, plain_loop

import jaxgru
from jaxgru._recurrence import layer as layer_module
from jaxgru._recurrence import layout

_scan = functools.partial(jaxgru.gru, implementation="scan")

# Rows, time, inputs, units at which a layout changes: within one vector of eight and beyond it; so
# many inputs or units that the gates are kept; so many numbers that time is cut into chunks and a
# rest; so many steps that several are compiled as one, and a rest.
_SIZES = [
    (8, 3, 8, 8),
    (8, 3, 9, 8),
    (1, 3, 2, 9),
    (3, 2, 2, 33),
    (2, 2, 390, 4),
    (2, 2, 3, 390),
    (256, 71, 2, 32),
    (1, 515, 2, 6),
]


@pytest.mark.parametrize("number", range(len(_SIZES)), ids=map(str, _SIZES))
def test_equals_a_plain_loop(key, x64, number):
    rows, time, inputs, units = _SIZES[number]
    placement = {"reset_after": number % 2 == 0, "dtype": jnp.float64}
    keys = jax.random.split(key, 5)
    shapes = [(rows, time, inputs), (rows, units), (rows, time, units), (rows, units)]
    xs, h0, *weights = (
        cases.random_inputs(k, shape, jnp.float64) for k, shape in zip(keys, shapes, strict=False)
    )
    params = cases.random_params(keys[4], inputs, units, **placement)
    # Many inputs or units would saturate every gate.
    params = jax.tree.map(lambda leaf: 4 * leaf / (inputs + units) ** 0.5, params)

    arguments = (params, xs, h0)

    def run(layer, arguments):
        return layer(*arguments, reverse=time == 71)

    @jax.jit
    def outputs_and_gradient(arguments):
        outputs, pullback = jax.vjp(functools.partial(run, jaxgru.gru), arguments)
        return outputs, pullback(tuple(weights))[0]

    outputs, found = outputs_and_gradient(arguments)
    # Double precision, sums over up to 18000 steps and rows in another order.
    close = functools.partial(chex.assert_trees_all_close, rtol=1e-9, atol=1e-9)
    plain, arguments = functools.partial(run, plain_loop), jax.tree.map(np.asarray, arguments)
    close(outputs, plain(arguments))
    close(found, gradient(plain, arguments, [np.asarray(weight) for weight in weights]))


# Small enough for one chunk of time at any length (so many steps that a compiled loop of few units
# holds several, and a multiple of these), and so large that there are several chunks.
@pytest.mark.parametrize(("rows", "units", "times"), [(2, 4, (512, 10_000)), (256, 32, (96, 960))])
def test_program_does_not_grow_with_time(key, rows, units, times):
    params = cases.random_params(key, 3, units)

    def value(params, xs):
        return _scan(params, xs, reverse=True)[0].sum()

    def text_without_digits(function, time):
        xs = jax.ShapeDtypeStruct((rows, time, 3), jnp.float32)
        return re.sub(r"\d+", "#", _text(function, params, xs))

    for function in (value, jax.grad(value)):
        short, long = (text_without_digits(function, time) for time in times)
        assert short == long


@pytest.mark.parametrize(
    ("time", "state", "steps"),
    [
        (4096, (1, 128), 4096),  # within the limit of a whole
        (4097, (1, 128), 512),
        (256, (32, 128), 16),
        (100_000, (1, 64), 1000),  # without a remainder
        (128, (64, 512), 32),  # for the size of the kernels
        (300, (1, 2048), 300),
        (2, (2**18, 2), 1),
        (0, (3, 4), 0),
        (5, (0, 4), 5),
    ],
)
def test_steps_of_a_chunk(time, state, steps):
    assert layout.chunk_steps(time, state) == steps


def test_limits_of_the_layout_act(key, monkeypatch):
    # Else what test_matrix.py sets them to would show nothing.
    params, xs = cases.random_params(key, 3, 7), jnp.zeros((3, 11, 3))

    def gradient(params, xs):
        return jax.grad(lambda params: _scan(params, xs)[0].sum())(params)

    usual = _text(gradient, params, xs)
    for module, name, value in (
        (layer_module, "chunk_steps", lambda time, _: min(time, 2)),
        (layout, "_WIDE", 1),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            jax.clear_caches()
            assert _text(gradient, params, xs) != usual
        jax.clear_caches()


def test_padding_is_left_out_of_the_program(key, monkeypatch):
    # No other test has these sizes, so nothing compiled is used again.
    rows, units = 3, 41
    monkeypatch.setattr(layer_module, "chunk_steps", lambda time, _: min(time, 4))
    params, xs = cases.random_params(key, 3, units), jnp.zeros((rows, 23, 3))
    lengths = jnp.asarray([9, 0, 6])
    assert "stablehlo.case" in _text(lambda xs: _scan(params, xs, lengths=lengths), xs)
    assert "stablehlo.case" not in _text(lambda xs: _scan(params, xs), xs)


def _text(function, *arguments):
    return jax.jit(function).lower(*arguments).as_text()


_BATCH, _UNITS = 8, 64
_SHORT, _LONG = 4096, 8192  # both longer than what is projected at once
_STATES = 4 * _BATCH * _UNITS * (_LONG - _SHORT)  # bytes


def test_the_last_state_alone_keeps_no_others():
    def last(params, xs):
        return _scan(params, xs, return_sequences=False)

    # The inputs may be copied, 4 for 64 units.
    assert _growth(last) < _STATES / 4
    assert _growth(_scan) >= _STATES


def test_its_gradient_keeps_a_state_for_each_segment():
    def gradient(params, xs, remat):
        def value(params):
            return (_scan(params, xs, return_sequences=False, remat=remat)[0] ** 2).sum()

        return jax.grad(value)(params)

    assert _growth(lambda params, xs: gradient(params, xs, 256)) < _STATES / 4
    assert _growth(lambda params, xs: gradient(params, xs, None)) >= _STATES


def _growth(function):
    """Return the bytes that a function of params and xs needs more for more steps."""
    params = jaxgru.init(jax.random.key(0), 4, _UNITS)
    used = []
    for time in (_SHORT, _LONG):
        xs = jax.ShapeDtypeStruct((_BATCH, time, 4), jnp.float32)
        compiled = jax.jit(function).lower(params, xs).compile()
        sizes = compiled.memory_analysis()
        used.append(sizes.temp_size_in_bytes + sizes.output_size_in_bytes)
    return used[1] - used[0]

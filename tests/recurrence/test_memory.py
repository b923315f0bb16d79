"""What is kept in memory, by the compiler's own account."""

import jax
import jax.numpy as jnp
import pytest

import jaxgru

_BATCH, _UNITS = 8, 64
_SHORT, _LONG = 4096, 8192  # both longer than what is projected at once
_STATES = 4 * _BATCH * _UNITS * (_LONG - _SHORT)  # bytes


@pytest.fixture(scope="module")
def params():
    return jaxgru.init(jax.random.key(0), 4, _UNITS)


def test_the_last_state_alone_keeps_no_others(params):
    def last(params, xs):
        return jaxgru.gru(params, xs, return_sequences=False)

    # The inputs may be copied, 4 for 64 units.
    assert _growth(last, params) < _STATES / 4
    assert _growth(jaxgru.gru, params) >= _STATES


def test_its_gradient_keeps_a_state_for_each_segment(params):
    def gradient(params, xs, remat):
        def value(params):
            return (jaxgru.gru(params, xs, return_sequences=False, remat=remat)[0] ** 2).sum()

        return jax.grad(value)(params)

    assert _growth(lambda params, xs: gradient(params, xs, 256), params) < _STATES / 4
    assert _growth(lambda params, xs: gradient(params, xs, None), params) >= _STATES


def _growth(function, params):
    """Return the bytes that a function of params and xs needs more for more steps."""
    used = []
    for time in (_SHORT, _LONG):
        xs = jax.ShapeDtypeStruct((_BATCH, time, 4), jnp.float32)
        sizes = jax.jit(function).lower(params, xs).compile().memory_analysis()
        used.append(sizes.temp_size_in_bytes + sizes.output_size_in_bytes)
    return used[1] - used[0]

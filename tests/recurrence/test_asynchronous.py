"""Long native calls: XLA starts them in another thread, and whoever waits can be interrupted.

XLA runs a program in the thread of its caller if it estimates fewer than 1,000 operations; that
estimate is what ``cost_analysis`` returns.
"""

import signal

import cases
import jax
import pytest

import jaxgru
from jaxgru._recurrence import library

pytestmark = pytest.mark.skipif(
    library.native().reason is not None, reason=str(library.native().reason)
)

_THRESHOLD = 1000


def _last(params, xs):
    return jaxgru.gru(params, xs, return_sequences=False, implementation="native")[0]


def _case(key, steps, batch=()):
    return cases.random_params(key, 3, 5), cases.random_inputs(key, (*batch, steps, 3))


def _pulled(params, xs):
    return jax.vjp(_last, params, xs)[1](jax.numpy.ones(5))


def _pushed(params, xs):
    return jax.jvp(_last, (params, xs), (params, xs))


def _within(params, xs):
    return jax.lax.map(lambda xs: _last(params, xs), xs[None])


_PROGRAMS = {
    "alone": (_last, ()),
    "in a loop": (_within, ()),
    "mapped": (jax.vmap(_last, in_axes=(None, 0)), (2,)),
    "tangent": (_pushed, ()),
    "pullback": (_pulled, ()),
}


@pytest.mark.parametrize("name", _PROGRAMS)
def test_a_long_call_is_estimated_as_work(name, key):
    function, batch = _PROGRAMS[name]
    compiled = jax.jit(function).lower(*_case(key, 20_000, batch)).compile()
    assert compiled.cost_analysis()["flops"] >= _THRESHOLD


def test_a_short_call_runs_in_the_thread_of_its_caller(key):
    compiled = jax.jit(_last).lower(*_case(key, 100)).compile()
    assert compiled.cost_analysis()["flops"] < _THRESHOLD


def test_a_long_call_returns_before_its_result_is_there(key):
    params, xs = _case(key, 1_000_000)
    run = jax.jit(_last)
    run(params, xs).block_until_ready()
    h = run(params, xs)
    assert not h.is_ready()
    h.block_until_ready()


def test_waiting_for_a_long_call_can_be_interrupted(key):
    params, xs = jax.block_until_ready(_case(key, 4_000_000))
    h = jax.jit(_last)(params, xs)
    assert not h.is_ready()
    previous = signal.signal(signal.SIGALRM, signal.default_int_handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-3)
        with pytest.raises(KeyboardInterrupt):
            h.block_until_ready()
        assert not h.is_ready()
    finally:
        signal.signal(signal.SIGALRM, previous)
    h.block_until_ready()

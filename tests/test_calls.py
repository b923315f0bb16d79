"""Calls of ``gru``: how many functions of the package run, and what of their checks is kept."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from tests.support.cases import random_inputs, random_params

ROOT = str(Path(jaxgru.__file__).parent)
PARAMS = random_params(jax.random.key(0), 3, 5)


def functions_called(function):
    """Return the functions of jaxgru that run, as file and name, outermost first."""
    stacks = []

    def profile(frame, event, _):
        if event == "call" and frame.f_code.co_filename.startswith(ROOT):
            stack = []
            while frame is not None:
                if frame.f_code.co_filename.startswith(ROOT):
                    stack.append((frame.f_code.co_filename, frame.f_code.co_name))
                frame = frame.f_back
            stacks.append(stack[::-1])

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return stacks


def test_few_functions_run():
    jax.clear_caches()
    # A shape that no other test has, so that the first call is one.
    xs = random_inputs(jax.random.key(1), (2, 23, 3))

    def call():
        jaxgru.gru(PARAMS, xs, implementation="scan")

    first, again = functions_called(call), functions_called(call)
    ways = [stack for stack in first if stack[-1][1] == "step"]
    assert ways
    for way in ways:
        assert way[0][1] == "gru"
        assert len(way) <= 9
        assert len({file for file, _ in way}) <= 5
    assert len({stack[-1] for stack in first if "<" not in stack[-1][1]}) <= 66
    assert len({stack[-1] for stack in again}) <= 8


def test_other_values_of_the_same_shape_are_checked():
    xs, lengths = random_inputs(jax.random.key(1), (2, 7, 3)), jnp.array([7, 4])
    jaxgru.gru(PARAMS, xs, lengths=lengths, remat=1)
    with pytest.raises(ValueError, match=r"^lengths\[1\] is 8: expected 0 to 7"):
        jaxgru.gru(PARAMS, xs, lengths=lengths.at[1].set(8))
    for remat in (True, 1.0, 8):
        with pytest.raises(ValueError, match=f"^remat is {remat}: "):
            jaxgru.gru(PARAMS, xs, lengths=lengths, remat=remat)
    with pytest.raises(ValueError, match=r"^mask has dtype int8: "):
        jaxgru.gru(PARAMS, xs, mask=jnp.ones((2, 7), jnp.int8))
    jaxgru.gru(PARAMS, xs, mask=jnp.ones((2, 7), bool))
    with pytest.raises(ValueError, match=r"^mask has dtype int8: "):
        jaxgru.gru(PARAMS, xs, mask=jnp.ones((2, 7), jnp.int8))


def test_other_kinds_of_the_same_shape_are_checked():
    xs = np.ones((2, 7, 3), np.float32)
    jaxgru.gru(PARAMS, xs)
    with pytest.raises(ValueError, match=r"^xs is a numpy.MaskedArray: "):
        jaxgru.gru(PARAMS, np.ma.masked_array(xs))
    with pytest.raises(ValueError, match=r"^xs is a list: "):
        jaxgru.gru(PARAMS, xs.tolist())
    assert jaxgru.gru((PARAMS,), xs)[1][0].shape == (2, 5)
    assert jaxgru.gru([PARAMS], xs)[1][0].shape == (2, 5)
    with pytest.raises(ValueError, match=r"^net is a dict: "):
        jaxgru.gru({"a": PARAMS}, xs)
    with pytest.raises(ValueError, match=r"^h0 is a single array of shape \(5,\): "):
        jaxgru.gru((PARAMS,), xs, jnp.zeros(5))


def test_rules_of_types_are_those_of_the_call():
    xs = random_inputs(jax.random.key(1), (2, 7, 3), jnp.bfloat16)
    wide = random_params(jax.random.key(0), 3, 5)
    with jax.numpy_dtype_promotion("standard"):
        jaxgru.gru(wide, xs)
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), PARAMS)
        assert jaxgru.gru(wide, np.ones((7, 3)))[0].dtype == np.float64
        with jax.numpy_dtype_promotion("standard"):
            assert jaxgru.gru(wide, np.ones((7, 3), np.float32))[0].dtype == np.float64
        with (
            jax.numpy_dtype_promotion("strict"),
            pytest.raises(ValueError, match=r"^xs has dtype float32: expected float64"),
        ):
            jaxgru.gru(wide, np.ones((7, 3), np.float32))
    with jax.enable_x64(False):
        assert jaxgru.gru(wide, np.ones((7, 3)))[0].dtype == np.float32

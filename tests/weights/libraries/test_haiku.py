"""Haiku's own layers, in memory and in files of their parameters, against ours; and back."""

import dataclasses

import cases
import jax
import live_haiku
import live_params
import numpy as np
import pytest

import jaxgru

pytest.importorskip("haiku")

# Haiku is written for JAX's own promotion.
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

# float32 on both sides and states within 1: each step rounds at 6e-8 and forgets what is behind
# it, so that 50 steps differ by some roundings more than one does.
_ATOL = 2e-6


def test_the_update_gate_is_the_complement_to_the_bit(key):
    params = live_haiku.build("layer", key).params
    net = jaxgru.from_haiku(params)
    assert not net.reset_after
    assert net.recurrent_bias is None
    units = live_haiku.UNITS
    for array, theirs in zip(jax.tree.leaves(net), ("w_i", "w_h", "b"), strict=True):
        np.testing.assert_array_equal(array[..., :units], -params["gru"][theirs][..., :units])
        np.testing.assert_array_equal(array[..., units:], params["gru"][theirs][..., units:])


def test_files_hold_what_memory_holds(key, tmp_path):
    pytest.importorskip("flax")
    params = live_haiku.build("stack", key).params
    for name in ("x.msgpack", "x.npz", "x.safetensors"):
        live_params.write(params, tmp_path / name)
    for path in tmp_path.iterdir():
        for name, net in jaxgru.load_all(path).items():
            expected = jaxgru.from_haiku(params, layer=name)
            jax.tree.map(np.testing.assert_array_equal, net, expected)


def test_two_biases_become_one_only_without_rounding(key):
    net = cases.random_params(key, 3, 4, reset_after=False)
    with pytest.raises(jaxgru.WeightsError, match="both non-zero in 12 of 12 places"):
        jaxgru.to_haiku(net)
    moved = jaxgru.to_haiku(dataclasses.replace(net, bias=None), name="net/~/gru")
    np.testing.assert_array_equal(moved["net/~/gru"]["b"][4:], net.recurrent_bias[4:])
    np.testing.assert_array_equal(moved["net/~/gru"]["b"][:4], -net.recurrent_bias[:4])


_REFUSED = {
    "reset after": ({"reset_after": True}, "reset_after is True: expected False, as Haiku's GRU"),
    "activation": ({"activation": "relu"}, "activation is 'relu': expected 'tanh'"),
    "gates": ({"recurrent_activation": "hard_sigmoid"}, "expected 'sigmoid', as Haiku's GRU"),
    "clip": ({"clip": 1.0}, r"clip is 1\.0: expected None"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_haiku_cannot_hold_is_refused(key, name):
    variant, reason = _REFUSED[name]
    variant = {"biases": "input bias", "reset_after": False} | variant
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.to_haiku(cases.random_params(key, 3, 4, **variant))


def test_double_precision_without_x64_is_rounded_aloud(key):
    net = cases.random_params(key, 3, 4, reset_after=False, biases="input bias")
    net = jax.tree.map(lambda array: np.asarray(array, np.float64), net)
    with pytest.warns(jaxgru.WeightsWarning, match="were rounded from float64 to float32") as told:
        jaxgru.to_haiku(net)
    assert told[0].filename == __file__


def test_directions_are_refused(key):
    params = cases.random_params(key, 3, 4, reset_after=False, biases="input bias")
    with pytest.raises(jaxgru.WeightsError, match="net is a Backward: expected a GRUParams"):
        jaxgru.to_haiku(jaxgru.Backward(params))


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (None, "params is a NoneType: expected a dict of modules"),
        ({"linear": {"w": np.ones((2, 2)), "b": np.ones(2)}}, "params holds no GRU"),
        (
            {"gru": {"w_i": np.ones((3, 10)), "w_h": np.ones((4, 12)), "b": np.ones(12)}},
            r"gru/w_i has shape \(3, 10\): expected \(I, 3H\) for 4 units",
        ),
        (
            {"gru": {"w_i": np.ones((3, 12), int), "w_h": np.ones((4, 12)), "b": np.ones(12)}},
            "gru/w_i has dtype int64: expected floating-point numbers",
        ),
        (
            {"gru": {"w_i": np.ones((3, 12), "f4"), "w_h": np.ones((4, 12)), "b": np.ones(12)}},
            "is float64 and gru/w_i float32: expected one dtype",
        ),
    ],
)
def test_what_is_no_gru_of_haiku_is_refused(params, reason):
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.from_haiku(params)

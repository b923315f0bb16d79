"""Haiku's GRU in memory, by its documentation; its own numbers are in test_formats_tables.py."""

import cases
import jax
import numpy as np
import pytest
from equal import assert_same

import jaxgru

_SHAPES = {"w_i": (3, 12), "w_h": (4, 12), "b": (12,)}


def _params(**changed):
    """Return random parameters, with some arrays replaced."""
    rng = np.random.default_rng(0)
    held = {name: rng.normal(size=shape).astype("f4") for name, shape in _SHAPES.items()}
    return {"gru": held | changed}


def test_the_update_gate_is_the_complement_to_the_bit():
    params = _params()["gru"]
    net = jaxgru.from_haiku({"gru": params})
    assert not net.reset_after
    assert net.recurrent_bias is None
    for array, theirs in zip(jax.tree.leaves(net), params.values(), strict=True):
        np.testing.assert_array_equal(array[..., :4], -theirs[..., :4])
        np.testing.assert_array_equal(array[..., 4:], theirs[..., 4:])
    assert_same(jax.tree.map(np.asarray, jaxgru.to_haiku(net)), {"gru": params})


def test_several_by_the_names_of_their_modules():
    params = _params() | {"gru_1": _params()["gru"]}
    with pytest.raises(jaxgru.WeightsError, match="2 GRUs: expected layer=, one of 'gru', 'gru_1'"):
        jaxgru.from_haiku(params)
    assert_same(jaxgru.from_haiku(params, layer="gru_1"), jaxgru.from_haiku(_params()))


def test_double_precision_without_x64_is_rounded_aloud(key):
    net = cases.random_params(key, 3, 4, reset_after=False, biases="input bias")
    net = jax.tree.map(lambda array: np.asarray(array, np.float64), net)
    with pytest.warns(
        jaxgru.WeightsWarning, match="were rounded from float64 to float32"
    ) as caught:
        jaxgru.to_haiku(net)
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    ("params", "reason"),
    [
        (None, "a NoneType has no GRU of Haiku: expected a module with w_i, w_h and b"),
        ({"linear": {"w": np.ones((2, 2)), "b": np.ones(2)}}, "a dict has no GRU of Haiku"),
        (
            _params(w_i=np.ones((3, 10), "f4")),
            r"gru/w_i has shape \(3, 10\): expected \(I, 3H\) for 4 units",
        ),
        (
            _params(w_i=np.ones((3, 12), int)),
            "gru/w_i has dtype int64: expected floating-point numbers",
        ),
        (_params(w_h=np.ones((4, 12))), "is float64 and gru/b float32: expected one dtype"),
    ],
)
def test_what_is_no_gru_of_haiku_is_refused(params, reason):
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.from_haiku(params)

"""Arrays in the order of Keras' ``get_weights`` to ``GRUParams`` and back bit-for-bit."""

import dataclasses

import golden_keras_legacy as golden
import numpy as np
import pytest
from equal import assert_same

from jaxgru._weights.defaults import Fields
from jaxgru._weights.io import WeightsError
from jaxgru._weights.libraries.keras.arrays import (
    Cell,
    GRULayer,
    cell_from_arrays,
    join_gates,
    to_arrays,
    to_params,
)


def _net(*, reset_after=True, **fields):
    return dataclasses.replace(golden.random_net(1, reset_after=reset_after), **fields)


def _cell(net):
    has_bias = net.bias is not None or net.recurrent_bias is not None
    fields = net.activation, net.recurrent_activation, has_bias, net.reset_after
    return Cell(net.hidden_size, *fields)


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("reset_after", [True, False])
def test_there_and_back(reset_after, use_bias):
    none = {} if use_bias else {"bias": None, "recurrent_bias": None}
    net = _net(reset_after=reset_after, activation="relu", **none)
    arrays = to_arrays(net)
    assert [array.shape for array in arrays[2:]] == [(2, 12) if reset_after else (12,)] * use_bias
    assert_same(to_params(arrays, _cell(net), "here"), net)


class TestWithoutAConfiguration:
    def test_cudnn_says_all(self):
        fields = Fields({})
        arrays = list(golden.cudnn_arrays(_net()).values())
        cell = cell_from_arrays(arrays, fields, "here")
        assert cell == _cell(_net())._replace(is_cudnn=True)
        assert fields.notes() == ()

    @pytest.mark.parametrize(
        ("version", "reset_after", "gates"),
        [
            ("1", False, "hard_sigmoid_keras2"),
            ("2.2.4", False, "hard_sigmoid_keras2"),
            ("2.2.4-tf", True, "sigmoid"),  # TensorFlow 2.0
            ("2.3.1", False, "sigmoid"),
            ("3.12.0", False, "sigmoid"),
            (None, False, "sigmoid"),
        ],
    )
    def test_the_gates_that_a_version_began_with(self, version, reset_after, gates):
        arrays = to_arrays(_net(reset_after=reset_after))
        assert cell_from_arrays(arrays, Fields({}), "here", version).recurrent_activation == gates

    @pytest.mark.parametrize(("version", "reset_after"), [("2.2.4", False), ("2.3.0", True)])
    def test_without_a_bias_the_version_says_where_the_reset_is(self, version, reset_after):
        cell = cell_from_arrays(to_arrays(_net())[:2], Fields({}), "here", version)
        assert cell.reset_after == reset_after

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ([np.ones((3, 12))], "here has 1 arrays: expected 2, or 3 with a bias"),
            ([np.ones((3, 12)), np.ones((4, 16))], r"has shape \(4, 16\): expected \(H, 3H\)"),
            ([np.ones(12), np.ones((4, 12))], r"here/kernel has shape \(12,\): expected \(I, 3H"),
        ],
    )
    def test_no_cell(self, arrays, message):
        with pytest.raises(WeightsError, match=message):
            cell_from_arrays(arrays, Fields({}), "here")


def test_gates_of_unlike_shapes():
    arrays = list(golden.arrays_by_gate(_net(reset_after=False)).values())
    arrays[3] = arrays[3][:2]
    with pytest.raises(WeightsError, match=r"kernel of here has gates of shapes \(3, 4\), \(2"):
        join_gates(arrays, "here")


def test_directions_that_do_not_fit_together():
    wide = golden.random_net(2, reset_after=True, inputs=5)
    layer = GRULayer(((_cell(_net()),), (_cell(wide),)), merge="concat")
    with pytest.raises(WeightsError, match="forward has 3 inputs and net"):
        layer.assemble([_net(), wide])

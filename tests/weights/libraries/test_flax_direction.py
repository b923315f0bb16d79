"""Modules of nnx that go backward, without Flax: what stands in for it has what is read of them."""

from types import SimpleNamespace

import cases
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.libraries.flax import _find_in_module


class _Cell(SimpleNamespace):
    pass


class _RNN(SimpleNamespace):
    pass


_NNX = SimpleNamespace(
    GRUCell=_Cell,
    RNN=_RNN,
    Bidirectional=type("Bidirectional", (), {}),
    Param=None,
    iter_graph=lambda module: [(("rnn",), module)],
    state=lambda cell, _: cell.arrays,
    to_pure_dict=dict,
)


def _found(key, **options):
    net = cases.random_params(key, 3, 5, reset_after=True)
    held = jaxgru.to_flax(jaxgru.GRUParams(net.kernel, net.recurrent_kernel, net.bias), api="nnx")
    functions = {"activation_fn": jax.numpy.tanh, "gate_fn": jax.nn.sigmoid}
    cell = _Cell(arrays=held, dtype=None, **functions)
    [(name, found)] = _find_in_module(_NNX, _RNN(cell=cell, **options), {}).items()
    assert name == "rnn"
    return net, found


@pytest.mark.parametrize("keep_order", [False, True])
def test_outputs_in_the_other_order_are_noted(key, keep_order):
    net, found = _found(key, reverse=True, keep_order=keep_order)
    np.testing.assert_array_equal(found.net.net.kernel, net.kernel)
    assert isinstance(found.net, jaxgru.Backward)
    assert ["keep_order=False" in note for note in found.notes] == [True] * (not keep_order)


def test_a_layer_that_goes_forward_keeps_its_order(key):
    _, found = _found(key, reverse=False, keep_order=False)
    assert isinstance(found.net, jaxgru.GRUParams)
    assert not found.notes

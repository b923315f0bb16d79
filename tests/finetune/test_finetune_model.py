"""Models: any callable pytree is a readout, trained as JAX's own gradient of it would be.

The oracle of each readout is the same affine map as a ``LinearReadout``: the same loss, and the
same weights after a step down the gradient.
"""

import equal
import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

import jaxgru.finetune as ft
from jaxgru.model import Model

# float32: sums of some ten terms near 1, in the order of another library's product.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def _step(net, readout):
    return finetuning.tune(
        Model(net=net, readout=readout),
        finetuning.small_data(),
        ft.Steps(1),
        optimizer=optax.sgd(0.1),
    )


def _function(linear):
    weights = {"w": linear.kernel, "b": linear.bias}
    readout = Partial(lambda weights, y: y @ weights["w"] + weights["b"], weights)
    return readout, lambda readout: readout.args[0].values()


def _equinox_linear(linear):
    eqx = pytest.importorskip("equinox")
    layer = eqx.nn.Linear(4, 2, key=jax.random.key(0))
    where, weights = lambda layer: (layer.weight, layer.bias), (linear.kernel.T, linear.bias)
    return eqx.tree_at(where, layer, weights), where


def _equinox_mlp(linear):
    # An MLP without a hidden layer has its activation, a function, among its leaves.
    eqx = pytest.importorskip("equinox")
    mlp = eqx.nn.MLP(4, 2, 1, depth=0, key=jax.random.key(0))
    layer, where = _equinox_linear(linear)
    weights, rest = eqx.partition(eqx.tree_at(lambda mlp: mlp.layers, mlp, (layer,)), eqx.is_array)
    readout = Partial(lambda weights, y: eqx.combine(weights, rest)(y), weights)
    return readout, lambda readout: where(readout.args[0].layers[0])


def _flax_nnx(linear):
    nnx = pytest.importorskip("flax.nnx")
    layer = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
    layer.kernel[...], layer.bias[...] = linear.kernel, linear.bias
    return layer, lambda layer: (layer.kernel[...], layer.bias[...])


def _flax_linen(linear):
    nn = pytest.importorskip("flax.linen")
    weights = {"kernel": linear.kernel, "bias": linear.bias}
    readout = Partial(nn.Dense(2).apply, {"params": weights})
    return readout, lambda readout: readout.args[0]["params"].values()


LIBRARIES = [_equinox_linear, _equinox_mlp, _flax_nnx, _flax_linen]
LIVE = [pytest.param(of, marks=pytest.mark.live) for of in LIBRARIES]


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("of", [_function, *LIVE])
def test_any_callable_pytree_is_trained_as_the_linear_readout(of):
    net, linear = finetuning.small_model().layers.values()
    readout, weights = of(linear)
    expected, got = (_step(net, one) for one in (linear, readout))
    assert type(got.model.readout) is type(readout)
    np.testing.assert_allclose(got.history[0]["loss"], expected.history[0]["loss"], rtol=1e-5)
    wanted = {leaf.shape: leaf for leaf in jax.tree.leaves(expected.model)}
    for leaf in (*weights(got.model.readout), *jax.tree.leaves(got.model.net)):
        leaf = leaf.T if leaf.shape == (2, 4) else leaf
        if leaf.shape != (12,):  # two biases of one shape
            np.testing.assert_allclose(leaf, wanted[leaf.shape], **ROUNDING)


def test_weights_of_integers_are_not_trained():
    net = finetuning.small_model().net
    integers = Partial(lambda which, y: y[which], jnp.array([0, 1]))
    with_integers, without = (
        _step(net, readout) for readout in (integers, Partial(lambda y: y[:2]))
    )
    assert equal.same(with_integers.model.readout, integers)
    assert equal.same(with_integers.model.net, without.model.net)
    assert not equal.same(without.model.net, net)

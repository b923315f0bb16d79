"""Models: any callable pytree is a readout, trained as JAX's own gradient of it would be.

The oracle of each readout is the same affine map as a ``LinearReadout``: the same loss, and the
same weights after a step down the gradient.
"""

import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.tree_util import Partial

import jaxgru
import jaxgru.finetune as ft

# float32: sums of some ten terms near 1, in the order of another library's product.
ROUNDING = {"rtol": 1e-5, "atol": 1e-6}


def _step(net, readout):
    return finetuning.tune(
        ft.Model(net, readout), finetuning.small_data(), ft.Steps(1), optimizer=optax.sgd(0.1)
    )


def _compare(readout, weights_of):
    net, linear = finetuning.small_model()
    expected, got = (_step(net, one) for one in (linear, readout(linear)))
    assert type(got.model.readout) is type(readout(linear))
    np.testing.assert_allclose(got.history[0]["loss"], expected.history[0]["loss"], rtol=1e-5)
    kernel, bias = weights_of(got.model.readout)
    np.testing.assert_allclose(kernel, expected.model.readout.kernel, **ROUNDING)
    np.testing.assert_allclose(bias, expected.model.readout.bias, **ROUNDING)
    np.testing.assert_allclose(got.model.net.kernel, expected.model.net.kernel, **ROUNDING)


def test_function_and_weights():
    _compare(
        lambda linear: Partial(
            lambda weights, y: y @ weights["w"] + weights["b"],
            {"w": linear.kernel, "b": linear.bias},
        ),
        lambda readout: [readout.args[0][name] for name in ("w", "b")],
    )


def test_function_without_weights():
    net, _ = finetuning.small_model()
    result = _step(net, lambda y: jnp.tanh(y[:2]))
    assert not finetuning.equal(result.model.net, net)
    xs = finetuning.small_data().inputs
    expected = jnp.tanh(jaxgru.gru(result.model.net, jnp.asarray(xs))[0][..., :2])
    np.testing.assert_allclose(ft.predict(result.model, xs), expected, **ROUNDING)


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("whole", [False, True], ids=["Linear", "within a module with functions"])
def test_equinox(whole):
    eqx = pytest.importorskip("equinox")

    def readout(linear):
        layer = eqx.nn.Linear(4, 2, key=jax.random.key(0))
        layer = eqx.tree_at(
            lambda layer: (layer.weight, layer.bias), layer, (linear.kernel.T, linear.bias)
        )
        # An MLP without a hidden layer has its activation, a function, among its leaves.
        mlp = eqx.nn.MLP(4, 2, 1, depth=0, key=jax.random.key(0))
        return eqx.tree_at(lambda mlp: mlp.layers, mlp, (layer,)) if whole else layer

    def weights(readout):
        layer = readout.layers[0] if whole else readout
        return layer.weight.T, layer.bias

    _compare(readout, weights)


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
def test_flax_nnx():
    nnx = pytest.importorskip("flax.nnx")

    def readout(linear):
        layer = nnx.Linear(4, 2, rngs=nnx.Rngs(0))
        layer.kernel[...], layer.bias[...] = linear.kernel, linear.bias
        return layer

    _compare(readout, lambda layer: (layer.kernel[...], layer.bias[...]))


@pytest.mark.live
@pytest.mark.usefixtures("default_promotion")
def test_flax_linen():
    nn = pytest.importorskip("flax.linen")
    _compare(
        lambda linear: Partial(
            nn.Dense(2).apply, {"params": {"kernel": linear.kernel, "bias": linear.bias}}
        ),
        lambda readout: [readout.args[0]["params"][name] for name in ("kernel", "bias")],
    )


def test_integer_weights_are_left_alone_and_cannot_be_trained():
    net, _ = finetuning.small_model()
    readout = Partial(lambda which, y: y[which], jnp.array([0, 1]))
    assert finetuning.equal(_step(net, readout).model.readout, readout)
    with pytest.raises(ValueError, match="0 has dtype int32: expected a floating-point type, as"):
        finetuning.tune(
            ft.Model(net, readout), finetuning.small_data(), ft.Steps(1), trainable="readout.*"
        )


@pytest.mark.parametrize(
    ("readout", "message"),
    [
        (ft.LinearReadout(np.ones((5, 2)), np.ones(2)), r"^readout: its kernel has shape \(5, 2\): "
         r"expected \(4, 2\), as the net has 4 outputs"),
        (ft.LinearReadout(np.ones((4, 2)), np.ones((1, 2))), r"^readout: its bias has shape \(1,"),
        ({"kernel": np.ones((4, 2))}, "^readout is a dict: expected a callable pytree"),
        (lambda y: y @ np.ones((3, 2)), r"^readout: it does not take an output of the net, of shape"
         r" \(4,\): TypeError: "),
        (lambda y: (y, y), "^readout: it gives a tuple: expected one array, the prediction"),
    ],
)  # fmt: skip
def test_readout_that_does_not_fit_is_named(readout, message):
    model = finetuning.small_model()._replace(readout=readout)
    with pytest.raises(ValueError, match=message):
        ft.evaluate(model, finetuning.small_data(), ft.regression())


def test_model_of_another_type():
    net, _ = finetuning.small_model()
    with pytest.raises(ValueError, match=r"^model is a GRUParams: expected a Model\(net, readout"):
        ft.predict(net, finetuning.small_data().inputs)
    with pytest.raises(ValueError, match="inputs is 0: expected at least 1"):
        ft.linear_readout(jax.random.key(0), 0, 2)

"""Activations with parameters in ONNX models, read and written; and where they are refused.

The oracles are ONNX Runtime and the loop in float64.
"""

import json

import cases
import jax
import jax.numpy as jnp
import live_onnx
import net_oracle
import numpy as np
import pytest
from equal import assert_same

import jaxgru

onnx = pytest.importorskip("onnx")

# The function of a node with alpha and beta, and what it is here. Gates in about [0, 1].
_CANDIDATES = {
    "LeakyRelu": ([0.5], [], jaxgru.Activation("leaky_relu", 0.5)),
    "LeakyRelu, by default": ([], [], jaxgru.Activation("leaky_relu", float(np.float32(0.01)))),
    "Elu": ([1.75], [], jaxgru.Activation("elu", 1.75)),
    "HardSigmoid": ([0.25], [0.375], jaxgru.Activation("hard_sigmoid", 0.25, 0.375)),
    "ThresholdedRelu": ([0.125], [], jaxgru.Activation("thresholded_relu", 0.125)),
    "ScaledTanh": ([1.5], [0.75], jaxgru.Activation("scaled_tanh", 1.5, 0.75)),
    "Affine": ([-0.5], [0.25], jaxgru.Activation("affine", -0.5, 0.25)),
}
_GATES = ([0.375], [0.625], jaxgru.Activation("hard_sigmoid", 0.375, 0.625))


def _model(name, arrays):
    alpha, beta, _ = _CANDIDATES[name]
    return live_onnx.model_of(
        arrays,
        activations=["HardSigmoid", name.partition(",")[0]],
        activation_alpha=_GATES[0] + alpha,
        activation_beta=_GATES[1] + beta,
        linear_before_reset=1,
    )


@pytest.mark.live
@pytest.mark.parametrize("name", _CANDIDATES)
def test_as_onnx_runtime(key, name):
    pytest.importorskip("onnxruntime")
    model = _model(name, live_onnx.arrays_of("usual", key))
    net = jaxgru.from_onnx(model)
    assert (net.recurrent_activation, net.activation) == (_GATES[2], _CANDIDATES[name][2])
    xs = np.array(cases.random_inputs(key, (9, 2, 3)))
    found, *_ = live_onnx.run(model, {"x": xs})
    written, _ = live_onnx.run(jaxgru.to_onnx(net, batch_first=False), {"x": xs})
    ys, _ = jaxgru.gru(net, xs, time_major=True)
    expected, _ = net_oracle.run(net, xs.swapaxes(0, 1), np.zeros((2, 4)))
    # Sums of at most 8 float32 products within 10, for 9 steps. Seen: 1e-6.
    for outputs in (found[:, 0], written, ys):
        np.testing.assert_allclose(outputs, expected.swapaxes(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", _CANDIDATES)
def test_round_trips(key, tmp_path, name):
    arrays = live_onnx.arrays_of("usual", key)
    net = jaxgru.from_onnx(_model(name, arrays))
    assert (net.recurrent_activation, net.activation) == (_GATES[2], _CANDIDATES[name][2])
    for path in (tmp_path / "net.onnx", tmp_path / "net.safetensors"):
        jaxgru.save(jaxgru.Backward(net), path)
        assert_same(jaxgru.load(path), jaxgru.Backward(net))


def test_parameters_are_rounded_in_the_node_alone(key):
    net = cases.random_params(key, 3, 4, activation=jaxgru.Activation("leaky_relu", 0.3))
    model = jaxgru.to_onnx(net)
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    (alpha,) = (a.floats for a in node.attribute if a.name == "activation_alpha")
    assert list(alpha) == [np.float32(0.3)]
    assert jaxgru.from_onnx(model).activation == net.activation
    del model.metadata_props[:]
    assert jaxgru.from_onnx(model).activation.alpha == float(np.float32(0.3))


def test_a_node_that_differs_from_the_metadata(key):
    net = cases.random_params(key, 3, 4, activation=jaxgru.Activation("leaky_relu", 0.3))
    model = jaxgru.to_onnx(net)
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    (attribute,) = (a for a in node.attribute if a.name == "activation_alpha")
    attribute.floats[0] = 0.4
    with pytest.warns(jaxgru.WeightsWarning, match=r"activation of .* expected Activation"):
        assert jaxgru.from_onnx(model).activation.alpha == float(np.float32(0.4))


@pytest.mark.parametrize("alpha", [0.3, 1e300])
def test_numbers_that_float32_does_not_have(key, x64, alpha):
    net = cases.random_params(key, 3, 4, activation=jaxgru.Activation("elu", alpha))
    net = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), net)
    with pytest.raises(jaxgru.WeightsError, match=r"activation is .*: expected parameters that"):
        jaxgru.to_onnx(net)
    exact = cases.random_params(key, 3, 4, activation=jaxgru.Activation("elu", 0.5))
    exact = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), exact)
    assert_same(jaxgru.from_onnx(jaxgru.to_onnx(exact)), exact)


@pytest.mark.parametrize(
    "write",
    [
        lambda net, folder: jaxgru.save(net, folder / "net.npz"),
        lambda net, folder: jaxgru.save(net, folder / "n.safetensors", format="torch-safetensors"),
        lambda net, _: jaxgru.to_haiku(net),
    ],
)
def test_other_holders_refuse(key, tmp_path, write):
    net = cases.random_params(key, 3, 4, activation=jaxgru.Activation("leaky_relu", 0.5))
    with pytest.raises(
        jaxgru.WeightsError, match=r"activation.* Activation\('leaky_relu', alpha=0"
    ):
        write(net, tmp_path)


def test_assumed(key, tmp_path):
    leaky = jaxgru.Activation("leaky_relu", 0.5)
    path = tmp_path / "net.npz"
    jaxgru.save(cases.random_params(key, 3, 4, biases="both biases"), path)
    assume = {"activation": leaky, "recurrent_activation": jaxgru.Activation("sigmoid")}
    net = jaxgru.load(path, assume=assume)
    assert (net.activation, net.recurrent_activation) == (leaky, "sigmoid")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"name": "tnh"}, "name 'tnh' is unknown"),
        ({"name": "elu", "alpha": "1"}, "alpha of elu is '1': expected a finite number"),
        ({"name": "elu", "gamma": 1}, "unexpected keyword argument 'gamma'"),
        ({"name": ["elu"]}, "is unknown"),
        ({"name": "elu", "alpha": 10**400}, "too large"),
    ],
)
def test_damaged_files(key, value, reason):
    net = cases.random_params(key, 3, 4, activation=jaxgru.Activation("elu", 0.5))
    model = jaxgru.to_onnx(net)
    (entry,) = model.metadata_props
    text = json.loads(entry.value)
    text["net"]["activation"] = value
    entry.value = json.dumps(text)
    with pytest.warns(jaxgru.WeightsWarning, match=reason):
        assert jaxgru.from_onnx(model).activation == net.activation

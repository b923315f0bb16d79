"""Nets written as ONNX models and read back: equal to the bit, or said to be changed."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import live_onnx
import ml_dtypes
import nets
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all, save

onnx = pytest.importorskip("onnx")


class TestRoundTrip:
    """What was written comes back, in structure, type and every bit."""

    @pytest.mark.parametrize("name", nets.NAMES)
    def test_every_structure(self, key, name, tmp_path):
        net = nets.random_net(key, name)
        jaxgru.save(net, tmp_path / "net.onnx")
        _assert_same(jaxgru.load(tmp_path / "net.onnx"), net)
        _assert_same(jaxgru.from_onnx(jaxgru.to_onnx(net, lengths=True)), net)

    @pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
    def test_every_type(self, key, dtype, tmp_path):
        net = nets.random_net(key, "bidirectional stack")
        net = jax.tree.map(lambda x: np.asarray(x).astype(getattr(ml_dtypes, dtype, dtype)), net)
        save(net, tmp_path / "net.onnx")
        (found,) = read_all(tmp_path / "net.onnx").gathered.values()
        _assert_same(found.net, net)

    @pytest.mark.parametrize("biases", cases.BIASES)
    @pytest.mark.parametrize("clip", [None, 0.3])  # 0.3 is no number of float32
    def test_biases_and_clip(self, key, biases, clip):
        net = cases.random_params(key, 3, 4, biases=biases, clip=clip)
        _assert_same(jaxgru.from_onnx(jaxgru.to_onnx(net)), net)
        both = jaxgru.Bidirectional(net, cases.random_params(key, 3, 4, clip=clip), "ave")
        _assert_same(jaxgru.from_onnx(jaxgru.to_onnx(both)), both)

    @pytest.mark.parametrize("activation", live_onnx.ACTIVATIONS)
    def test_activations(self, key, activation):
        net = cases.random_params(key, 3, 4, activation=activation, recurrent_activation="relu")
        _assert_same(jaxgru.from_onnx(jaxgru.to_onnx(net)), net)

    def test_numbers_that_are_none(self, key):
        net = cases.random_params(key, 3, 4)
        net = dataclasses.replace(net, kernel=net.kernel.at[0, 0].set(jnp.nan))
        with pytest.warns(jaxgru.WeightsWarning, match="kernel holds 1 NaN"):
            _assert_same(jaxgru.from_onnx(jaxgru.to_onnx(net)), net)


class TestMetadata:
    """The structure beside the nodes, where somebody has changed one and not the other."""

    def test_without_it_nodes_come_one_by_one(self, key):
        model = jaxgru.to_onnx(nets.random_net(key, "stack"))
        del model.metadata_props[:]
        assert jaxgru.from_onnx(model, layer="gru_1").hidden_size == 2

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "it is damaged"),
            ("[" * 100_000, "it is damaged"),
            ('{"version": 2}', "it is damaged"),
            ('{"version": 1, "net": []}', "it has version 1"),
            ('{"version": 2, "net": {"kind": "tree"}}', "is of kind 'tree'"),
            (" " * (2**20 + 1), "it has 1048577 characters"),
        ],
    )
    def test_damaged(self, key, text, reason):
        model = jaxgru.to_onnx(nets.random_net(key, "layer"))
        model.metadata_props[0].value = text
        with pytest.warns(jaxgru.WeightsWarning, match=f"one by one.*{reason}"):
            jaxgru.from_onnx(model)

    @pytest.mark.parametrize(
        ("old", "new", "reason"),
        [
            ("gru_1/0/kernel", "gru_0/0/kernel", "names 'gru_0/0': expected a node that is there"),
            ("gru_1/0/bias", "gru_0/0/bias", "bias of 'gru_1/0' is another array"),
            ('"clip": null', '"clip": 0.5', "clip of 'gru_0/0' is 0.5: expected None"),
            ('"gru_0/0/bias"', "null", "'gru_0/0' has a bias: expected none"),
            ('"activation": "tanh"', '"activation": "relu"', "activation of 'gru_0/0' is 'relu'"),
            ('"tuple"', '"Bidirectional"', "is of kind 'Bidirectional' with"),
        ],
    )
    def test_not_of_these_nodes(self, key, old, new, reason):
        model = jaxgru.to_onnx(nets.random_net(key, "stack"))
        text = model.metadata_props[0].value
        assert old in text
        model.metadata_props[0].value = text.replace(old, new, 1)
        with pytest.warns(jaxgru.WeightsWarning, match=f"one by one.*{reason}"):
            jaxgru.from_onnx(model, layer="gru_0")

    def test_a_node_was_changed(self, key):
        model = jaxgru.to_onnx(nets.random_net(key, "stack"))
        for node in model.graph.node:
            if node.name == "gru_0":
                node.attribute.append(onnx.helper.make_attribute("direction", "reverse"))
                node.attribute.remove(
                    next(a for a in node.attribute if a.name == "direction" and a.s == b"forward")
                )
        with pytest.warns(jaxgru.WeightsWarning, match="'gru_0/0' goes the other way"):
            assert isinstance(jaxgru.from_onnx(model, layer="gru_0"), jaxgru.Backward)

    def test_caller_and_file_contradict(self, key):
        model = jaxgru.to_onnx(nets.random_net(key, "sum"))
        with pytest.raises(jaxgru.WeightsError, match="merge is 'sum' in the file"):
            jaxgru.from_onnx(model, assume={"merge": "mul"})


def _assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert one.dtype == other.dtype
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()

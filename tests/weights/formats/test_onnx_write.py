"""Nets as ONNX models, run by ONNX Runtime; and what ONNX cannot hold.

The oracle is the loop in float64, ``net_oracle``. Every variant of a layer is written and run in
test_formats_tables.py too, and read back in test_round_trip.py.
"""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import live_onnx
import net_oracle
import nets
import numpy as np
import pytest
from equal import assert_same

import jaxgru

onnx = pytest.importorskip("onnx")

# What to_onnx promises. Seen on these nets: 3e-7.
_ATOL = 1e-5
_EXACT = live_onnx.ACTIVATIONS


@pytest.mark.live
class TestInOnnxRuntime:
    @pytest.fixture(autouse=True)
    def _runtime(self):
        pytest.importorskip("onnxruntime")

    @pytest.mark.parametrize("name", nets.NAMES)
    def test_every_structure(self, key, name):
        net = nets.random_net(key, name)
        model = jaxgru.to_onnx(net)
        # The same model for one step and many, one sequence and several: all sizes are dynamic.
        for batch, time in ((2, 50), (1, 1)):
            xs = np.array(cases.random_inputs(key, (batch, time, 3)))
            found = live_onnx.run(model, {"x": xs})
            _assert_close(found, net_oracle.run(net, xs, _zeros(net, batch)))

    @pytest.mark.parametrize("name", nets.NAMES)
    def test_lengths_and_states(self, key, name):
        net, lengths = nets.random_net(key, name), np.array([2, 5, 1], np.int32)
        model = jaxgru.to_onnx(net, batch_first=False, lengths=True, initial_states=True)
        assert_same(jaxgru.from_onnx(model), net)
        xs = np.array(cases.random_inputs(key, (3, 5, 3)))
        h0 = nets.random_state(jax.random.fold_in(key, 1), net, (3,))

        _, lengths_input, *state_inputs = (value.name for value in model.graph.input)
        feed = {"x": xs.swapaxes(0, 1), lengths_input: lengths}
        feed |= zip(state_inputs, map(np.asarray, jax.tree.leaves(h0)), strict=True)
        found = live_onnx.run(model, feed)

        valid = np.arange(5) < lengths[:, None]
        ys, h = net_oracle.run(net, xs, h0, valid=valid)
        ys = jax.tree.map(lambda ys: np.where(valid[..., None], ys, 0).swapaxes(0, 1), ys)
        _assert_close(found, (ys, h))

    def test_float16(self, key):
        net = nets.random_net(key, "stack", dtype=np.float16)
        xs = np.array(cases.random_inputs(key, (2, 9, 3), np.float16))
        found, *_ = live_onnx.run(jaxgru.to_onnx(net), {"x": xs})
        assert found.dtype == np.float16
        ys, _ = net_oracle.run(net, xs, _zeros(net, 2))
        # Each layer's outputs, within 1, are rounded to float16: half a unit of 2^-11 a layer.
        np.testing.assert_allclose(found, ys, rtol=0, atol=2 * 2.0**-12 + _ATOL)

    @pytest.mark.parametrize("opset", [14, 18, 22])
    def test_opsets(self, key, opset):
        net = nets.random_net(key, "ave")
        xs = np.array(cases.random_inputs(key, (2, 3, 3)))
        model = jaxgru.to_onnx(net, opset=opset)
        assert model.opset_import[0].version == opset
        _assert_close(live_onnx.run(model, {"x": xs}), net_oracle.run(net, xs, _zeros(net, 2)))


def test_names_of_inputs_and_outputs(key):
    layer = cases.random_params(key, 3, 4)
    net = (jaxgru.Bidirectional(layer, layer), cases.random_params(key, 8, 5))
    states = ["h_0_forward", "h_0_backward", "h_1"]
    for options, inputs in (
        ({}, ["x"]),
        ({"lengths": True, "initial_states": True},
         ["x", "lengths", *(f"initial_{state}" for state in states)]),
    ):  # fmt: skip
        graph = jaxgru.to_onnx(net, **options).graph
        names = [value.name for value in (*graph.input, *graph.output)]
        assert names == [*inputs, "y", *states]


@pytest.mark.parametrize(
    ("unlike", "directions"),
    [
        ({}, ["bidirectional"]),
        ({"activation": "relu"}, ["bidirectional"]),
        ({"reset_after": False}, ["forward", "reverse"]),
        ({"clip": 0.5}, ["forward", "reverse"]),
    ],
)
def test_one_node_for_both_directions_where_they_fit_one(key, unlike, directions):
    forward = cases.random_params(key, 3, 4)
    net = jaxgru.Bidirectional(forward, dataclasses.replace(forward, **unlike))
    attributes = (a for node in jaxgru.to_onnx(net).graph.node for a in node.attribute)
    assert [a.s.decode() for a in attributes if a.name == "direction"] == directions


def _of(dtype, **changed):
    """Return what makes a layer of another type, with some fields replaced."""

    def make(net):
        net = jax.tree.map(lambda array: np.asarray(array).astype(dtype), net)
        return dataclasses.replace(net, **changed)

    return make


_REFUSED = {
    "two types": (
        lambda net: dataclasses.replace(net, bias=net.bias.astype("f2")),
        {}, "its arrays are float16 and float32: expected one of"),
    "float8": (_of(jnp.float8_e4m3fn), {}, "its arrays are float8_e4m3fn: expected"),
    "clip beyond float32": (_of("f4", clip=1e300), {}, "clip is 1e"),
    "clip below float32": (_of("f4", clip=1e-300), {}, "clip is 1e"),
    "clip between numbers of float32": (
        _of("f8", clip=0.3), {}, r"clip is 0\.3: expected a number that float"),
    "opset 13": (_of("f4"), {"opset": 13}, "opset is 13: expected"),
    "opset 21": (_of(jnp.bfloat16), {"opset": 21}, "opset is 21: expected"),
    "opset 999": (_of("f4"), {"opset": 999}, "opset is 999: expected"),
    "sizes": (lambda net: (net, net), {}, "has 4 outputs and"),
}  # fmt: skip


@pytest.mark.parametrize("name", _REFUSED)
def test_what_onnx_cannot_hold(key, name):
    make, options, message = _REFUSED[name]
    with pytest.raises(ValueError, match=message):
        jaxgru.to_onnx(make(cases.random_params(key, 3, 4)), **options)


@pytest.mark.parametrize("activation", [a for a in jaxgru.ACTIVATIONS if a not in _EXACT])
def test_activations_without_equal(key, tmp_path, activation):
    path = tmp_path / "net.onnx"
    path.write_text("before")
    for role in ("activation", "recurrent_activation"):
        net = cases.random_params(key, 3, 4, **{role: activation})
        with pytest.raises(jaxgru.WeightsError, match=f"activation is '{activation}': ONNX's GRU"):
            jaxgru.save(net, path)
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


class TestMetadata:
    """The structure beside the nodes, where somebody has changed one and not the other."""

    def test_without_it_nodes_come_one_by_one(self, key):
        model = jaxgru.to_onnx(nets.random_net(key, "stack"))
        del model.metadata_props[:]
        assert jaxgru.from_onnx(model, layer="gru_1").hidden_size == 2

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("", "it is not JSON"),
            ("[" * 100_000, "it is not JSON"),
            ('{"version": 2}', "expected version and net"),
            ('{"version": 1, "net": []}', "it has version 1"),
            ('{"version": 2, "net": {"kind": "tree"}}', "is of kind 'tree'"),
            (" " * (2**20 + 1), "it has 1048577 bytes"),
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
        (node,) = (node for node in model.graph.node if node.name == "gru_0")
        (direction,) = (a for a in node.attribute if a.name == "direction")
        direction.s = b"reverse"
        with pytest.warns(jaxgru.WeightsWarning, match="'gru_0/0' goes the other way"):
            assert isinstance(jaxgru.from_onnx(model, layer="gru_0"), jaxgru.Backward)

    def test_caller_and_file_contradict(self, key):
        model = jaxgru.to_onnx(nets.random_net(key, "sum"))
        with pytest.raises(jaxgru.WeightsError, match="merge is 'sum' in the file"):
            jaxgru.from_onnx(model, assume={"merge": "mul"})


def _zeros(net, batch):
    """Return the state in which ONNX's nodes begin."""
    return jax.tree.map(np.zeros_like, nets.random_state(jax.random.key(0), net, (batch,)))


def _assert_close(found, expected):
    for one, other in zip(found, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=_ATOL)


@pytest.mark.parametrize("lengths", [False, True])
def test_lengths_are_an_input_of_every_node(key, lengths):
    layers = tuple(cases.random_params(key, 4, 4) for _ in range(2))
    graph = jaxgru.to_onnx(layers, lengths=lengths).graph
    assert ("lengths" in [value.name for value in graph.input]) == lengths
    given = ["lengths" in node.input[4:5] for node in graph.node if node.op_type == "GRU"]
    assert given == [lengths] * 2

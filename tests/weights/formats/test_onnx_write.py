"""Nets as ONNX models, run by ONNX Runtime; and what ONNX cannot hold."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import live_onnx
import net_oracle
import nets
import numpy as np
import oracle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgru

onnx = pytest.importorskip("onnx")

# What to_onnx promises. Seen on these nets: 3e-7.
_TOLERANCE = {"rtol": 0, "atol": 1e-5}
_EXACT = live_onnx.ACTIVATIONS
_WITHOUT_EQUAL = [name for name in jaxgru.ACTIVATIONS if name not in _EXACT]


@pytest.mark.live
@pytest.mark.parametrize("name", nets.NAMES)
def test_every_structure_in_onnx_runtime(key, name):
    pytest.importorskip("onnxruntime")
    net = nets.random_net(key, name)
    model = jaxgru.to_onnx(net)
    # The same model for one step and many, one sequence and several: all sizes are dynamic.
    for batch, time in ((2, 50), (1, 1), (5, 3)):
        xs = np.array(cases.random_inputs(key, (batch, time, 3)))
        expected = net_oracle.run(net, xs, _zeros(net, batch))
        _assert_close(live_onnx.run(model, {"x": xs}), expected)


@pytest.mark.live
def test_ours_and_theirs(key):
    # Above against the oracle in float64, here against the library itself, on 50 steps.
    pytest.importorskip("onnxruntime")
    net = nets.random_net(key, "bidirectional stack")
    xs = np.array(cases.random_inputs(key, (2, 50, 3)))
    _assert_close(live_onnx.run(jaxgru.to_onnx(net), {"x": xs}), jaxgru.gru(net, xs))


@pytest.mark.live
@given(st.sampled_from(nets.NAMES), st.integers(1, 4), st.integers(1, 9), st.data())
@settings(max_examples=12)
def test_lengths_and_states(name, batch, time, data):
    pytest.importorskip("onnxruntime")
    lengths = np.array(data.draw(st.lists(st.integers(1, time), min_size=batch, max_size=batch)))
    key = jax.random.key(time)
    net = nets.random_net(key, name)
    model = jaxgru.to_onnx(net, batch_first=False, lengths=True, initial_states=True)
    xs = np.array(cases.random_inputs(key, (batch, time, 3)))
    h0 = nets.random_state(jax.random.fold_in(key, 1), net, (batch,))

    _, lengths_input, *state_inputs = (value.name for value in model.graph.input)
    feed = {"x": xs.swapaxes(0, 1), lengths_input: lengths.astype(np.int32)}
    feed |= zip(state_inputs, map(np.asarray, jax.tree.leaves(h0)), strict=True)
    found = live_onnx.run(model, feed)

    valid = np.arange(time) < lengths[:, None]
    ys, h = net_oracle.run(net, xs, h0, valid=valid)
    ys = jax.tree.map(lambda ys: np.where(valid[..., None], ys, 0).swapaxes(0, 1), ys)
    _assert_close(found, (ys, h))


@pytest.mark.live
@pytest.mark.parametrize("clip", [None, 0.25])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("activation", _EXACT)
def test_every_layer_in_onnx_runtime(key, activation, reset_after, clip):
    pytest.importorskip("onnxruntime")
    gates = _EXACT[(_EXACT.index(activation) + 2) % len(_EXACT)]
    params = cases.random_params(
        key,
        3,
        4,
        activation=activation,
        recurrent_activation=gates,
        reset_after=reset_after,
        clip=clip,
    )
    # Smaller, so that states do not blow up within 50 steps where activations have no bound.
    params = jax.tree.map(lambda array: array / 4, params)
    xs = np.array(cases.random_inputs(key, (2, 50, 3)))
    expected = oracle.gru_batch(params, xs)
    scale = max(1.0, float(np.abs(expected[0]).max()))
    found = live_onnx.run(jaxgru.to_onnx(params), {"x": xs})
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * scale)


@pytest.mark.live
def test_float16_in_onnx_runtime(key):
    pytest.importorskip("onnxruntime")
    net = nets.random_net(key, "stack", dtype=np.float16)
    xs = np.array(cases.random_inputs(key, (2, 9, 3), np.float16))
    found, *_ = live_onnx.run(jaxgru.to_onnx(net), {"x": xs})
    assert found.dtype == np.float16
    ys, _ = net_oracle.run(net, xs, _zeros(net, 2))
    # Each layer's outputs, within 1, are rounded to float16: half a unit of 2^-11 a layer.
    np.testing.assert_allclose(found, ys, rtol=0, atol=2 * 2.0**-12 + 1e-5)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({}, ["x", "y", "h_0_forward", "h_0_backward", "h_1"]),
        (
            {"lengths": True, "initial_states": True},
            [
                *["x", "lengths", "initial_h_0_forward", "initial_h_0_backward", "initial_h_1"],
                *["y", "h_0_forward", "h_0_backward", "h_1"],
            ],
        ),
    ],
)
def test_names_of_inputs_and_outputs(key, change, names):
    net = (
        jaxgru.Bidirectional(*(cases.random_params(key, 3, 4) for _ in range(2))),
        cases.random_params(key, 8, 5),
    )
    graph = jaxgru.to_onnx(net, **change).graph
    assert [value.name for value in (*graph.input, *graph.output)] == names


def test_one_node_for_both_directions_where_they_fit_one(key):
    forward, backward = (cases.random_params(k, 3, 4) for k in jax.random.split(key))
    assert _nodes(jaxgru.Bidirectional(forward, backward)) == ["bidirectional"]
    unlike = dataclasses.replace(backward, activation="relu")
    assert _nodes(jaxgru.Bidirectional(forward, unlike)) == ["bidirectional"]
    unlike = dataclasses.replace(backward, reset_after=False)
    assert _nodes(jaxgru.Bidirectional(forward, unlike)) == ["forward", "reverse"]
    unlike = dataclasses.replace(backward, clip=0.5)
    assert _nodes(jaxgru.Bidirectional(forward, unlike)) == ["forward", "reverse"]


class TestRefused:
    """What GRU nodes cannot hold."""

    @pytest.mark.parametrize("role", ["activation", "recurrent_activation"])
    @pytest.mark.parametrize("activation", _WITHOUT_EQUAL)
    def test_activations_without_equal(self, key, role, activation):
        net = cases.random_params(key, 3, 4, **{role: activation})
        with pytest.raises(jaxgru.WeightsError, match=f"activation is '{activation}': expected"):
            jaxgru.to_onnx(net)

    def test_types_that_differ(self, key):
        net = cases.random_params(key, 3, 4)
        net = dataclasses.replace(net, bias=net.bias.astype(jnp.float16))
        with pytest.raises(jaxgru.WeightsError, match="its arrays are float16 and float32"):
            jaxgru.to_onnx(net)

    def test_types_beyond_onnx(self, key):
        net = jax.tree.map(lambda x: x.astype(jnp.float8_e4m3fn), cases.random_params(key, 3, 4))
        with pytest.raises(jaxgru.WeightsError, match="its arrays are float8_e4m3fn: expected"):
            jaxgru.to_onnx(net)

    @pytest.mark.parametrize("clip", [1e300, 1e-300])
    def test_clip_beyond_float32(self, key, clip):
        with pytest.raises(jaxgru.WeightsError, match="clip is 1e"):
            jaxgru.to_onnx(cases.random_params(key, 3, 4, clip=clip))

    def test_clip_between_numbers_of_float32(self, key):
        net = cases.random_params(key, 3, 4, clip=0.3)
        net = jax.tree.map(lambda x: np.asarray(x, np.float64), net)
        with pytest.raises(
            jaxgru.WeightsError, match=r"clip is 0\.3: expected a number that float"
        ):
            jaxgru.to_onnx(net)

    @pytest.mark.parametrize(("dtype", "opset"), [("float32", 13), ("bfloat16", 21), ("f4", 999)])
    def test_opset(self, key, dtype, opset):
        net = jax.tree.map(lambda x: x.astype(dtype), cases.random_params(key, 3, 4))
        with pytest.raises(jaxgru.WeightsError, match=f"opset is {opset}: expected"):
            jaxgru.to_onnx(net, opset=opset)

    def test_layers_that_do_not_fit(self, key):
        net = (cases.random_params(key, 3, 4), cases.random_params(key, 3, 4))
        with pytest.raises(ValueError, match="gives 4 outputs and"):
            jaxgru.to_onnx(net)

    def test_a_file_there_is_kept(self, key, tmp_path):
        path = tmp_path / "net.onnx"
        path.write_text("before")
        with pytest.raises(jaxgru.WeightsError, match="activation is 'gelu'"):
            jaxgru.save(cases.random_params(key, 3, 4, activation="gelu"), path)
        assert path.read_text() == "before"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.live
@pytest.mark.parametrize("opset", [14, 18, 22])
def test_opsets_in_onnx_runtime(key, opset):
    pytest.importorskip("onnxruntime")
    net = nets.random_net(key, "ave")
    xs = np.array(cases.random_inputs(key, (2, 3, 3)))
    model = jaxgru.to_onnx(net, opset=opset)
    assert model.opset_import[0].version == opset
    _assert_close(live_onnx.run(model, {"x": xs}), net_oracle.run(net, xs, _zeros(net, 2)))


def _zeros(net, batch):
    """Return the state in which ONNX's nodes begin."""
    return jax.tree.map(np.zeros_like, nets.random_state(jax.random.key(0), net, (batch,)))


def _assert_close(found, expected):
    for one, other in zip(found, jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, **_TOLERANCE)


def _nodes(net):
    """Return the directions of the GRU nodes of a net's model."""
    return [
        attribute.s.decode()
        for node in jaxgru.to_onnx(net).graph.node
        for attribute in node.attribute
        if attribute.name == "direction"
    ]

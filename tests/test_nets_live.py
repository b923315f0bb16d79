"""Against the layers themselves: PyTorch, Keras and ONNX Runtime, padded and in both directions."""

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgru

pytestmark = pytest.mark.live

# float32 on both sides, sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME, _UNITS = 3, 5, 4
_LENGTHS = np.array([5, 1, 3])


@given(
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.integers(1, _TIME), min_size=_BATCH, max_size=_BATCH),
)
@settings(max_examples=8)
def test_pytorch_packed_stacks(layers, bidirectional, lengths):
    torch = pytest.importorskip("torch")
    key, lengths = jax.random.key(sum(lengths)), np.array(lengths)
    directions = 2 if bidirectional else 1
    theirs = torch.nn.GRU(
        3, _UNITS, layers, batch_first=True, bidirectional=bidirectional, dropout=0.0
    )
    sides = []
    for i in range(layers * directions):
        inputs = 3 if i < directions else directions * _UNITS
        sides.append(cases.random_params(jax.random.fold_in(key, i), inputs, _UNITS))
        # PyTorch holds rows r, z, n; the order of its parameters is that of the sides.
        arrays = jax.tree.leaves(sides[-1])
        for parameter, array in zip(
            list(theirs.parameters())[4 * i : 4 * i + 4], arrays, strict=True
        ):
            update, reset, candidate = np.split(np.asarray(array).T, 3)
            with torch.no_grad():
                parameter.copy_(torch.from_numpy(np.concatenate([reset, update, candidate])))
    pairs = zip(sides[::2], sides[1::2], strict=True)
    ours = tuple(jaxgru.Bidirectional(*pair) for pair in pairs) if bidirectional else tuple(sides)
    xs = np.array(cases.random_inputs(jax.random.fold_in(key, 90), (_BATCH, _TIME, 3)))
    starts = cases.random_inputs(jax.random.fold_in(key, 91), (len(sides), _BATCH, _UNITS))

    with torch.no_grad():
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.from_numpy(xs), torch.from_numpy(lengths), batch_first=True, enforce_sorted=False
        )
        packed_ys, expected_h = theirs(packed, torch.from_numpy(np.array(starts)))
        expected_ys, _ = torch.nn.utils.rnn.pad_packed_sequence(
            packed_ys, batch_first=True, total_length=_TIME
        )
    h0 = jax.tree.unflatten(jax.tree.structure(ours, is_leaf=_is_layer), list(starts))
    ys, h = jaxgru.gru(ours, xs, h0, lengths=lengths, zero_masked=True)

    np.testing.assert_allclose(ys, expected_ys.numpy(), **_FLOAT32)
    np.testing.assert_allclose(jnp.stack(jax.tree.leaves(h)), expected_h.numpy(), **_FLOAT32)


@pytest.mark.usefixtures("default_promotion")
class TestKeras:
    """Keras' own layers: masks, directions, merges, and a state kept between calls."""

    @pytest.mark.parametrize("go_backwards", [False, True])
    @pytest.mark.parametrize("zero_output", [False, True])
    def test_masks(self, key, go_backwards, zero_output):
        keras = pytest.importorskip("keras")
        params = cases.random_params(key, 3, _UNITS)
        layer = keras.layers.GRU(
            _UNITS,
            return_sequences=True,
            return_state=True,
            go_backwards=go_backwards,
            zero_output_for_mask=zero_output,
        )
        xs, mask = _keras_inputs(key)
        _set_weights(layer, params, xs.shape)
        expected_ys, expected_h = layer(xs, mask=mask)
        ys, h = jaxgru.gru(params, xs, mask=mask, reverse=go_backwards, zero_masked=zero_output)
        # Keras leaves the states of a backward pass in the order of computing.
        expected_ys = np.flip(expected_ys, axis=1) if go_backwards else np.asarray(expected_ys)
        if not zero_output:
            # Before the first step that counts Keras gives zeros, and jaxgru the first state,
            # which here is zeros too.
            assert np.all(np.asarray(ys)[~mask.cumsum(1).astype(bool)] == 0) or go_backwards
        np.testing.assert_allclose(ys, expected_ys, **_FLOAT32)
        np.testing.assert_allclose(h, expected_h, **_FLOAT32)

    @pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
    @pytest.mark.parametrize("return_sequences", [True, False])
    def test_both_directions(self, key, merge, return_sequences):
        keras = pytest.importorskip("keras")
        sides = [cases.random_params(k, 3, _UNITS) for k in jax.random.split(key)]
        layer = keras.layers.Bidirectional(
            keras.layers.GRU(_UNITS, return_sequences=return_sequences), merge_mode=merge
        )
        xs, mask = _keras_inputs(key)
        layer.build(xs.shape)
        for side, params in zip((layer.forward_layer, layer.backward_layer), sides, strict=True):
            _set_weights(side, params, xs.shape)
        expected = layer(xs, mask=mask)
        net = jaxgru.Bidirectional(*sides, merge)
        # Keras' Bidirectional has masked outputs zero, whatever its layers say.
        ys, _ = jaxgru.gru(
            net,
            xs,
            mask=mask,
            return_sequences=return_sequences,
            zero_masked=return_sequences,
        )
        chex.assert_trees_all_close(ys, _like(ys, expected), **_FLOAT32)

    def test_stateful(self, key):
        keras = pytest.importorskip("keras")
        params = cases.random_params(key, 3, _UNITS)
        layer = keras.layers.GRU(_UNITS, return_sequences=True, stateful=True)
        xs, _ = _keras_inputs(key)
        _set_weights(layer, params, xs.shape)
        h = None
        for _ in range(2):
            ys, h = jaxgru.gru(params, xs, h)
            np.testing.assert_allclose(ys, layer(xs), **_FLOAT32)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_onnx_runtime(key, direction):
    onnx = pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    sides = [cases.random_params(k, 3, _UNITS) for k in jax.random.split(key)]
    sides = sides if direction == "bidirectional" else sides[:1]
    xs = np.array(cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3)))
    starts = cases.random_inputs(jax.random.fold_in(key, 2), (len(sides), _BATCH, _UNITS))
    feed = {
        "X": np.moveaxis(xs, 1, 0),
        "W": np.stack([side.kernel.T for side in sides]),
        "R": np.stack([side.recurrent_kernel.T for side in sides]),
        "B": np.stack([jnp.concatenate([side.bias, side.recurrent_bias]) for side in sides]),
        "sequence_lens": _LENGTHS.astype(np.int32),
        "initial_h": np.array(starts),
    }
    node = onnx.helper.make_node(
        "GRU",
        list(feed),
        ["Y", "Y_h"],
        hidden_size=_UNITS,
        linear_before_reset=1,
        direction=direction,
    )
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in feed.items()
    ]
    outputs = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None)
        for name in ("Y", "Y_h")
    ]
    graph = onnx.helper.make_graph([node], "gru", inputs, outputs)
    opset = onnx.helper.make_opsetid("", 14)
    model = onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8)
    session = runtime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    expected_ys, expected_h = session.run(None, feed)  # (T, directions, B, H) and without T

    if direction == "bidirectional":
        net, h0 = jaxgru.Bidirectional(*sides, None), jaxgru.Bidirectional(*starts)
    else:
        net, h0 = sides[0], starts[0]
    ys, h = jaxgru.gru(
        net, xs, h0, lengths=_LENGTHS, zero_masked=True, reverse=direction == "reverse"
    )
    by_time = [np.moveaxis(side, 1, 0) for side in jax.tree.leaves(ys)]
    np.testing.assert_allclose(np.stack(by_time, axis=1), expected_ys, **_FLOAT32)
    np.testing.assert_allclose(np.stack(jax.tree.leaves(h)), expected_h, **_FLOAT32)


def _is_layer(node):
    return isinstance(node, jaxgru.GRUParams)


def _keras_inputs(key):
    """Return inputs and a mask, every sequence with a step that counts, and gaps anywhere."""
    xs = cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))
    return xs, np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], bool)


def _set_weights(layer, params, shape):
    if not layer.built:
        layer.build(shape)
    both = np.stack([params.bias, params.recurrent_bias])
    layer.set_weights([params.kernel, params.recurrent_kernel, both])


def _like(tree, values):
    values = values if isinstance(values, list | tuple) else [values]
    return jax.tree.unflatten(jax.tree.structure(tree), [np.asarray(value) for value in values])

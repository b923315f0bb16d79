"""Against the layers themselves: PyTorch, Keras and ONNX Runtime, padded and in both directions."""

import cases
import chex
import jax
import jax.numpy as jnp
import live_onnx
import nets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgru

pytestmark = pytest.mark.live

# float32 on both sides, sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME, _UNITS = 3, 5, 4
# Every sequence with a step that counts, and gaps anywhere.
_MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], bool)


@given(
    st.integers(1, 3),
    st.booleans(),
    st.lists(st.integers(1, _TIME), min_size=_BATCH, max_size=_BATCH),
)
@settings(max_examples=8)
def test_pytorch_packed_stacks(layers, bidirectional, lengths):
    torch = pytest.importorskip("torch")
    key, directions = jax.random.key(sum(lengths)), 2 if bidirectional else 1
    theirs = torch.nn.GRU(3, _UNITS, layers, batch_first=True, bidirectional=bidirectional)
    sides = [
        cases.random_params(
            jax.random.fold_in(key, i), 3 if i < directions else directions * _UNITS, _UNITS
        )
        for i in range(layers * directions)
    ]
    # PyTorch holds rows r, z, n; the order of its parameters is that of the sides.
    for parameter, array in zip(theirs.parameters(), jax.tree.leaves(sides), strict=True):
        update, reset, candidate = np.split(np.asarray(array).T, 3)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(np.concatenate([reset, update, candidate])))
    pairs = zip(sides[::2], sides[1::2], strict=True)
    ours = tuple(jaxgru.Bidirectional(*pair) for pair in pairs) if bidirectional else tuple(sides)
    xs, starts = _inputs(key), _normal(key, len(sides), _BATCH, _UNITS)

    with torch.no_grad():
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.from_numpy(xs), torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        packed_ys, expected_h = theirs(packed, torch.from_numpy(starts))
        expected_ys, _ = torch.nn.utils.rnn.pad_packed_sequence(
            packed_ys, batch_first=True, total_length=_TIME
        )
    h0 = jax.tree.unflatten(jax.tree.structure(ours, is_leaf=nets.is_layer), list(starts))
    ys, h = jaxgru.gru(ours, xs, h0, lengths=np.array(lengths), zero_masked=True)
    np.testing.assert_allclose(ys, expected_ys.numpy(), **_FLOAT32)
    np.testing.assert_allclose(jnp.stack(jax.tree.leaves(h)), expected_h.numpy(), **_FLOAT32)


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output", [False, True])
def test_keras_masks_and_a_state_kept_between_calls(key, go_backwards, zero_output):
    keras = pytest.importorskip("keras")
    params, xs = cases.random_params(key, 3, _UNITS), _inputs(key)
    layer = keras.layers.GRU(
        _UNITS, return_sequences=True, return_state=True, go_backwards=go_backwards,
        zero_output_for_mask=zero_output, stateful=True,
    )  # fmt: skip
    _set_weights(layer, params)
    h = None
    for _ in range(2):
        expected_ys, expected_h = layer(xs, mask=_MASK)
        ys, h = jaxgru.gru(params, xs, h, mask=_MASK, reverse=go_backwards, zero_masked=zero_output)
        # Keras leaves the states of a backward pass in the order of computing.
        order = slice(None, None, -1 if go_backwards else 1)
        expected_ys = np.asarray(expected_ys)[:, order]
        # Before the first step that counts Keras gives zeros, and jaxgru the first state.
        begun = _MASK[:, order].cumsum(1)[:, order] > 0
        np.testing.assert_allclose(np.asarray(ys)[begun], expected_ys[begun], **_FLOAT32)
        np.testing.assert_allclose(h, expected_h, **_FLOAT32)


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_keras_in_both_directions(key, merge):
    keras = pytest.importorskip("keras")
    sides = [cases.random_params(k, 3, _UNITS) for k in jax.random.split(key)]
    xs = _inputs(key)
    for whole in (True, False):
        layer = keras.layers.Bidirectional(
            keras.layers.GRU(_UNITS, return_sequences=whole), merge_mode=merge
        )
        layer.build(xs.shape)
        for side, params in zip((layer.forward_layer, layer.backward_layer), sides, strict=True):
            _set_weights(side, params)
        # Keras' Bidirectional has masked outputs zero, whatever its layers say.
        ys, _ = jaxgru.gru(
            jaxgru.Bidirectional(*sides, merge), xs, mask=_MASK, return_sequences=whole,
            zero_masked=whole,
        )  # fmt: skip
        expected = jax.tree.leaves(layer(xs, mask=_MASK))
        chex.assert_trees_all_close(jax.tree.leaves(ys), expected, **_FLOAT32)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_onnx_runtime(key, direction):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    count, lengths = 2 if direction == "bidirectional" else 1, np.array([5, 1, 3])
    sides = [cases.random_params(k, 3, _UNITS) for k in jax.random.split(key)][:count]
    xs, starts = _inputs(key), _normal(key, count, _BATCH, _UNITS)
    arrays = {
        "W": np.stack([side.kernel.T for side in sides]),
        "R": np.stack([side.recurrent_kernel.T for side in sides]),
        "B": np.stack([jnp.concatenate([side.bias, side.recurrent_bias]) for side in sides]),
        "lengths": lengths.astype(np.int32),
        "h0": starts,
    }
    model = live_onnx.model_of(arrays, linear_before_reset=1, direction=direction)
    expected_ys, expected_h = live_onnx.run(model, {"x": np.moveaxis(xs, 1, 0)})
    if direction == "bidirectional":
        net, h0 = jaxgru.Bidirectional(*sides, None), jaxgru.Bidirectional(*starts)
    else:
        net, h0 = sides[0], starts[0]
    ys, h = jaxgru.gru(
        net, xs, h0, lengths=lengths, zero_masked=True, reverse=direction == "reverse"
    )
    by_time = [np.moveaxis(side, 1, 0) for side in jax.tree.leaves(ys)]
    np.testing.assert_allclose(np.stack(by_time, axis=1), expected_ys, **_FLOAT32)
    np.testing.assert_allclose(np.stack(jax.tree.leaves(h)), expected_h, **_FLOAT32)


def _inputs(key):
    return _normal(jax.random.fold_in(key, 1), _BATCH, _TIME, 3)


def _normal(key, *shape):
    return np.array(cases.random_inputs(key, shape))


def _set_weights(layer, params):
    if not layer.built:
        layer.build((_BATCH, _TIME, 3))
    both = np.stack([params.bias, params.recurrent_bias])
    layer.set_weights([params.kernel, params.recurrent_kernel, both])

"""Against the layers themselves: Keras and ONNX Runtime, padded and in both directions.

PyTorch's packed sequences are on a page of the documentation, which test_docs.py runs. Unpadded
sequences through converted layers are tested beside the conversions.
"""

import cases
import chex
import jax
import live_keras
import live_onnx
import live_params
import nets
import numpy as np
import pytest

import jaxgru

pytestmark = pytest.mark.live

# float32 on both sides, sums of about ten terms near 1, a few steps and layers deep.
_FLOAT32 = {"rtol": 2e-5, "atol": 2e-6}
_BATCH, _TIME = 3, 5
_LENGTHS = np.array([5, 1, 3])
# Every sequence with a step that counts, and gaps anywhere.
_MASK = np.array([[1, 1, 1, 1, 1], [0, 1, 1, 0, 1], [1, 0, 1, 0, 0]], bool)


@pytest.fixture
def xs(key):
    return np.array(cases.random_inputs(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3)))


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.filterwarnings("ignore::jaxgru.WeightsWarning")  # of what is done here
@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("zero_output", [False, True])
def test_keras_masks_and_a_state_kept_between_calls(key, xs, go_backwards, zero_output):
    pytest.importorskip("keras")
    layer = live_keras.gru(
        return_state=True, go_backwards=go_backwards, zero_output_for_mask=zero_output,
        stateful=True,
    )  # fmt: skip
    net, h = _randomised(layer, key), None
    for _ in range(2):
        expected_ys, expected_h = layer(xs, mask=_MASK)
        ys, h = jaxgru.gru(net, xs, h, mask=_MASK, zero_masked=zero_output)
        # Keras leaves the states of a backward pass last step first.
        order = slice(None, None, -1 if go_backwards else 1)
        expected_ys = np.asarray(expected_ys)[:, order]
        # Before the first step that counts Keras gives zeros, and jaxgru the first state.
        begun = _MASK[:, order].cumsum(1)[:, order] > 0
        np.testing.assert_allclose(np.asarray(ys)[begun], expected_ys[begun], **_FLOAT32)
        np.testing.assert_allclose(*jax.tree.leaves(h), expected_h, **_FLOAT32)


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_keras_in_both_directions(key, xs, merge):
    keras = pytest.importorskip("keras")
    for whole in (True, False):
        layer = keras.layers.Bidirectional(live_keras.gru(return_sequences=whole), merge_mode=merge)
        net = _randomised(layer, key)
        # Keras' Bidirectional has masked outputs zero, whatever its layers say.
        ys, _ = jaxgru.gru(net, xs, mask=_MASK, return_sequences=whole, zero_masked=whole)
        expected = jax.tree.leaves(layer(xs, mask=_MASK))
        chex.assert_trees_all_close(jax.tree.leaves(ys), expected, **_FLOAT32)


@pytest.mark.parametrize("variant", ["usual", "reverse", "bidirectional"])
def test_onnx_runtime(key, xs, variant):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    net = jaxgru.from_onnx(live_onnx.build(variant, key), assume={"merge": "concat"})
    h0 = nets.random_state(key, net, (_BATCH,))
    arrays = live_onnx.arrays_of(variant, key) | {
        "lengths": _LENGTHS.astype(np.int32),
        "h0": np.stack(jax.tree.leaves(h0)),
    }
    model = live_onnx.model_of(arrays, **live_onnx.attributes_of(variant))
    _, expected_h = live_onnx.run(model, {"x": np.moveaxis(xs, 1, 0)})
    ys, h = jaxgru.gru(net, xs, h0, lengths=_LENGTHS, zero_masked=True)
    np.testing.assert_allclose(ys, live_onnx.outputs(model, xs), **_FLOAT32)
    np.testing.assert_allclose(np.stack(jax.tree.leaves(h)), expected_h, **_FLOAT32)


def _randomised(layer, key):
    """Build a Keras layer with random weights; return its net."""
    layer.build((_BATCH, _TIME, 3))
    live_keras.randomise(layer, key)
    return jaxgru.from_keras(layer)


@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("with_h0", [False, True])
def test_haiku_resets_to_zeros(key, xs, with_h0):
    hk = pytest.importorskip("haiku")
    keys = jax.random.split(key, 2)
    h0 = cases.random_inputs(keys[0], (_BATCH, 4)) * with_h0
    given = xs.swapaxes(0, 1), ~_MASK.T

    def layer(given, h0):
        return hk.dynamic_unroll(hk.ResetCore(hk.GRU(4)), given, h0)

    function = hk.without_apply_rng(hk.transform(layer))
    variables = live_params.random_like(keys[1], jax.eval_shape(function.init, keys[1], given, h0))
    params = jaxgru.from_haiku(variables)
    options = {"resets": given[1], "time_major": True, "reset_state": 0 if with_h0 else None}
    found = jaxgru.gru(params, given[0], h0 if with_h0 else None, **options)
    chex.assert_trees_all_close(found, function.apply(variables, given, h0), **_FLOAT32)

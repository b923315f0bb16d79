"""ONNX models read: against ONNX Runtime, and as exporters write them."""

import warnings

import live_onnx
import ml_dtypes
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

# What is promised for states within 1 and 50 steps: sums of eight terms, rounded in another order
# on either side, that the gates damp from step to step; ONNX Runtime's tanh and sigmoid besides
# are rational functions, within two units of the last place.
_FLOAT32 = 2e-6
_USUAL, _ACTIVATIONS = live_onnx.variants()
# What a bidirectional node does not specify.
_JOINED = {"merge": "concat"}


def test_weights_are_equal_to_the_bit(key):
    arrays = live_onnx.arrays_of("unlike directions", key)
    attributes = live_onnx.attributes_of("unlike directions")
    net = jaxgru.from_onnx(live_onnx.model_of(arrays, **attributes), assume=_JOINED)
    for i, side in enumerate((net.forward, net.backward)):
        np.testing.assert_array_equal(side.kernel, arrays["W"][i].T)
        np.testing.assert_array_equal(side.recurrent_kernel, arrays["R"][i].T)
        np.testing.assert_array_equal(side.bias, arrays["B"][i, :12])
        np.testing.assert_array_equal(side.recurrent_bias, arrays["B"][i, 12:])
        assert not side.reset_after
        assert side.clip is None
    assert (net.forward.activation, net.forward.recurrent_activation) == (
        "softsign",
        "hard_sigmoid_keras2",
    )
    assert (net.backward.activation, net.backward.recurrent_activation) == ("tanh", "sigmoid")


@pytest.mark.parametrize("layout", [0, 1])
def test_layout_changes_no_weight(key, layout):
    # Read only: ONNX Runtime's CPU has no batch-first GRU to compare with.
    arrays = live_onnx.arrays_of("usual", key)
    net = jaxgru.from_onnx(live_onnx.model_of(arrays, linear_before_reset=1, layout=layout))
    np.testing.assert_array_equal(net.kernel, arrays["W"][0].T)


@pytest.mark.parametrize(("clip", "expected"), [(0.0, None), (np.inf, None), (0.5, 0.5)])
def test_clip(key, clip, expected):
    arrays = live_onnx.arrays_of("usual", key)
    assert jaxgru.from_onnx(live_onnx.model_of(arrays, clip=clip)).clip == expected


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("raw", [True, False])
def test_every_type_of_number(key, tmp_path, dtype, raw):
    # Read in NumPy: JAX has float64 in its x64 mode alone.
    arrays = live_onnx.arrays_of("usual", key, getattr(ml_dtypes, dtype, dtype))
    tensors = [_tensor(name, array, raw=raw) for name, array in arrays.items()]
    model = live_onnx.model_of(arrays, initializers=tensors, opset=22)
    live_onnx.write(model, tmp_path / "model")
    net = read_all(tmp_path / "model").gathered["layer"].net
    for found, expected in ((net.kernel, arrays["W"][0].T), (net.bias, arrays["B"][0, :12])):
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)


class TestChains:
    """Weights made of other constants on the way to the node."""

    def test_every_step_since_opset_13(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        W, R, B = arrays.values()
        constants = {
            "w_io": W[0].T.astype(np.float64),  # (I, 3H)
            "z": R[:, :4],
            "rh": R[:, 4:],
            "flat": np.concatenate([np.zeros(3, np.float32), B[0], np.zeros(2, np.float32)]),
            **_integers(axis=[0], shape=[1, -1], three=[3], end=[27], one=[1], all=[2**62]),
        }
        nodes = [
            helper.make_node("Transpose", ["w_io"], ["w_oi"]),
            helper.make_node("Cast", ["w_oi"], ["w32"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["w32", "axis"], ["W_"]),
            helper.make_node("Split", ["rh"], ["r", "h"], axis=1),
            helper.make_node("Concat", ["z", "r", "h"], ["joined"], axis=1),
            helper.make_node("Slice", ["joined", "axis", "all", "one", "one"], ["R_"]),
            helper.make_node("Slice", ["flat", "three", "end"], ["cut"]),
            helper.make_node("Reshape", ["cut", "shape"], ["reshaped"]),
            helper.make_node("Identity", ["reshaped"], ["B_"]),
        ]
        self._check(arrays, constants, nodes)

    def test_every_step_of_older_models(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        W, R, B = arrays.values()
        constants = {"w": W[0], "r": R[:, None], "b": np.concatenate([B, B[:, :2]], 1)}
        nodes = [
            helper.make_node("Unsqueeze", ["w"], ["W_"], axes=[0]),
            helper.make_node("Squeeze", ["r"], ["R_"], axes=[1]),
            helper.make_node("Split", ["b"], ["b1", "b2", "b3"], axis=1, split=[4, 20, 2]),
            helper.make_node("Concat", ["b1", "b2"], ["b4"], axis=1),
            helper.make_node("Slice", ["b4"], ["B_"], starts=[0], ends=[99], axes=[-1]),
        ]
        self._check(arrays, constants, nodes, opset=9)

    def test_constant_nodes(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        nodes = [
            helper.make_node("Constant", [], [f"{name}_"], value=numpy_helper.from_array(array))
            for name, array in arrays.items()
            if name != "B"
        ]
        numbers = helper.make_node("Constant", [], ["b"], value_floats=arrays["B"].ravel())
        shape = helper.make_node("Constant", [], ["shape"], value_ints=[1, 24])
        nodes += [numbers, shape, helper.make_node("Reshape", ["b", "shape"], ["B_"])]
        self._check(arrays, {}, nodes)

    def _check(self, arrays, constants, nodes, opset=14):
        model = live_onnx.model_of(
            arrays,
            initializers=live_onnx.tensors_of(constants),
            nodes=nodes,
            inputs=["x", "W_", "R_", "B_"],
            opset=opset,
            linear_before_reset=1,
        )
        net = jaxgru.from_onnx(model)
        np.testing.assert_array_equal(net.kernel, arrays["W"][0].T)
        np.testing.assert_array_equal(net.recurrent_kernel, arrays["R"][0].T)
        np.testing.assert_array_equal(net.bias, arrays["B"][0, :12])
        np.testing.assert_array_equal(net.recurrent_bias, arrays["B"][0, 12:])


@pytest.mark.live
@pytest.mark.parametrize("folding", [True, False])
def test_what_pytorch_exports(tmp_path, folding):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    xs = torch.randn(2, 5, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an exporter that PyTorch would rather replace
        torch.onnx.export(
            layer, (xs,), tmp_path / "model.onnx", dynamo=False, do_constant_folding=folding
        )
    # No word of an assumption: the graph tells how the directions are joined.
    nets = jaxgru.load_all(tmp_path / "model.onnx")
    assert list(nets) == ["/GRU", "/GRU_1"]
    with torch.no_grad():
        expected, _ = layer(xs)
    ys, _ = jaxgru.gru(tuple(nets.values()), xs.numpy())
    # Two layers, a few steps: within the bound for fifty.
    np.testing.assert_allclose(ys, expected.numpy(), rtol=0, atol=_FLOAT32)


def _tensor(name, array, *, raw):
    data_type = helper.np_dtype_to_tensor_dtype(array.dtype)
    if raw:
        return helper.make_tensor(name, data_type, array.shape, array.tobytes(), raw=True)
    return helper.make_tensor(name, data_type, array.shape, array.ravel().tolist())


def _integers(**values):
    return {name: np.array(value, np.int64) for name, value in values.items()}

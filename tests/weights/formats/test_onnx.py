"""ONNX models read: weights, chains of nodes, graphs within graphs, as exporters write them.

Every variant of a node is compared with ONNX Runtime in test_formats_tables.py; wrong models are in
``hostile.onnx``.
"""

import io
import warnings

import jax
import live_onnx
import ml_dtypes
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all
from jaxgru.weights.contract import HEAD, Source
from jaxgru.weights.formats import onnx as reader
from jaxgru.weights.formats.onnx.wire import begins_model

onnx = pytest.importorskip("onnx")
helper, numpy_helper = onnx.helper, onnx.numpy_helper

# What is promised for states within 1 and 50 steps: sums of eight terms, rounded in another order
# on either side, that the gates damp from step to step; ONNX Runtime's tanh and sigmoid besides
# are rational functions, within two units of the last place.
_FLOAT32 = 2e-6
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


def test_attributes(key):
    arrays = live_onnx.arrays_of("usual", key)
    for clip, expected in ((0.0, None), (np.inf, None), (0.5, 0.5)):
        assert jaxgru.from_onnx(live_onnx.model_of(arrays, clip=clip)).clip == expected
    for layout in (0, 1):  # ONNX Runtime's CPU has no batch-first GRU to compare with
        net = jaxgru.from_onnx(live_onnx.model_of(arrays, layout=layout))
        np.testing.assert_array_equal(net.kernel, arrays["W"][0].T)
    # By position these numbers mean the same as in turn.
    positions = {"activation_alpha": [0.2, 0.0], "activation_beta": [0.5, 0.0]}
    model = live_onnx.model_of(arrays, activations=["HardSigmoid", "Tanh"], **positions)
    assert jaxgru.from_onnx(model).recurrent_activation == "hard_sigmoid_keras2"


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


class TestWhereNodesAre:
    """Names, order, and graphs within graphs."""

    def test_names_and_order(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        names = ["b/GRU", "", "a", "", "a", "gru"]
        nodes = [
            helper.make_node("GRU", ["x", *arrays], [f"y{i}"], name=name)
            for i, name in enumerate(names)
        ]
        gathered = _gathered(_graph(nodes, arrays))
        assert list(gathered) == ["b/GRU", "gru", "a", "gru_1", "a_1", "gru_2"]

    def test_within_if_and_loop(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        inner = live_onnx.arrays_of("usual", jax.random.fold_in(key, 1))
        then, other, after = (
            helper.make_node("GRU", ["x", *arrays], [output], name=name)
            for name, output in (("then", "y"), ("else", "z"), ("after", "a"))
        )
        own = helper.make_graph([then], "own tensors", [], [], live_onnx.tensors_of(inner))
        outer = helper.make_graph([other], "without", [], [])
        branches = {"then_branch": own, "else_branch": outer}
        node = helper.make_node("If", ["c"], ["y"], name="if", **branches)
        loop = helper.make_graph([node, after], "body", [], [])
        gathered = _gathered(_graph([helper.make_node("Loop", ["n"], ["a"], body=loop)], arrays))
        # The library sorts the attributes of the If by name.
        assert list(gathered) == ["else", "then", "after"]
        for name, expected in (("then", inner), ("else", arrays), ("after", arrays)):
            np.testing.assert_array_equal(gathered[name].net.kernel, expected["W"][0].T)

    def test_within_functions(self, key):
        first, second = (live_onnx.arrays_of("usual", jax.random.fold_in(key, i)) for i in range(2))
        node = helper.make_node("GRU", ["x", "w", "r"], ["y"], name="inside")
        opsets = [helper.make_opsetid("", 14)]
        function = helper.make_function("own", "GRULayer", ["x", "w", "r"], ["y"], [node], opsets)
        tensors = {"W": first["W"], "R": first["R"], "W2": second["W"], "R2": second["R"]}
        calls = [
            helper.make_node("GRULayer", ["x", "W", "R"], ["a"], domain="own"),
            helper.make_node("GRULayer", ["a", "W2", "R2"], ["b"], domain="own"),
        ]
        model = _graph(calls, tensors)
        model.functions.append(function)
        gathered = _gathered(model)
        assert list(gathered) == ["inside", "inside_1"]
        for found, expected in zip(gathered.values(), (first, second), strict=True):
            np.testing.assert_array_equal(found.net.kernel, expected["W"][0].T)


class TestNotes:
    """What is said of a model beside its weights."""

    def test_merge_is_assumed(self, key):
        model = live_onnx.build("bidirectional", key)
        with pytest.warns(
            jaxgru.WeightsWarning, match="does not specify merge: 'concat' is assumed"
        ):
            assert jaxgru.from_onnx(model).merge == "concat"
        assert jaxgru.from_onnx(model, assume={"merge": "sum"}).merge == "sum"

    @pytest.mark.parametrize("repeated", [False, True])
    def test_constant_state(self, key, repeated):
        note = "the state begins at the constant 'start' of the model"
        with pytest.warns(jaxgru.WeightsWarning, match=note):
            self._load(key, np.ones((1, 1, 4), np.float32), repeated=repeated)
        # A state of zeros is the usual one.
        self._load(key, np.zeros((1, 1, 4), np.float32), repeated=repeated)

    def test_state_that_is_an_input(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        inputs = ["x", *arrays, "lengths", "given"]
        jaxgru.from_onnx(live_onnx.model_of(arrays, inputs=inputs))

    def _load(self, key, start, *, repeated):
        arrays = live_onnx.arrays_of("usual", key)
        tensors = live_onnx.tensors_of({**arrays, "start": start})
        expand = helper.make_node("Expand", ["start", "shape_of_x"], ["expanded"])
        model = live_onnx.model_of(
            arrays,
            initializers=tensors,
            nodes=[expand] if repeated else [],
            inputs=["x", *arrays, "", "expanded" if repeated else "start"],
        )
        jaxgru.from_onnx(model)

    def test_caller_and_file_contradict(self, key):
        model = live_onnx.build("usual", key)
        with pytest.raises(jaxgru.WeightsError, match="activation is 'tanh' in the file"):
            jaxgru.from_onnx(model, assume={"activation": "relu"})
        with pytest.raises(jaxgru.WeightsError, match="reverse is False in the file"):
            jaxgru.from_onnx(model, assume={"reverse": True})


class TestFromOnnx:
    """Models, graphs and nodes in memory."""

    def test_graph_and_node(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        graph = live_onnx.model_of(arrays, linear_before_reset=1).graph
        for net in (
            jaxgru.from_onnx(graph),
            jaxgru.from_onnx(graph.node[0], initializers=arrays),
        ):
            np.testing.assert_array_equal(net.kernel, arrays["W"][0].T)
            assert net.reset_after

    def test_layer(self, key):
        arrays = live_onnx.arrays_of("usual", key)
        nodes = [
            helper.make_node("GRU", ["x", *arrays], ["a"], name="one"),
            helper.make_node("GRU", ["x", *arrays], ["b"], name="two", linear_before_reset=1),
        ]
        model = _graph(nodes, arrays)
        assert jaxgru.from_onnx(model, layer="two").reset_after
        with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: expected layer=.*'one', 'two'"):
            jaxgru.from_onnx(model)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"model": "model.onnx"}, "model is a str: expected a ModelProto"),
            ({"initializers": {}}, "initializers are given with a ModelProto"),
        ],
    )
    def test_misuse(self, key, change, message):
        arguments = {"model": live_onnx.build("usual", key), **change}
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.from_onnx(**arguments)

    def test_node_without_its_weights(self, key):
        node = live_onnx.build("usual", key).graph.node[0]
        with pytest.raises(jaxgru.WeightsError, match="input W: nothing in the model is called"):
            jaxgru.from_onnx(node)


class TestRecognition:
    """By content, among files that begin otherwise."""

    def test_models(self, key):
        for variant in live_onnx.variants()[0]:
            content = live_onnx.build(variant, key).SerializeToString()
            assert begins_model(content[:HEAD])

    def test_long_texts_before_the_graph(self, key):
        model = live_onnx.build("usual", key)
        model.doc_string = "words " * 200
        assert begins_model(model.SerializeToString()[:HEAD])

    @pytest.mark.parametrize(
        "head",
        [
            b"",
            b'{"layers": [1, 2, 3]}',
            b"kernel 1.0 2.0\n" * 9,
            b"\x82\xa6kernel\xc7\x08\x01",  # msgpack: a map
            b"\xde\x00\x11\xa1a\x01",
            b"\xdf\x00\x01\x00\x00\xa1a\x01",
            b"PK\x03\x04\x14\x00\x08\x00\x08\x00",
            b"\x89HDF\r\n\x1a\n\x00\x00",
            b"\x93NUMPY\x01\x00v\x00{'descr'",
            b"\x80\x02}q\x00.",  # pickle
            b"\x08\x05\x00\x00\x00\x00\x00\x00{",  # safetensors: a header of 1288 bytes
        ],
    )
    def test_other_files(self, head):
        assert not begins_model(head)


def _graph(nodes, arrays):
    graph = helper.make_graph(nodes, "graph", [], [], live_onnx.tensors_of(arrays))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])


def _gathered(model):
    """Return what a file of the model holds."""
    content = model.SerializeToString()
    return reader.read(Source(io.BytesIO(content), len(content), {}))

"""Damaged, hostile and mistaken ONNX models: each is one WeightsError that says what is wrong.

``tests/hostile`` has those that reach for other files or for memory.
"""

import contextlib
import tracemalloc

import jax
import live_onnx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxgru
from jaxgru.weights import read_all
from jaxgru.weights.formats.onnx import wire

onnx = pytest.importorskip("onnx")
helper = onnx.helper

_ARRAYS = live_onnx.arrays_of("usual", jax.random.key(0))
_BOTH = live_onnx.arrays_of("bidirectional", jax.random.key(0))


def _changed(**changed):
    return live_onnx.model_of({**_ARRAYS, **changed})


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"direction": "sideways"}, "direction is 'sideways': expected forward, reverse"),
        ({"direction": "bidirectional"}, r"R has shape \(1, 12, 4\): expected \(2, 3H, H\)"),
        ({"layout": 2}, "layout is 2: expected 0 or 1"),
        ({"hidden_size": 5}, r"hidden_size is 5: expected 4, as R has shape \(1, 12, 4\)"),
        ({"clip": -1.0}, r"clip is -1\.0: expected a positive number, or 0 for none"),
        ({"clip": float("nan")}, "clip is nan"),
        ({"clip": 1}, r"clip has type 2: expected 1 \(float\)"),
        ({"zoneout": 0.5}, "attribute 'zoneout' is none of a GRU node's"),
        ({"activations": ["Tanh"]}, "activations has 1 functions: expected 2"),
        ({"activations": ["Sigmoid", "Swish"]}, "activations has 'Swish': expected Relu"),
        ({"activations": ["Sigmoid", "LeakyRelu"]}, "LeakyRelu with alpha 0.01: expected one"),
        (
            {"activations": ["Sigmoid", "Affine"]},
            "activation_alpha has 0 values: expected one more",
        ),
        (
            {"activations": ["HardSigmoid", "Tanh"], "activation_alpha": [0.25]},
            r"HardSigmoid with alpha 0\.25 and beta 0\.5: expected one that",
        ),
        (
            # By position the second number, in turn the first: two readings, two functions.
            {"activations": ["Sigmoid", "Elu"], "activation_alpha": [1.0, 2.0]},
            "activation_alpha has 2 values: expected 1, as many as its functions take",
        ),
    ],
)
def test_attributes(attributes, message):
    _refused(live_onnx.model_of(_ARRAYS, **attributes), message)


def test_numbers_by_position_that_say_the_same():
    model = live_onnx.model_of(
        _ARRAYS,
        activations=["HardSigmoid", "Tanh"],
        activation_alpha=[0.2, 0.0],
        activation_beta=[0.5, 0.0],
    )
    assert jaxgru.from_onnx(model).recurrent_activation == "hard_sigmoid_keras2"


def test_attribute_twice():
    model = _changed()
    model.graph.node[0].attribute.append(helper.make_attribute("hidden_size", 4))
    _refused(model, "attribute 'hidden_size' is there twice")


def test_attribute_of_a_call():
    model = _changed()
    model.graph.node[0].attribute[0].ref_attr_name = "units"
    _refused(model, "hidden_size is given where the function is called")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"R": np.ones((1, 12, 5), "f")}, r"R has shape \(1, 12, 5\): expected \(1, 3H, H\)"),
        ({"W": np.ones((12, 3), "f")}, r"W has shape \(12, 3\): expected \(1, 12, I\)"),
        ({"B": np.ones((1, 12), "f")}, r"B has shape \(1, 12\): expected \(1, 24\)"),
        ({"B": np.ones((1, 24))}, "R is float32 and B float64: expected one dtype"),
        ({"W": np.ones((1, 12, 3), "i4")}, "W has dtype int32: expected floating-point"),
    ],
)
def test_arrays(changed, message):
    _refused(_changed(**changed), message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dims": [1, 12, 4]}, r"\(1, 12, 4\) of float32, 192 bytes: expected the 144 bytes"),
        ({"dims": [1, 12, 0]}, r"has shape \(1, 12, 0\): expected at most 8 axes, each from 1"),
        ({"raw_data": b""}, "144 bytes: expected the 0 bytes"),
        ({"data_type": 3}, "data type 3: expected float16"),
        ({"data_location": 1}, "has its data in another file: expected it in the model"),
        ({"segment": onnx.TensorProto.Segment(begin=0)}, "is a segment of another"),
    ],
)
def test_tensors(change, message):
    _refused(_with_tensor(change), "input W: tensor 'W' .*" + message)


def test_typed_numbers_that_are_too_few_or_too_large():
    half = helper.make_tensor("W", onnx.TensorProto.FLOAT16, (1, 12, 3), [1.0] * 36)
    half.int32_data.pop()
    _refused(_with_tensor(half), "35 numbers in int32_data: expected 36")
    half.int32_data.append(2**16)
    _refused(_with_tensor(half), "numbers in int32_data beyond 16 bits")


class TestValues:
    """Weights that are not where they should be."""

    def test_inputs(self):
        model = _changed()
        del model.graph.node[0].input[2:]
        _refused(model, "input R is left out: expected weights")
        model.graph.node[0].input[1] = "elsewhere"
        _refused(model, "input W: nothing in the model is called 'elsewhere'")
        model.graph.node[0].input[1] = "x"
        _refused(model, "input W: 'x' is an input of the graph: expected a constant")

    @pytest.mark.parametrize(
        ("node", "message"),
        [
            (
                helper.make_node("DequantizeLinear", ["W", "s"], ["V"], name="dequantize"),
                "'V' is computed by DequantizeLinear node 'dequantize': expected a constant",
            ),
            (helper.make_node("Transpose", ["x"], ["V"]), "'x' is an input of the graph"),
            (helper.make_node("Transpose", ["W"], ["V"], domain="own"), "computed by Transpose"),
            (
                helper.make_node("Transpose", ["W"], ["V"], perm=[5, 6, 7]),
                "Transpose node: it does not fit",
            ),
            (helper.make_node("Concat", ["W", "R"], ["V"], axis=0), "Concat node: it"),
            (helper.make_node("Concat", [], ["V"], axis=0), "Concat node: it"),
            (helper.make_node("Identity", [""], ["V"]), "input 0 is left out"),
            (helper.make_node("Unsqueeze", ["W"], ["V"]), "axes cannot be None"),
            (
                helper.make_node("Reshape", ["W", "R"], ["V"]),
                "input of shape .* of float32: expected at most 8 int",
            ),
            (
                helper.make_node("Reshape", ["W"], ["V"], shape=[7, -1]),
                "Reshape node: it does not fit",
            ),
            (helper.make_node("Slice", ["W"], ["V"], starts=[0]), "Slice node: it does not fit"),
            (
                helper.make_node("Split", ["W"], ["V", "U"], axis=1, split=[5, 6]),
                "its parts are not the whole",
            ),
            (
                helper.make_node("Cast", ["W"], ["V"], to=7),
                "Cast node: it is from or to another type",
            ),
            (helper.make_node("Constant", [], ["V"], value_string="w"), "has 'value_string'"),
            (helper.make_node("Constant", [], ["V"]), "a Constant node has no value"),
        ],
    )
    def test_steps(self, node, message):
        inputs = ["x", "V", "R", "B"]
        _refused(live_onnx.model_of(_ARRAYS, nodes=[node], inputs=inputs), message)

    def test_sparse(self):
        model = _changed()
        values, indices = live_onnx.tensors_of({"W": _ARRAYS["W"].ravel(), "at": np.arange(36)})
        sparse = helper.make_sparse_tensor(values, indices, [1, 12, 3])
        model.graph.sparse_initializer.append(sparse)
        del model.graph.initializer[0]
        _refused(model, "initializer 'W' is sparse")

    def test_names_twice(self):
        model = _changed()
        model.graph.initializer.append(model.graph.initializer[0])
        _refused(model, "initializer 'W' is there 2 times: expected once")
        model = live_onnx.model_of(_ARRAYS, nodes=[helper.make_node("Identity", ["R"], ["W"])])
        _refused(model, "value 'W' is given twice: expected once")

    def test_names_that_are_no_text(self, tmp_path):
        content = _changed().SerializeToString().replace(b"layer", b"\xff\xfe\x00ab")
        (tmp_path / "model").write_bytes(content)
        assert list(jaxgru.load_all(tmp_path / "model")) == ["gru"]
        (tmp_path / "model").write_bytes(content.replace(b"\x0a\x01W", b"\x0a\x01\xff"))
        with pytest.raises(jaxgru.WeightsError, match="nothing in the model is called"):
            jaxgru.load(tmp_path / "model")


class TestOtherOperators:
    """What is not ONNX's own GRU."""

    @pytest.mark.parametrize(
        ("op_type", "message"),
        [
            ("Loop", "no GRU node in it, but 1 of Loop or Scan, into which some exporters"),
            ("Scan", "no GRU node in it, but 1 of Loop or Scan"),
            ("LSTM", "no GRU node in it, but LSTM: expected one"),
            ("MatMul", "no GRU node in it, among 1 nodes: expected one"),
        ],
    )
    def test_no_gru(self, op_type, message):
        graph = helper.make_graph([helper.make_node(op_type, ["x"], ["y"])], "graph", [], [])
        _refused(graph, message)

    @pytest.mark.parametrize(
        ("op_type", "domain"), [("DynamicQuantizeGRU", "com.microsoft"), ("GRU", "own")]
    )
    def test_custom_gru(self, op_type, domain):
        model = _changed()
        model.graph.node[0].op_type, model.graph.node[0].domain = op_type, domain
        _refused(model, f"the operator is '{op_type}' of domain '{domain}': expected GRU of ONNX")

    def test_neighbours_of_a_bad_one_are_sound(self, tmp_path):
        model = _changed()
        model.graph.node.append(helper.make_node("GRU", ["x", "W", "W"], ["z"], name="bad"))
        live_onnx.write(model, tmp_path / "model")
        assert jaxgru.load(tmp_path / "model", layer="layer").hidden_size == 4
        with pytest.raises(jaxgru.WeightsError, match="bad: R has shape"):
            jaxgru.load(tmp_path / "model", layer="bad")


class TestBounds:
    """Little files that ask for a lot."""

    def test_many_fields(self, tmp_path, monkeypatch):
        monkeypatch.setattr(wire, "MOST_FIELDS", 100)
        model = _changed()
        model.graph.node.extend(helper.make_node("Identity", ["a"], [f"b{i}"]) for i in range(99))
        live_onnx.write(model, tmp_path / "model")
        with pytest.raises(jaxgru.WeightsError, match="more than 100 fields"):
            jaxgru.load(tmp_path / "model")

    def test_calls_that_double(self):
        # Each function calls the next one twice: 2 to the 40 calls.
        model = _changed()
        for i in range(40):
            calls = [helper.make_node(f"f{i + 1}", [], [f"y{j}"], domain="own") for j in range(2)]
            opset = helper.make_opsetid("own", 1)
            model.functions.append(helper.make_function("own", f"f{i}", [], [], calls, [opset]))
        model.graph.node.append(helper.make_node("f0", [], ["y"], domain="own"))
        _refused(model, "it runs more than 262144 nodes")

    def test_many_nodes_with_the_same_weights(self):
        # 1,000 nodes of 1 MB of weights: each would be copied.
        W, R = np.ones((1, 600, 200), "f"), np.ones((1, 600, 200), "f")
        nodes = [
            helper.make_node("GRU", ["x", "W", "R"], [f"y{i}"], name=str(i)) for i in range(1000)
        ]
        tensors = live_onnx.tensors_of({"W": W, "R": R})
        graph = helper.make_graph(nodes, "graph", [], [], tensors)
        tracemalloc.start()
        assert jaxgru.from_onnx(graph, layer="0").hidden_size == 200
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        # The cap for small models, 64 MiB, and what Python holds of the nodes.
        assert peak < 80 * 2**20
        _refused(graph, "its arrays declare .* bytes: expected at most", layer="999")

    def test_zeros_that_are_looked_at_again_and_again(self):
        start = {"start": np.zeros((1, 2**18, 4), "f")}
        nodes = [
            helper.make_node("GRU", ["x", *_ARRAYS, "", "start"], [f"y{i}"], name=str(i))
            for i in range(1000)
        ]
        tensors = live_onnx.tensors_of({**_ARRAYS, **start})
        graph = helper.make_graph(nodes, "graph", [], [], tensors)
        _refused(graph, "its arrays declare", layer="999")


def test_cut_short_anywhere(tmp_path):
    content = live_onnx.model_of(_BOTH, direction="bidirectional").SerializeToString()
    path = tmp_path / "model"
    for length in range(0, len(content), 7):
        path.write_bytes(content[:length])
        with pytest.raises(jaxgru.WeightsError):
            read_all(path)


@given(st.data())
@settings(max_examples=100)
def test_any_bytes_changed(tmp_path_factory, data):
    content = bytearray(
        live_onnx.model_of(_BOTH, direction="bidirectional", clip=0.5).SerializeToString()
    )
    for position in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=4)):
        content[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "model"
    path.write_bytes(content)
    # A net, or the one error.
    with contextlib.suppress(jaxgru.WeightsError):
        read_all(path)


def _refused(model, message, layer=None):
    with pytest.raises(jaxgru.WeightsError, match=message) as caught:
        jaxgru.from_onnx(model, layer=layer)
    assert str(caught.value).isprintable()


def _with_tensor(change):
    """Return a model with W replaced, or with fields of its tensor replaced."""
    model = _changed()
    tensor = model.graph.initializer[0]
    if isinstance(change, onnx.TensorProto):
        tensor.CopyFrom(change)
        return model
    for field, value in change.items():
        tensor.ClearField(field)
        tensor.MergeFrom(onnx.TensorProto(**{field: value}))
    return model

"""What a model holds beside weights: names, inner graphs, notes, and how it is recognised."""

import io

import jax
import live_onnx
import numpy as np
import pytest

import jaxgru
from jaxgru.weights.contract import HEAD, Source
from jaxgru.weights.formats import onnx as reader
from jaxgru.weights.formats.onnx.wire import begins_model

onnx = pytest.importorskip("onnx")
helper = onnx.helper


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
        own = helper.make_graph(
            [helper.make_node("GRU", ["x", *arrays], ["y"], name="then")],
            "with tensors of its own",
            [],
            [],
            live_onnx.tensors_of(inner),
        )
        outer = helper.make_graph(
            [helper.make_node("GRU", ["x", *arrays], ["z"], name="else")], "without", [], []
        )
        loop = helper.make_graph(
            [
                helper.make_node("If", ["c"], ["y"], name="if", then_branch=own, else_branch=outer),
                helper.make_node("GRU", ["x", *arrays], ["a"], name="after"),
            ],
            "body",
            [],
            [],
        )
        gathered = _gathered(_graph([helper.make_node("Loop", ["n"], ["a"], body=loop)], arrays))
        # The library sorts the attributes of the If by name.
        assert list(gathered) == ["else", "then", "after"]
        for name, expected in (("then", inner), ("else", arrays), ("after", arrays)):
            np.testing.assert_array_equal(gathered[name].net.kernel, expected["W"][0].T)

    def test_within_functions(self, key):
        first, second = (live_onnx.arrays_of("usual", jax.random.fold_in(key, i)) for i in range(2))
        function = helper.make_function(
            "own",
            "GRULayer",
            ["x", "w", "r"],
            ["y"],
            [helper.make_node("GRU", ["x", "w", "r"], ["y"], name="inside")],
            [helper.make_opsetid("", 14)],
        )
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

    @pytest.mark.parametrize("repeated", [False, True])
    def test_zero_state_is_the_usual_one(self, key, repeated):
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

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
from jaxgru._weights.contract import HEAD, Source
from jaxgru._weights.formats.onnx import format as reader
from jaxgru._weights.formats.onnx.wire import begins_model
from jaxgru._weights.io import read_all

onnx = pytest.importorskip("onnx")
helper, node = onnx.helper, onnx.helper.make_node

# What is promised for states within 1 and 50 steps: sums of eight terms, rounded in another order
# on either side, that the gates damp from step to step.
_FLOAT32 = 2e-6


@pytest.fixture
def arrays(key):
    return live_onnx.arrays_of("usual", key)


def _gru(output="y", name="", weights="WRB", **options):
    return node("GRU", ["x", *weights], [output], name=name, **options)


def _graph(nodes, arrays):
    graph = helper.make_graph(nodes, "graph", [], [], live_onnx.tensors_of(arrays))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])


def _gathered(model):
    """Return what a file of the model holds."""
    content = model.SerializeToString()
    stored = reader.read(Source(io.BytesIO(content), len(content)))
    return stored.find(stored.arrays, {})


def _assert_holds(net, arrays, side=0):
    """Compare a layer with one direction of a node's arrays bit-for-bit."""
    W, R, B = (arrays[name][side] for name in "WRB")
    held = (net.kernel.T, net.recurrent_kernel.T, np.append(net.bias, net.recurrent_bias))
    for one, other in zip(held, (W, R, B), strict=True):
        np.testing.assert_array_equal(one, other, strict=True)


def test_attributes(arrays):
    for clip, expected in ((0.0, None), (np.inf, None), (0.5, 0.5)):
        assert jaxgru.from_onnx(live_onnx.model_of(arrays, clip=clip)).clip == expected
    for layout in (0, 1):  # ONNX Runtime's CPU has no batch-first GRU to compare with
        _assert_holds(jaxgru.from_onnx(live_onnx.model_of(arrays, layout=layout)), arrays)
    # By position these numbers mean the same as in turn.
    positions = {"activation_alpha": [0.2, 0.0], "activation_beta": [0.5, 0.0]}
    model = live_onnx.model_of(arrays, activations=["HardSigmoid", "Tanh"], **positions)
    assert jaxgru.from_onnx(model).recurrent_activation == "hard_sigmoid_keras2"


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("raw", [True, False])
def test_every_type_of_number(key, tmp_path, dtype, raw):
    # Read in NumPy: JAX has float64 in its x64 mode alone.
    arrays = live_onnx.arrays_of("usual", key, getattr(ml_dtypes, dtype, dtype))
    kind = helper.np_dtype_to_tensor_dtype(arrays["W"].dtype)
    tensors = [
        helper.make_tensor(name, kind, a.shape, a.tobytes() if raw else a.ravel().tolist(), raw=raw)
        for name, a in arrays.items()
    ]
    model = live_onnx.model_of(arrays, initializers=tensors, opset=22)
    live_onnx.write(model, tmp_path / "model")
    _assert_holds(read_all(tmp_path / "model").gathered["layer"].net, arrays)


class TestChains:
    """Weights made of other constants on the way to the node."""

    def test_every_step_since_opset_13(self, arrays):
        W, R, B = arrays.values()
        numbers = {"axis": [0], "shape": [1, -1], "three": [3], "end": [27], "one": [1]}
        constants = (
            {
                "w_io": W[0].T.astype(np.float64),  # (I, 3H)
                "z": R[:, :4],
                "rh": R[:, 4:],
                "flat": np.concatenate([np.zeros(3, np.float32), B[0], np.zeros(2, np.float32)]),
            }
            | {name: np.array(value) for name, value in (numbers | {"all": [2**62]}).items()}
        )
        nodes = [
            node("Transpose", ["w_io"], ["w_oi"]),
            node("Cast", ["w_oi"], ["w32"], to=onnx.TensorProto.FLOAT),
            node("Unsqueeze", ["w32", "axis"], ["W_"]),
            node("Split", ["rh"], ["r", "h"], axis=1),
            node("Concat", ["z", "r", "h"], ["joined"], axis=1),
            node("Slice", ["joined", "axis", "all", "one", "one"], ["R_"]),
            node("Slice", ["flat", "three", "end", "", "one"], ["cut"]),
            node("Reshape", ["cut", "shape"], ["reshaped"]),
            node("Identity", ["reshaped"], ["B_"]),
        ]
        self._check(arrays, constants, nodes)

    def test_every_step_of_older_models(self, arrays):
        W, R, B = arrays.values()
        constants = {"w": W[0], "r": R[:, None], "b": np.concatenate([B, B[:, :2]], 1)}
        nodes = [
            node("Unsqueeze", ["w"], ["W_"], axes=[0]),
            node("Squeeze", ["r"], ["R_"], axes=[1]),
            node("Split", ["b"], ["b1", "b2", "b3"], axis=1, split=[4, 20, 2]),
            node("Concat", ["b1", "b2"], ["b4"], axis=1),
            node("Slice", ["b4"], ["B_"], starts=[0], ends=[99], axes=[-1]),
        ]
        self._check(arrays, constants, nodes, opset=9)

    def test_constant_nodes(self, arrays):
        tensors = live_onnx.tensors_of(arrays)
        nodes = [node("Constant", [], [f"{t.name}_"], value=t) for t in tensors[:2]]
        numbers = node("Constant", [], ["b"], value_floats=arrays["B"].ravel())
        shape = node("Constant", [], ["shape"], value_ints=[1, 24])
        nodes += [numbers, shape, node("Reshape", ["b", "shape"], ["B_"])]
        self._check(arrays, {}, nodes)

    @pytest.mark.live
    @pytest.mark.parametrize("dtype", ["int8", "uint8"])
    @pytest.mark.parametrize("kind", ["tensor", "axis", "blocks"])
    def test_quantized_weights(self, key, arrays, dtype, kind):
        pytest.importorskip("onnxruntime")
        random, limits = np.random.default_rng(0), np.iinfo(dtype)
        constants, nodes = {"B_": arrays["B"]}, []
        for name in "WR":
            shape = arrays[name].shape
            some = {"tensor": (), "axis": shape[1], "blocks": (1, 4, shape[2])}[kind]
            constants |= {
                f"{name}q": random.integers(limits.min, limits.max, shape, dtype, endpoint=True),
                f"{name}s": random.uniform(1e-3, 5e-3, some).astype("f4"),
                f"{name}z": random.integers(limits.min, limits.max, some, dtype),
            }
            options = {"tensor": {}, "axis": {"axis": 1}, "blocks": {"axis": 1, "block_size": 3}}
            inputs = [name + letter for letter in "qsz"]
            nodes.append(node("DequantizeLinear", inputs, [f"{name}_"], **options[kind]))
        opset = 21 if kind == "blocks" else 13
        made = {"nodes": nodes, "opset": opset, "inputs": ["x", "W_", "R_", "B_"]}
        model = live_onnx.model_of(
            arrays, initializers=live_onnx.tensors_of(constants), linear_before_reset=1, **made
        )
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in ("W_", "R_"))
        for value in model.graph.output[2:]:
            value.type.tensor_type.elem_type = 1
        net = jaxgru.from_onnx(model)
        xs = np.asarray(jax.random.normal(key, (5, 2, 3)))
        *_, W, R = live_onnx.run(model, {"x": xs})
        _assert_holds(net, {"W": W, "R": R, "B": arrays["B"]})

    def _check(self, arrays, constants, nodes, opset=14):
        made = {"initializers": live_onnx.tensors_of(constants), "nodes": nodes, "opset": opset}
        model = live_onnx.model_of(arrays, **made, inputs=["x", "W_", "R_", "B_"])
        # The version of operators is that of ONNX's own set; properties may be another program's.
        model.opset_import.insert(0, helper.make_opsetid("own", 1))
        helper.set_model_props(model, {"author": "another"})
        _assert_holds(jaxgru.from_onnx(model), arrays)


@pytest.mark.live
@pytest.mark.parametrize("folding", [True, False])
def test_what_pytorch_exports(tmp_path, folding):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    layer = torch.nn.GRU(3, 4, num_layers=2, bidirectional=True, batch_first=True)
    xs = torch.randn(2, 5, 3)
    options = {"dynamo": False, "do_constant_folding": folding}
    with warnings.catch_warnings(action="ignore"):  # of an exporter that PyTorch would replace
        torch.onnx.export(layer, (xs,), tmp_path / "model.onnx", **options)
    # Nothing is assumed: the graph shows how the directions are joined.
    nets = jaxgru.load_all(tmp_path / "model.onnx")
    assert list(nets) == ["/GRU", "/GRU_1"]
    with torch.no_grad():
        expected, _ = layer(xs)
    ys, _ = jaxgru.gru(tuple(nets.values()), xs.numpy())
    # Two layers, a few steps: within the bound for fifty.
    np.testing.assert_allclose(ys, expected.numpy(), rtol=0, atol=_FLOAT32)


class TestWhereNodesAre:
    """Names, order, and graphs within graphs."""

    def test_names_and_order(self, arrays):
        names = ["b/GRU", "", "a", "", "a", "gru"]
        gathered = _gathered(_graph([_gru(f"y{i}", n) for i, n in enumerate(names)], arrays))
        assert list(gathered) == ["b/GRU", "gru", "a", "gru_1", "a_1", "gru_2"]

    def test_within_if_and_loop(self, key, arrays):
        inner = live_onnx.arrays_of("usual", jax.random.fold_in(key, 1))
        own = helper.make_graph([_gru("y", "then")], "own", [], [], live_onnx.tensors_of(inner))
        outer = helper.make_graph([_gru("z", "else")], "without tensors", [], [])
        branches = node("If", ["c"], ["y"], name="if", then_branch=own, else_branch=outer)
        body = helper.make_graph([branches, _gru("a", "after")], "body", [], [])
        gathered = _gathered(_graph([node("Loop", ["n"], ["a"], body=body)], arrays))
        # The library sorts the attributes of the If by name.
        assert list(gathered) == ["else", "then", "after"]
        for name, expected in (("then", inner), ("else", arrays), ("after", arrays)):
            _assert_holds(gathered[name].net, expected)

    def test_within_functions(self, key, arrays):
        second = live_onnx.arrays_of("usual", jax.random.fold_in(key, 1))
        inside, opsets = _gru(name="inside", weights="wrb"), [helper.make_opsetid("", 14)]
        function = helper.make_function("own", "AGRULayer", list("xwrb"), ["y"], [inside], opsets)
        calls = [
            node("AGRULayer", ["x", "W", "R", "B"], ["a"], domain="own"),
            node("AGRULayer", ["a", "W2", "R2", "B2"], ["b"], domain="own"),
        ]
        model = _graph(calls, arrays | {f"{name}2": array for name, array in second.items()})
        model.functions.append(function)
        gathered = _gathered(model)
        assert list(gathered) == ["inside", "inside_1"]
        for found, expected in zip(gathered.values(), (arrays, second), strict=True):
            _assert_holds(found.net, expected)


class TestNotes:
    """What there is of a model beside its weights."""

    def test_merge_is_assumed(self, key):
        model = live_onnx.build("bidirectional", key)
        with pytest.warns(jaxgru.WeightsWarning, match="not specify merge: 'concat' is assumed"):
            assert jaxgru.from_onnx(model).merge == "concat"
        assert jaxgru.from_onnx(model, assume={"merge": "sum"}).merge == "sum"
        # As PyTorch joins both directions; in another order of axes they are not joined.
        last = node("Reshape", ["turned", "shape"], ["joined"])
        model.graph.node.extend([node("Transpose", ["Y"], ["turned"], perm=[0, 2, 1, 3]), last])
        model.graph.output.add(name="joined")
        assert jaxgru.from_onnx(model).merge == "concat"
        model.graph.node[1].attribute[0].ints[:] = [0, 2, 3, 1]
        with (
            pytest.warns(jaxgru.WeightsWarning, match="not specify merge"),
            pytest.warns(jaxgru.WeightsWarning, match="Reshape node changes the steps or units"),
        ):
            jaxgru.from_onnx(model)

    @pytest.mark.parametrize("repeated", [False, True])
    def test_constant_state(self, arrays, repeated):
        note = "the state begins at the constant 'start' of the model"
        with pytest.warns(jaxgru.WeightsWarning, match=note):
            self._load(arrays, np.ones((1, 1, 4), np.float32), repeated=repeated)
        # A state of zeros is the usual one.
        self._load(arrays, np.zeros((1, 1, 4), np.float32), repeated=repeated)

    def test_reset_gate_that_pytorch_does_not_have(self, arrays):
        model = live_onnx.model_of(arrays)
        assert not jaxgru.from_onnx(model).reset_after  # of another writer
        model.producer_name = "pytorch"
        with pytest.warns(jaxgru.WeightsWarning, match=r'0, but torch.*override={"reset_after": T'):
            assert not jaxgru.from_onnx(model).reset_after
        note = "reset_after is False in the file: changed to True by override"
        with pytest.warns(jaxgru.WeightsWarning, match=note) as caught:
            assert jaxgru.from_onnx(model, override={"reset_after": True}).reset_after
        assert len(caught) == 1

    def test_state_that_is_an_input(self, arrays):
        inputs = ["x", *arrays, "lengths", "given"]
        jaxgru.from_onnx(live_onnx.model_of(arrays, inputs=inputs))

    def _load(self, arrays, start, *, repeated):
        tensors = live_onnx.tensors_of(arrays | {"start": start})
        nodes = [node("Expand", ["start", "shape_of_x"], ["expanded"])] if repeated else []
        inputs = ["x", *arrays, "", "expanded" if repeated else "start"]
        made = {"initializers": tensors, "nodes": nodes, "inputs": inputs}
        jaxgru.from_onnx(live_onnx.model_of(arrays, **made))


class TestFromOnnx:
    """Models, graphs and nodes in memory."""

    def test_graph_and_node(self, arrays):
        graph = live_onnx.model_of(arrays, linear_before_reset=1).graph
        for net in (
            jaxgru.from_onnx(graph),
            jaxgru.from_onnx(graph.node[0], initializers=arrays),
        ):
            _assert_holds(net, arrays)
            assert net.reset_after

    def test_layer(self, arrays):
        nodes = [_gru("a", "one"), _gru("b", "two", linear_before_reset=1)]
        model = _graph(nodes, arrays)
        assert jaxgru.from_onnx(model, layer="two").reset_after
        with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: expected layer=.*'one', 'two'"):
            jaxgru.from_onnx(model)

    def test_misuse(self, key):
        model = live_onnx.build("usual", key)
        for source, options, message in (
            ("model.onnx", {}, "model is a str: expected a ModelProto"),
            (model, {"initializers": {}}, "initializers are given with a ModelProto"),
            (model.graph.node[0], {}, "input W: nothing in the model is called"),
        ):
            with pytest.raises(jaxgru.WeightsError, match=message):
                jaxgru.from_onnx(source, **options)


def test_a_long_text_before_the_graph_hides_no_model(key):
    model = live_onnx.build("usual", key)
    model.doc_string = "words " * 200
    assert begins_model(model.SerializeToString()[:HEAD])

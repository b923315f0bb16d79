"""What a graph does to time around its GRU nodes, and which nodes follow one another.

The oracle is ONNX Runtime on the same graph: what is read gives its outputs, or a warning says what
the graph does besides.
"""

import re
import warnings

import jax
import live_onnx
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.formats.onnx.models import gather

onnx = pytest.importorskip("onnx")
helper, node = onnx.helper, onnx.helper.make_node

# As in test_onnx.py.
_FLOAT32 = 2e-6
_UNITS = live_onnx.UNITS
_NUMBERS = {
    "one": [1], "back": [-1], "start": [-(2**63)], "zero": [0], "far": [2**62], "two": [2],
    "roll": [1, 2, 3, 4, 0], "steps": [5, 5],
}  # fmt: skip


def _model(key, nodes, outputs=("out",), lengths=False):
    """Return a model of nodes after one that makes x, (time, batch, 4), of the input."""
    arrays = {name: np.array(values, np.int64) for name, values in _NUMBERS.items()}
    arrays |= {"half": np.float32(0.5), "full": np.full(2, 5, np.int64)}
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for gru in "abc":
        for name, shape in (("W", (12, _UNITS)), ("R", (12, _UNITS)), ("B", (24,))):
            arrays[f"{gru}{name}"] = random.normal(size=(1, *shape)).astype("f4") / 4
    for gru in "de":  # two directions, and a layer over both
        sides, inputs = (2, _UNITS) if gru == "d" else (1, 2 * _UNITS)
        for name, shape in (("W", (12, inputs)), ("R", (12, _UNITS)), ("B", (24,))):
            arrays[f"{gru}{name}"] = random.normal(size=(sides, *shape)).astype("f4") / 4
    info = helper.make_tensor_value_info
    inputs = [info("input", 1, [2, 5, _UNITS])] + [info("lengths", 7, [2])] * lengths
    graph = helper.make_graph(
        [node("Transpose", ["input"], ["x"], perm=[1, 0, 2]), *nodes], "graph", inputs,
        [info(output, 1, None) for output in outputs], live_onnx.tensors_of(arrays),
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def _gru(name, x, y, lengths="", h="", **options):
    """Return the nodes of a GRU over (time, batch, ...), as PyTorch and tf2onnx write them."""
    options = {"linear_before_reset": 1, "hidden_size": _UNITS} | options
    weights = [name + letter for letter in "WRB"]
    made = node("GRU", [x, *weights, lengths], [f"{y}_4", h], name=name, **options)
    return [made, node("Squeeze", [f"{y}_4", "one"], [y])]


def _flip(x, y, axis="zero"):
    return [node("Slice", [x, "back", "start", axis, "back"], [y], name=f"flip {y}")]


def _sequence(x, y, lengths="steps"):
    return [node("ReverseSequence", [x, lengths], [y], name=f"reverse {y}")]


def _both(first="ya", second="yb", op_type="Concat", out="both", **options):
    options = {"axis": 2} if op_type == "Concat" else options
    return [node(op_type, [first, second], [out], name="join", **options)]


def _done(x):
    return [node("Transpose", [x], ["out"], perm=[1, 0, 2])]


_PAIR = [*_gru("a", "x", "ya"), *_flip("x", "xr"), *_gru("b", "xr", "yr"), *_flip("yr", "yb")]
# Nodes, and the types of the nets, which give what the graph gives, without a warning.
_READ = {
    "forward": ([*_gru("a", "x", "ya"), *_done("ya")], ["GRUParams"]),
    "flipped": (
        [*_flip("x", "xr"), *_gru("a", "xr", "yr"), *_flip("yr", "y"), *_done("y")], ["Backward"]),
    "flipped before the transpose": (
        [*_flip("input", "i", "one"), node("Transpose", ["i"], ["xr"], perm=[1, 0, 2]),
         *_gru("a", "xr", "yr"), *_flip("yr", "y"), *_done("y")], ["Backward"]),
    "flipped twice": (
        [*_flip("x", "xr"), *_flip("xr", "x2"), *_gru("a", "x2", "y"), *_done("y")], ["GRUParams"]),
    "a node that runs back, flipped": (
        [*_flip("x", "xr"), *_gru("a", "xr", "yr", direction="reverse"), *_flip("yr", "y"),
         *_done("y")], ["GRUParams"]),
    "a sequence reversed": (
        [*_sequence("x", "xr"), *_gru("a", "xr", "yr"), *_sequence("yr", "y"), *_done("y")],
        ["Backward"]),
    "a pair": ([*_PAIR, *_both(), *_done("both")], ["Bidirectional"]),
    "a pair, backward first": ([*_PAIR, *_both("yb", "ya"), *_done("both")], ["Backward"]),
    "a pair added": ([*_PAIR, *_both(op_type="Add"), *_done("both")], ["Bidirectional"]),
    "a pair multiplied": ([*_PAIR, *_both(op_type="Mul"), *_done("both")], ["Bidirectional"]),
    "a pair averaged": (
        [*_PAIR, *_both(op_type="Add"), node("Mul", ["both", "half"], ["half of both"]),
         *_done("half of both")], ["Bidirectional"]),
    "a pair of nodes of both directions": (
        [*_gru("a", "x", "ya"), *_gru("b", "x", "yb", direction="reverse"), *_both(),
         *_done("both")], ["Bidirectional"]),
    "a layer over a pair": (
        [*_PAIR, *_both(), *_gru("e", "both", "y"), *_done("y")], ["Bidirectional", "GRUParams"]),
    "a stack": ([*_gru("a", "x", "ya"), *_gru("b", "ya", "y"), *_done("y")], ["GRUParams"] * 2),
    "a stack flipped": (
        [*_flip("x", "xr"), *_gru("a", "xr", "ya"), *_gru("b", "ya", "yr"), *_flip("yr", "y"),
         *_done("y")], ["Backward"] * 2),
    "a stack flipped between": (
        [*_gru("a", "x", "ya"), *_flip("ya", "xr"), *_gru("b", "xr", "yr"), *_flip("yr", "y"),
         *_done("y")], ["GRUParams", "Backward"]),
}  # fmt: skip


@pytest.mark.live
@pytest.mark.parametrize("name", _READ)
def test_what_the_graph_gives(key, name):
    pytest.importorskip("onnxruntime")
    nodes, kinds = _READ[name]
    model, xs = _model(key, nodes), jax.random.normal(key, (2, 5, _UNITS))
    (expected,) = live_onnx.run(model, {"input": np.asarray(xs)})
    net = jaxgru.from_onnx(model, layer="*" if len(kinds) > 1 else None)
    net = net if isinstance(net, tuple) else (net,)
    assert [type(layer).__name__ for layer in net] == kinds
    np.testing.assert_allclose(jaxgru.gru(net, xs)[0], expected, rtol=0, atol=_FLOAT32)


_NOTED = {
    "outputs that are not turned back": (
        [*_flip("x", "xr"), *_gru("a", "xr", "y"), *_done("y")],
        "reach an output of the graph in the reversed order of time: reverse the steps of ys"),
    "outputs that are turned": (
        [*_gru("a", "x", "y"), *_flip("y", "yr"), *_done("yr")],
        "reach an output of the graph in the reversed order of time: reverse the steps of ys"),
    "inputs rolled": (
        [node("Gather", ["x", "roll"], ["xr"], axis=0, name="roll"), *_gru("a", "xr", "y"),
         *_done("y")], "Gather node 'roll' changes the steps of its inputs: give the GRU what"),
    "steps left out": (
        [node("Slice", ["x", "one", "far", "zero", "one"], ["xr"], name="cut"),
         *_gru("a", "xr", "y"), *_done("y")], "Slice node 'cut' changes the steps of its inputs"),
    "outputs rolled": (
        [*_gru("a", "x", "y"), node("Gather", ["y", "roll"], ["yr"], axis=0, name="roll"),
         *_done("yr")], "Gather node 'roll' changes the steps of the outputs: do so with ys"),
    "one step": (
        [node("Gather", ["input", "one"], ["i"], axis=1, name="step"),
         node("Slice", ["input", "zero", "one", "one", "one"], ["first"], name="first"),
         node("Transpose", ["first"], ["xr"], perm=[1, 0, 2]), *_gru("a", "xr", "y"), *_done("y")],
        "Slice node 'first' changes the steps of its inputs"),
    "features reversed": (
        [*_flip("x", "xr", "two"), *_gru("a", "xr", "y"), *_done("y")],
        "the graph reverses the features of its inputs"),
    "inputs flipped before another layer": (
        [*_flip("x", "xr"), node("Tanh", ["xr"], ["t"]), *_gru("a", "t", "y"), *_done("y")],
        "Slice node 'flip xr' reverses what the inputs are computed from"),
    "sequences of other lengths": (
        [*_sequence("x", "xr", "lengths"), *_gru("a", "xr", "yr"),
         *_sequence("yr", "y", "lengths"), *_done("y")],
        "reverses only as many steps as 'lengths' says: give this as lengths"),
}  # fmt: skip


@pytest.mark.parametrize("name", _NOTED)
def test_what_no_net_does_is_noted(key, name):
    nodes, note = _NOTED[name]
    with pytest.warns(jaxgru.WeightsWarning, match=re.escape(note)) as caught:
        jaxgru.from_onnx(_model(key, nodes, lengths=True))
    assert len(caught) == 1


def test_direction_can_not_be_assumed_otherwise(key):
    model = _model(key, [*_flip("x", "xr"), *_gru("a", "xr", "yr"), *_flip("yr", "out")])
    assert isinstance(jaxgru.from_onnx(model, assume={"reverse": True}), jaxgru.Backward)
    with pytest.raises(jaxgru.WeightsError, match="reverse is True in the file"):
        jaxgru.from_onnx(model, assume={"reverse": False})


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ([*_gru("a", "x", "ya"), *_gru("b", "x", "yb"), *_both(op_type="Add", out="out")],
         "the inputs of 'b' are those of the model: expected the outputs of 'a'"),
        ([*_gru("a", "x", "ya"), node("Tanh", ["ya"], ["t"], name="act"), *_gru("b", "t", "out")],
         "the inputs of 'b' are the outputs of Tanh node 'act': expected the outputs of 'a'"),
        ([*_gru("a", "x", "ya"), node("Transpose", ["ya"], ["t"], perm=[1, 0, 2]),
          *_gru("b", "t", "out")], "the inputs of 'b' are no sequence of a in the order of time"),
    ],
)  # fmt: skip
def test_what_is_no_stack(key, nodes, message):
    for layer in ("a+b", "*"):
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.from_onnx(_model(key, nodes), layer=layer)


@pytest.mark.parametrize(
    "nodes",
    [
        [node("Squeeze", ["y_4", "all"], ["y"]), node("Gather", ["y", "one"], ["z"])],
        [node("Squeeze", ["y_4", "all"], ["y"]), *_gru("b", "y", "z")],
        [node("ReverseSequence", ["y_4"], ["y"]), node("Gather", ["y"], ["z"])],
        [node("Slice", ["y_4", "nan", "nan"], ["y"]), node("Gather", ["y", "nan"], ["z"])],
        [node("Concat", ["y_4", "z"], ["y"], axis=99), node("Div", ["y"], ["z"])],
        [node("Split", ["y_4"], ["y", "z"], axis=-9), node("Transpose", ["y"], ["t"], perm=[7])],
    ],
)
def test_nodes_that_are_wrong_are_no_way_further(key, nodes):
    model = _model(key, [_gru("a", "x", "y")[0], *nodes], outputs=("z",))
    tensors = {"nan": np.array([np.nan], "f4"), "all": np.arange(3)}
    model.graph.initializer.extend(live_onnx.tensors_of(tensors))
    assert isinstance(jaxgru.from_onnx(model, layer="a"), jaxgru.GRUParams)


def test_ways_are_looked_at_once(key):
    # 500 GRUs behind the same 20,000 nodes: once, and not by each of them.
    chain = [node("Tanh", [f"t{i}" if i else "x"], [f"t{i + 1}"]) for i in range(20_000)]
    grus = [_gru("a", "t20000", f"y{i}")[0] for i in range(500)]
    assert len(gather(_model(key, [*chain, *grus]), 2**24, {})) == 500


def test_lengths_of_the_node_itself(key):
    # The graph reverses as many steps as the node has: what Backward does with lengths.
    nodes = [*_sequence("x", "xr", "lengths"), *_gru("a", "xr", "yr", "lengths"),
             *_sequence("yr", "out", "lengths")]  # fmt: skip
    with warnings.catch_warnings(action="error"):
        net = jaxgru.from_onnx(_model(key, nodes, lengths=True))
    assert isinstance(net, jaxgru.Backward)

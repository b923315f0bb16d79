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
    "roll": [1, 2, 3, 4, 0], "steps": [5, 5], "last": [3], "swapped": [2, 5, 4], "same": [5, 2, 4],
    "flat": [0, 0, -1], "order": [2, 0, 3, 1], "pair": [1, 0], "full shape": [5, 2, 4],
    "units": [4], "short": [3, 3], "few": [3], "last axis": [-1],
}  # fmt: skip


def _model(key, nodes, outputs=("out",), lengths=False):
    """Return a model of nodes after one that makes x, (time, batch, 4), of the input."""
    arrays = {name: np.array(values, np.int64) for name, values in _NUMBERS.items()}
    arrays |= {"half": np.float32(0.5), "full": np.full(2, 5, np.int64)}
    arrays |= {f"index {i}": np.array(i, np.int64) for i in (0, 1)}
    arrays |= {
        "mask": np.tile([True, False], 2),
        "none": np.float32(0),
        "square": np.eye(4, dtype="f4"),
    }
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for gru in "abc":
        for name, shape in (("W", (12, _UNITS)), ("R", (12, _UNITS)), ("B", (24,))):
            arrays[f"{gru}{name}"] = random.normal(size=(1, *shape)).astype("f4") / 4
    for gru in "dfe":  # two directions, and a layer over both
        sides, inputs = (1, 2 * _UNITS) if gru == "e" else (2, _UNITS)
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


def _rolled(x, y, axis):
    """Return the nodes of a roll by one, as PyTorch writes them."""
    number = ["zero", "one", "two"][axis]
    return [
        node("Slice", [x, "one", "far", number, "one"], [f"{y} rest"]),
        node("Slice", [x, "zero", "one", number, "one"], [f"{y} first"]),
        node("Concat", [f"{y} rest", f"{y} first"], [y], axis=axis, name="roll"),
    ]


def _sides(how, x="x"):
    """Return the nodes of both directions of one node, "1" and "0", by three operators."""
    first = [node("GRU", [x, "dW", "dR", "dB"], ["s_4"], name="d", direction="bidirectional",
                  linear_before_reset=1, hidden_size=_UNITS)]  # fmt: skip
    if how == "Split":
        return [*first, node("Split", ["s_4"], ["s0", "s1"], axis=1),
                *(node("Squeeze", [f"s{i}", "one"], [f"{i}"]) for i in (0, 1))]  # fmt: skip
    if how == "Slice":
        bounds = [("zero", "one"), ("one", "two")]
        cuts = [node("Slice", ["s_4", *b, "one", "one"], [f"s{i}"]) for i, b in enumerate(bounds)]
        return [*first, *cuts, *(node("Squeeze", [f"s{i}", "one"], [f"{i}"]) for i in (0, 1))]
    return [*first, *(node("Gather", ["s_4", f"index {i}"], [f"{i}"], axis=1) for i in (0, 1))]


def _units(name="d", y="y"):
    """Return the nodes of both directions of one node, one after the other along the units."""
    gru = node("GRU", ["x", f"{name}W", f"{name}R", f"{name}B"], [f"{y}_4"], name=name,
               direction="bidirectional", linear_before_reset=1, hidden_size=_UNITS)  # fmt: skip
    return [gru, node("Transpose", [f"{y}_4"], [f"{y}_t"], perm=[0, 2, 1, 3]),
            node("Reshape", [f"{y}_t", "flat"], [y])]  # fmt: skip


def _half(y, side):
    bounds = [("zero", "units"), ("units", "far")][side]
    return [node("Slice", [y, *bounds, "last axis", "one"], [f"half {side}"])]


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
    "both directions of a node": (
        [*_sides("Split"), *_both("0", "1"), *_done("both")], ["Bidirectional"]),
    **{f"the second direction of a node first, by {how}": (
        [*_sides(how), *_both("1", "0"), *_done("both")], ["Backward"])
       for how in ("Split", "Slice", "Gather")},
    "halves of the units, second one first": (
        [*_units(), *_half("y", 1), *_half("y", 0), *_both("half 1", "half 0"), *_done("both")],
        ["Backward"]),
    "halves of the units, added": (
        [*_units(), *_half("y", 1), *_half("y", 0), *_both("half 1", "half 0", "Add"),
         *_done("both")], ["Bidirectional"]),
    "halves of the units by Split, multiplied": (
        [*_units(), node("Split", ["y"], ["h0", "h1"], axis=-1), *_both("h0", "h1", "Mul"),
         *_done("both")], ["Bidirectional"]),
    "the second direction of a node first, by a flip": (
        [_sides("Split")[0], *_flip("s_4", "y_r", "one"),
         node("Transpose", ["y_r"], ["y_t"], perm=[0, 2, 1, 3]),
         node("Reshape", ["y_t", "flat"], ["both"]), *_done("both")], ["Backward"]),
    "the second direction of a node first, flipped": (
        [*_flip("x", "xr"), *_sides("Split", "xr"), *_both("1", "0"), *_flip("both", "y"),
         *_done("y")], ["Bidirectional"]),
    "a layer over the second direction of a node first": (
        [*_sides("Split"), *_both("1", "0"), *_gru("e", "both", "y"), *_done("y")],
        ["Backward", "GRUParams"]),
    "a reshape to the same shape": (
        [node("Reshape", ["x", "same"], ["x2"]), *_gru("a", "x2", "y"), *_done("y")],
        ["GRUParams"]),
    "a reshape to sizes of its own": (
        [node("Shape", ["input"], ["shape"]),
         *(node("Gather", ["shape", f"index {i}"], [f"size {i}"]) for i in (0, 1)),
         *(node("Unsqueeze", [f"size {i}", "zero"], [f"sizes {i}"]) for i in (0, 1)),
         node("Concat", ["sizes 0", "sizes 1", "back"], ["sizes"], axis=0),
         node("Reshape", ["input", "sizes"], ["i"]),
         node("Transpose", ["i"], ["x2"], perm=[1, 0, 2]), *_gru("a", "x2", "y"), *_done("y")],
        ["GRUParams"]),
    "a stack": ([*_gru("a", "x", "ya"), *_gru("b", "ya", "y"), *_done("y")], ["GRUParams"] * 2),
    "a stack flipped": (
        [*_flip("x", "xr"), *_gru("a", "xr", "ya"), *_gru("b", "ya", "yr"), *_flip("yr", "y"),
         *_done("y")], ["Backward"] * 2),
    "a stack flipped between": (
        [*_gru("a", "x", "ya"), *_flip("ya", "xr"), *_gru("b", "xr", "yr"), *_flip("yr", "y"),
         *_done("y")], ["GRUParams", "Backward"]),
}  # fmt: skip


def _read(model, kinds):
    net = jaxgru.from_onnx(model, layer="*" if len(kinds) > 1 else None)
    net = net if isinstance(net, tuple) else (net,)
    assert [type(layer).__name__ for layer in net] == kinds
    return net


@pytest.mark.parametrize("name", _READ)
def test_what_is_read_without_a_warning(key, name):
    nodes, kinds = _READ[name]
    with warnings.catch_warnings(action="error"):
        _read(_model(key, nodes), kinds)


@pytest.mark.live
@pytest.mark.parametrize("name", _READ)
def test_what_the_graph_gives(key, name):
    pytest.importorskip("onnxruntime")
    nodes, kinds = _READ[name]
    model, xs = _model(key, nodes), jax.random.normal(key, (2, 5, _UNITS))
    (expected,) = live_onnx.run(model, {"input": np.asarray(xs)})
    net = _read(model, kinds)
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
    **{f"inputs rolled along axis {axis}": (
        [*_rolled("x", "xr", axis), *_gru("a", "xr", "y"), *_done("y")],
        f"Concat node 'roll' changes the {what} of its inputs")
       for axis, what in enumerate(("steps", "batch", "features"))},
    **{f"outputs rolled along axis {axis}": (
        [*_gru("a", "x", "y"), *_rolled("y", "yr", axis), *_done("yr")],
        f"Concat node 'roll' changes the {what} of the outputs")
       for axis, what in enumerate(("steps or units", "steps or units", "units"))},
    "features in another order": (
        [node("Gather", ["x", "order"], ["xr"], axis=2, name="order"), *_gru("a", "xr", "y"),
         *_done("y")], "Gather node 'order' changes the features of its inputs"),
    "a batch in another order": (
        [node("Gather", ["x", "pair"], ["xr"], axis=1, name="order"), *_gru("a", "xr", "y"),
         *_done("y")], "Gather node 'order' changes the batch of its inputs"),
    "a reshape that swaps batch and time": (
        [node("Reshape", ["input", "same"], ["xr"], name="view"), *_gru("a", "xr", "y"),
         *_done("y")], "Reshape node 'view' changes the axes of its inputs"),
    "a reshape of the outputs": (
        [*_gru("a", "x", "y"), node("Reshape", ["y", "swapped"], ["out"], name="view")],
        "Reshape node 'view' changes the steps or units of the outputs"),
    "other axes of the outputs": (
        [*_gru("a", "x", "y"), node("Transpose", ["y"], ["out"], perm=[2, 1, 0])],
        "the outputs reach an output of the graph with other axes: transpose ys"),
    "features first": (
        [node("Transpose", ["input"], ["xr"], perm=[1, 2, 0]), *_gru("a", "xr", "y"), *_done("y")],
        "the features of its inputs are not along the last axis of 'input'"),
    **{f"inputs through {made.op_type}": (
        [made, *_gru("a", "xr", "y"), *_done("y")],
        f"{made.op_type} node 'move' changes the axes of its inputs")
       for made in (
        node("Where", ["mask", "x", "none"], ["xr"], name="move"),
        node("Einsum", ["x"], ["xr"], equation="tbf->btf", name="move"),
        node("TopK", ["x", "last"], ["xr", ""], name="move"),
        node("ScatterND", ["x", "one", "x"], ["xr"], name="move"),
        node("Tile", ["x", "one"], ["xr"], name="move"))},
    "a roll before another layer": (
        [*_rolled("x", "xr", 0), node("MatMul", ["xr", "square"], ["t"]), *_gru("a", "t", "y"),
         *_done("y")], "Concat node 'roll' reorders what the inputs are computed from"),
    "steps in another order before another layer": (
        [node("Gather", ["x", "roll"], ["xr"], axis=0, name="roll"),
         node("MatMul", ["xr", "square"], ["t"]), *_gru("a", "t", "y"), *_done("y")],
        "Gather node 'roll' reorders what the inputs are computed from"),
    "features reversed": (
        [*_flip("x", "xr", "two"), *_gru("a", "xr", "y"), *_done("y")],
        "the graph reverses the features of its inputs"),
    "inputs flipped before another layer": (
        [*_flip("x", "xr"), node("MatMul", ["xr", "square"], ["t"]), *_gru("a", "t", "y"),
         *_done("y")], "Slice node 'flip xr' reorders what the inputs are computed from"),
    **{f"inputs through {made.op_type}, which is no layer": (
        [made, *_gru("a", "xr", "y"), *_done("y")],
        f"{made.op_type} node 'change' changes the values of its inputs: give the GRU what that")
       for made in (
        node("Neg", ["x"], ["xr"], name="change"),
        node("Mul", ["x", "half"], ["xr"], name="change"),
        node("Clip", ["x", "none"], ["xr"], name="change"),
        node("CumSum", ["x", "index 0"], ["xr"], name="change"),
        node("OfAnother", ["x"], ["xr"], name="change", domain="example"))},
    "a scale before the transpose": (
        [node("Mul", ["input", "half"], ["i"], name="scale"),
         node("Transpose", ["i"], ["xr"], perm=[1, 0, 2]), *_gru("a", "xr", "y"), *_done("y")],
        "Mul node 'scale' changes the values of its inputs"),
    "a static view that swaps axes after another layer": (
        [node("MatMul", ["input", "square"], ["t"]),
         node("Reshape", ["t", "same"], ["xr"], name="view"), *_gru("a", "xr", "y"), *_done("y")],
        "Reshape node 'view' changes the axes of its inputs"),
    "steps before sequences": (
        _gru("a", "input", "out"),
        "its steps are along axis 0 of 'input', of sizes [2, 5, 4], before the sequences"),
    "steps before sequences, after another layer": (
        [node("MatMul", ["input", "square"], ["t"]), node("Tanh", ["t"], ["i"]),
         *_gru("a", "i", "out")], "its steps are along axis 0 of 'input'"),
    "units that are no direction": (
        [*_units(), node("Slice", ["y", "zero", "few", "last axis", "one"], ["some"]),
         node("Concat", ["some", "some"], ["more"], axis=2, name="join"), *_done("more")],
        "Concat node 'join' changes the units of the outputs"),
    **{f"sequences reversed by lengths {what}": (
        [*made, *_sequence("x", "xr", "held"), *_gru("a", "xr", "yr"),
         *_sequence("yr", "y", "held"), *_done("y")],
        "reverses only as many steps as 'held' says: give this as lengths")
       for what, made in {
        "that are no size": [node("Identity", ["short"], ["held"])],
        "expanded": [node("Shape", ["lengths"], ["sizes"]),
                     node("Expand", ["lengths", "sizes"], ["held"])]}.items()},
    "inputs flipped with their padding": (
        [*_flip("x", "xr"), *_gru("a", "xr", "yr", "lengths"), *_flip("yr", "y"), *_done("y")],
        "the graph reverses its inputs with their padding: lengths mean other steps then"),
    "sequences of other lengths": (
        [*_sequence("x", "xr", "lengths"), *_gru("a", "xr", "yr"),
         *_sequence("yr", "y", "lengths"), *_done("y")],
        "reverses only as many steps as 'lengths' says: give this as lengths"),
}  # fmt: skip


# Nodes, with a GRU that has another layer before or after it.
_LAYERS = {
    "features of two inputs": ([
        node("Tanh", ["x"], ["t"]), node("Concat", ["x", "t"], ["xr"], axis=2),
        *_gru("e", "xr", "y"), *_done("y")], "e"),
    "a pad, whose sizes are a slice": ([
        node("Slice", ["order", "back", "start", "zero", "back"], ["sizes"]),
        node("Conv", ["input", "square"], ["c"]), node("Pad", ["c", "sizes"], ["p"]),
        node("MatMul", ["p", "square"], ["t"]), *_gru("a", "t", "y"), *_done("y")], "a"),
    "a state for each step": ([
        *_gru("a", "x", "y", h="h"), node("Expand", ["h", "full shape"], ["xr"]),
        *_gru("b", "xr", "z"), *_done("z")], "b"),
    "a readout of all steps": ([
        *_gru("a", "x", "y"), node("Reshape", ["y", "pair"], ["r"]),
        node("MatMul", ["r", "square"], ["m"]), node("Reshape", ["m", "same"], ["out"])], "a"),
    "an embedding": ([
        node("Gather", ["square", "ids"], ["e"], axis=0), *_gru("a", "e", "y"), *_done("y")], "a"),
}  # fmt: skip


@pytest.mark.parametrize("name", _LAYERS)
def test_other_layers_are_not_noted(key, name):
    nodes, layer = _LAYERS[name]
    with warnings.catch_warnings(action="error"):
        assert isinstance(jaxgru.from_onnx(_model(key, nodes), layer=layer), jaxgru.GRUParams)


@pytest.mark.parametrize("name", _NOTED)
def test_what_no_net_does_is_noted(key, name):
    nodes, note = _NOTED[name]
    with pytest.warns(jaxgru.WeightsWarning, match=re.escape(note)) as caught:
        jaxgru.from_onnx(_model(key, nodes, lengths=True))
    assert len(caught) == 1


def test_halves_of_two_nodes_are_noted(key):
    nodes = [*_units(), *_units("f", "z"), *_half("y", 0), *_half("z", 1),
             *_both("half 0", "half 1", out="out")]  # fmt: skip
    for name in "df":
        with pytest.warns(jaxgru.WeightsWarning) as caught:
            jaxgru.from_onnx(_model(key, nodes), layer=name)
        assert "single directions of 'd' and 'f' are joined" in str(caught[0].message)


@pytest.mark.parametrize(
    ("sizes", "is_noted"),
    [
        (["time", "batch", 4], False),
        (["sequence", 5, 4], False),
        ([None, "N", 4], False),
        (["batch", "time", 4], True),
        (["B", None, 4], True),
        ([None, None, 4], True),
        ([1, 1, 4], False),
        ([1, 5, 4], True),
    ],
)
def test_names_of_axes_say_that_steps_are_first(key, sizes, is_noted):
    model = _model(key, _gru("a", "input", "out"))
    shape = helper.make_tensor_value_info("input", 1, sizes)
    model.graph.input[0].CopyFrom(shape)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        jaxgru.from_onnx(model)
    assert ["time_major=True" in str(warning.message) for warning in caught] == [True] * is_noted


@pytest.mark.live
@pytest.mark.filterwarnings("ignore::jaxgru.WeightsWarning")
def test_steps_first_is_time_major(key):
    pytest.importorskip("onnxruntime")
    model, xs = _model(key, _gru("a", "input", "out")), jax.random.normal(key, (2, 5, _UNITS))
    (expected,) = live_onnx.run(model, {"input": np.asarray(xs)})
    ys, _ = jaxgru.gru(jaxgru.from_onnx(model), xs, time_major=True)
    np.testing.assert_allclose(ys, expected, rtol=0, atol=_FLOAT32)


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
        [
            node("Gather", [], ["n"]),
            node("MatMul", [], ["m"]),
            *_gru("b", "n", "u"),
            *_gru("c", "m", "z"),
        ],
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


@pytest.mark.parametrize(
    "nodes",
    [
        _gru("a", "x", "out", "lengths"),
        [*_sequence("x", "xr", "lengths"), *_sequence("xr", "x2", "lengths"),
         *_gru("a", "x2", "out")],
    ],
    ids=["of the node", "reversed twice"],
)  # fmt: skip
def test_lengths_of_a_forward_layer(key, nodes):
    with warnings.catch_warnings(action="error"):
        net = jaxgru.from_onnx(_model(key, nodes, lengths=True))
    assert isinstance(net, jaxgru.GRUParams)


def test_directions_of_other_lengths_are_no_pair(key):
    nodes = [*_gru("a", "x", "ya"), *_sequence("x", "xr", "lengths"), *_gru("b", "xr", "yr"),
             *_sequence("yr", "yb", "lengths"), *_both(out="out")]  # fmt: skip
    with pytest.raises(jaxgru.WeightsError, match="it contains 2 GRUs"):
        jaxgru.from_onnx(_model(key, nodes, lengths=True))


def test_lengths_of_the_node_itself(key):
    # The graph reverses as many steps as the node has: what Backward does with lengths.
    nodes = [*_sequence("x", "xr", "lengths"), *_gru("a", "xr", "yr", "lengths"),
             *_sequence("yr", "out", "lengths")]  # fmt: skip
    with warnings.catch_warnings(action="error"):
        net = jaxgru.from_onnx(_model(key, nodes, lengths=True))
    assert isinstance(net, jaxgru.Backward)

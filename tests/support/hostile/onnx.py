"""Wrong ONNX models, read with ``external_data=True``: more is forbidden without."""

import itertools
import os

import numpy as np
import pytest

from hostile.sound import onnx_arrays

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto

W = onnx_arrays()["W"].tobytes()


def node(*arguments, **options):
    return helper.make_node(*arguments, **options)


def gru(inputs=("x", "W", "R", "B"), output="y", name="gru", **options):
    return node("GRU", list(inputs), [output], name=name, **({"hidden_size": 3} | options))


def tensor(name, **changed):
    """Return one of the sound arrays as a tensor, with some of its fields replaced."""
    made = onnx.numpy_helper.from_array(onnx_arrays()[name], name)
    for field, value in changed.items():
        made.ClearField(field)
        made.MergeFrom(onnx.TensorProto(**{field: value}))
    return made


def array(name, values, dtype="f4"):
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def halves(last):
    """Return W as numbers of 16 bits in fields of 32, of which the last is another or missing."""
    made = helper.make_tensor("W", TensorProto.FLOAT16, (1, 9, 2), [1.0] * 18)
    made.int32_data.pop()
    made.int32_data.extend(last)
    return made


def model(nodes=None, *tensors, functions=(), sparse=(), change=None):
    """Return a model of nodes, by default one GRU; sound initializers where none is given."""
    given = {tensor.name: tensor for tensor in tensors}
    left_out = {"W"} if sparse else set()
    held = [given.pop(name, None) or tensor(name) for name in onnx_arrays() if name not in left_out]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", 2])
    graph = helper.make_graph(
        [gru()] if nodes is None else nodes, "graph", [x], [], [*held, *given.values()],
        sparse_initializer=sparse,
    )  # fmt: skip
    imports = [helper.make_opsetid("", 22)]
    made = helper.make_model(graph, opset_imports=imports, functions=list(functions))
    if change is not None:
        change(made.graph)
    return made.SerializeToString()


def attributes(**options):
    return model([gru(**options)])


def weights(**changed):
    """Return a model with some of the sound arrays replaced."""
    return model(None, *(array(name, values, values.dtype) for name, values in changed.items()))


def made_by(*arguments, tensors=(), change=None, **options):
    """Return a model whose W is computed by a node, whose output is V."""
    nodes = [node(*arguments, **options), gru(("x", "V", "R", "B"))]
    return model(nodes, *tensors, change=change)


def twice_an_attribute(graph):
    graph.node[0].attribute.append(helper.make_attribute("hidden_size", 3))


def attribute_of_a_call(graph):
    graph.node[0].attribute[0].ref_attr_name = "units"


def sparse():
    values, places = array("W", np.ones(18)), array("at", np.arange(18), "i8")
    return model(sparse=[helper.make_sparse_tensor(values, places, [1, 9, 2])])


def steps(count, op_type, copies=1):
    """Return a model whose W goes through so many nodes of one kind."""
    names = ["W", *(f"W{number}" for number in range(count))]
    axis = {"axis": 0} if op_type == "Concat" else {}
    chain = [node(op_type, [a] * copies, [b], **axis) for a, b in itertools.pairwise(names)]
    return model([*chain, gru(("x", names[-1], "R", "B"))])


def calls(count, times):
    """Return a model of functions that each call the next one so many times, one alone itself."""
    opsets = [helper.make_opsetid("", 22), helper.make_opsetid("own", 1)]

    def call(i, output):
        return helper.make_node(f"f{i if count > 1 else 0}", [], [output], domain="own")

    functions = [
        helper.make_function("own", f"f{i}", [], [], [call(i + 1, f"y{j}") for j in range(times)],
                             opsets)
        for i in range(count)
    ]  # fmt: skip
    return model([call(0, "y")], functions=functions)


def field(number, content):
    """Return a field of Protocol Buffers that holds bytes."""
    length, encoded = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + content


def graphs_within(levels):
    content = b""
    for _ in range(levels):
        for number in (6, 5, 1):  # a graph in an attribute, in a node, in a graph
            content = field(number, content)
    return b"\x08\x09" + field(7, content)


def of_other_nodes(op_type, domain=""):
    return model([node(op_type, ["x"], ["y"], domain=domain)])


def zeros_looked_at_again():
    nodes = [gru(("x", "W", "R", "B", "", "start"), f"y{i}", str(i)) for i in range(1000)]
    return model(nodes, array("start", np.zeros((1, 2**18, 3))))


def one_file_many_times(folder):
    """Return a model of 100 nodes that read the same 8 MiB."""
    (folder / "data").write_bytes(bytes(2**23))
    parts = [external(name=f"W{i}", dims=[1, 9, 2**21 // 9]) for i in range(100)]
    return model([gru(("x", f"W{i}", "R"), f"y{i}", str(i)) for i in range(100)], *parts)


def external(location="data", name="W", dims=(1, 9, 2), **more):
    """Return a tensor with its data in another file."""
    made = TensorProto(name=name, data_type=1, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in {"location": location, **more}.items():
        made.external_data.add(key=key, value=str(value))
    return made


def beside(folder, *location, put=None, **more):
    """Return a model with its data in the file beside it, or in what ``put(path)`` puts there."""
    if put is None:
        (folder / "data").write_bytes(W)
    else:
        put(folder / "data")
    return model(None, external(*location, **more))


def elsewhere(folder):
    """Write the numbers of W out of the model's own folder; return where."""
    path = folder.parent / f"{folder.name}-secret"
    path.write_bytes(W)
    return path


def by_way_of(folder):
    (folder / "inner").mkdir()
    return model(None, external(f"inner/../../{elsewhere(folder).name}"))


def in_a_linked_folder(folder):
    (folder / "inner").symlink_to(folder.parent)
    return model(None, external(f"inner/{elsewhere(folder).name}"))


_RELATIVE = "expected a relative path within the model's folder"
_STEPS = "is made in more than 50 steps"

FILES = {
    "as it should be": (model(), None),
    # Data in other files
    "data beside it": (lambda f: beside(f), None),
    "data in the folder above": (
        lambda f: model(None, external(f"../{elsewhere(f).name}")), _RELATIVE),
    "data by way of the folder": (by_way_of, _RELATIVE),
    "data anywhere": (lambda f: model(None, external(elsewhere(f))), _RELATIVE),
    "data at no path": (model(None, external("")), f"has its data in '': {_RELATIVE}"),
    "data at a path of Windows": (lambda f: beside(f, "C:\\W.bin"), _RELATIVE),
    "data above a path of Windows": (lambda f: beside(f, "a\\..\\..\\W.bin"), _RELATIVE),
    "data at a path with a zero": (lambda f: beside(f, "data\0"), _RELATIVE),
    "data in the folder itself": (lambda f: beside(f, "."), "has its data in no regular file"),
    "data that is missing": (
        lambda f: beside(f, "missing"), "has its data in a file that cannot be read: No such file"),
    "a link to data elsewhere": (
        lambda f: beside(f, put=lambda path: path.symlink_to(elsewhere(f))),
        "expected no link on the way"),
    "data in a linked folder": (in_a_linked_folder, "expected no link on the way"),
    "data in another file's bytes": (
        lambda f: beside(f, put=lambda path: os.link(elsewhere(f), path)), "hard links"),
    "data from a pipe": (lambda f: beside(f, put=os.mkfifo), "has its data in no regular file"),
    "data beyond the file": (
        lambda f: beside(f, offset=2**62), "of a file of 72: expected them within it"),
    "data before the file": (lambda f: beside(f, offset=-72), "offset '-72': expected a number"),
    "a length of a million digits": (
        lambda f: beside(f, length="9" * 1_000_000), f"length '{'9' * 20}"),
    "another length": (lambda f: beside(f, length=71), "has 71 bytes of external data"),
    "an unknown key": (lambda f: beside(f, where="x"), "has 'where' among its external data"),
    "one file many times": (one_file_many_times, "declare ... bytes: expected at most"),
    # The tensors
    "negative sizes": (model(None, tensor("W", dims=[-1, -9, 2])), "'W' has shape ... each from 1"),
    "no inputs": (
        model(None, tensor("W", dims=[1, 9, 0])), "'W' has shape (1, 9, 0): expected"),
    "100,000 axes": (
        model(None, tensor("W", dims=[1] * 100_000)), "'W' has shape ... at most 8 axes"),
    "a shape beyond its bytes": (
        model(None, tensor("W", dims=[1, 9, 3])),
        "input W: tensor 'W' declares shape (1, 9, 3) of float32, 108 bytes: expected the 72"),
    "an unknown type": (
        model(None, tensor("W", data_type=12345)), "'W' has data type 12345: expected"),
    "a segment": (model(None, tensor("W", segment={"begin": 0})), "is a segment of another"),
    "too few halves": (model(None, halves([])), "17 numbers in int32_data: expected 18"),
    "a half of 17 bits": (model(None, halves([2**16])), "numbers in int32_data beyond 16 bits"),
    "a sparse one": (sparse(), "initializer 'W' is sparse"),
    "one name twice": (
        model(change=lambda graph: graph.initializer.append(graph.initializer[0])),
        "initializer 'W' is a duplicate name: expected it once"),
    # The node's arrays
    "units of R": (weights(R=np.ones((1, 9, 4), "f4")), "R has shape (1, 9, 4): expected (1, 3H,"),
    "half of B": (weights(B=np.ones((1, 9), "f4")), "B has shape (1, 9): expected (1, 6H)"),
    "two types": (weights(B=np.ones((1, 18))), "W is float32 and B float64: expected one dtype"),
    "integers": (weights(W=np.ones((1, 9, 2), "i4")), "W has dtype int32: expected floating-point"),
    "no R": (model([gru(("x", "W"))]), "input R is left out: expected weights"),
    "W that is an input": (
        model([gru(("x", "x", "R"))]),
        "input W: 'x' is an input of the graph: expected a constant"),
    # The node's attributes
    "direction": (
        attributes(direction="sideways"), "direction is 'sideways': expected forward, reverse"),
    "both directions": (
        attributes(direction="bidirectional"), "R has shape (1, 9, 3): expected (2, 3H, H)"),
    "layout": (attributes(layout=2), "layout is 2: expected 0 or 1"),
    "units": (attributes(hidden_size=5), "hidden_size is 5: expected 3, as R has shape (1, 9, 3)"),
    "negative clip": (
        attributes(clip=-1.0), "clip is -1.0: expected a positive number, or 0 for none"),
    "clip that is NaN": (attributes(clip=float("nan")), "clip is nan"),
    "integer clip": (attributes(clip=1), "clip has type 2: expected 1 (float)"),
    "unknown": (attributes(zoneout=0.5), "attribute 'zoneout' is none of a GRU node's"),
    "twice": (model(change=twice_an_attribute), "'hidden_size' is a duplicate name"),
    "of a call": (
        model(change=attribute_of_a_call), "hidden_size is given where the function is called"),
    "one activation": (attributes(activations=["Tanh"]), "activations has 1 functions: expected 2"),
    "unknown activation": (
        attributes(activations=["Sigmoid", "Swish"]), "activations has 'Swish': expected Relu"),
    "slope that is NaN": (
        attributes(activations=["Sigmoid", "LeakyRelu"], activation_alpha=[float("nan")]),
        "activations has LeakyRelu: alpha of leaky_relu is nan: expected a finite number"),
    "no slope": (
        attributes(activations=["Sigmoid", "Affine"]),
        "activation_alpha has 0 values: expected one more"),
    # By position the second number, in turn the first: two readings, two functions.
    "slopes of two readings": (
        attributes(activations=["Sigmoid", "Elu"], activation_alpha=[1.0, 2.0]),
        "activation_alpha has 2 values: expected 1, as many as its functions take"),
    # What makes the weights
    "weights that are computed": (
        made_by("MatMul", ["W", "s"], ["V"], name="product"),
        "'V' is computed by MatMul node 'product': expected a constant"),
    "quantized floats": (
        made_by("DequantizeLinear", ["W", "R"], ["V"]),
        "DequantizeLinear node: it has no scale or no int8 or uint8 numbers"),
    "a scale of integers": (
        made_by("DequantizeLinear", ["Q", "Q"], ["V"], tensors=[array("Q", [[[1]]], "i1")]),
        "DequantizeLinear node: its scale or zero point is of another type"),
    "a scale of another shape": (
        made_by("DequantizeLinear", ["Q", "s"], ["V"],
                tensors=[array("Q", np.ones((1, 9, 2)), "i1"), array("s", np.ones(5))]),
        "DequantizeLinear node: it does not fit"),
    "a byte of 9 bits": (
        made_by("Identity", ["Q"], ["V"],
                tensors=[TensorProto(name="Q", data_type=3, dims=[1], int32_data=[200])]),
        "'Q' has numbers in int32_data beyond 8 bits: expected int8"),
    "transpose of another domain": (
        made_by("Transpose", ["W"], ["V"], domain="own"), "computed by Transpose"),
    "other axes": (
        made_by("Transpose", ["W"], ["V"], perm=[5, 6, 7]), "Transpose node: it does not fit"),
    "joined to others": (
        made_by("Concat", ["W", "R"], ["V"], axis=0), "Concat node: it does not fit"),
    "joined to another type": (
        made_by("Concat", ["W", "D"], ["V"], axis=2,
                tensors=[array("D", np.ones((1, 9, 2)), "f8")]),
        "Concat node: it has inputs of several types: expected one"),
    "nothing joined": (
        made_by("Concat", [], ["V"], axis=0), "Concat node: its input 0 is left out"),
    "no axes": (made_by("Unsqueeze", ["W"], ["V"]), "axes cannot be None"),
    "weights for a shape": (
        made_by("Reshape", ["W", "R"], ["V"]),
        "input of shape ... of float32: expected at most 8 int"),
    "another shape": (
        made_by("Reshape", ["W"], ["V"], shape=[7, -1]), "Reshape node: it does not fit"),
    "a cut without an end": (
        made_by("Slice", ["W"], ["V"], starts=[0]), "Slice node: it does not fit"),
    "a cut by numbers of two axes and of one": (
        made_by("Slice", ["W", "i", "j"], ["V"],
                tensors=[array("i", [0], "i8"), array("j", [1, 2], "i8")]),
        "Slice node: its starts, ends, axes and steps are not as many: expected one an axis"),
    "another number of parts": (
        made_by("Split", ["W"], ["V", "U"], axis=2, num_outputs=3), "num_outputs is not 2"),
    "an argument of a call": (
        made_by("Transpose", ["W"], ["V"], perm=[0, 1, 2], change=attribute_of_a_call),
        "Transpose node: it has attributes of a function's call: expected them in the node"),
    "parts of less": (
        made_by("Split", ["W"], ["V", "U"], axis=1, split=[3, 5]), "its parts are not the whole"),
    "a cast to integers": (
        made_by("Cast", ["W"], ["V"], to=7), "Cast node: it is from or to another type"),
    "a constant text": (made_by("Constant", [], ["V"], value_string="w"), "has 'value_string'"),
    "a constant of nothing": (made_by("Constant", [], ["V"]), "a Constant node has no value"),
    "W given twice": (
        model([node("Identity", ["R"], ["W"]), gru()]), "value 'W' is given twice: expected once"),
    "joined with itself, 40 times": (
        steps(40, "Concat", 2), "its arrays declare ... expected at most"),
    "made of itself": (made_by("Identity", ["V"], ["V"]), _STEPS),
    "zeros looked at again and again": (
        lambda f: zeros_looked_at_again(), "its arrays declare ... expected at most"),
    # The graph
    "graphs 1,000 deep": (graphs_within(1000), "the model is damaged"),
    "a function that calls itself": (calls(1, 1), "nested deeper than 50"),
    "calls that double": (calls(40, 2), "it runs more than 65536 nodes"),
    "a field of 2 GiB": (
        b"\x08\x09" + bytes([7 << 3 | 2]) + b"\xff\xff\xff\xff\x07" + b"\x0a\x00",
        "damaged or cut short"),
    "a number cut short": (b"\x08\x09\x3a\x01\xff", "a GraphProto in it is damaged or cut short"),
    "a number of 77 bits": (
        b"\x08\x09\x3a\x0b" + b"\xff" * 11, "a number in it has more than 64 bits: expected at mo"),
    "a name that writes to the terminal": (
        model([gru(("x", "gru\n\x1b[31m", "R"))]), r"called 'gru\n\x1b[31m"),
    "Loop": (
        of_other_nodes("Loop"),
        "no GRU node in it, but 1 of Loop or Scan, into which some exporters"),
    "LSTM": (of_other_nodes("LSTM"), "no GRU node in it, but LSTM: expected at least"),
    "MatMul": (of_other_nodes("MatMul"), "no GRU node in it, among 1 nodes: expected"),
    "a quantized GRU": (
        of_other_nodes("DynamicQuantizeGRU", "com.microsoft"),
        "is 'DynamicQuantizeGRU' of domain 'com.microsoft': expected GRU of ONNX"),
    "GRU of another domain": (
        of_other_nodes("GRU", "own"),
        "the operator is 'GRU' of domain 'own': expected GRU of ONNX"),
}  # fmt: skip

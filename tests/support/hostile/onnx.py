"""Hostile ONNX models, read with ``external_data=True``: more is forbidden without."""

import itertools
import os

from hostile.cases import passed_by, refused
from hostile.sound import onnx_arrays


def _node(*arguments, **options):
    from onnx import helper

    return helper.make_node(*arguments, **options)


def _gru(inputs=("x", "W", "R", "B"), output="y", **options):
    return _node("GRU", list(inputs), [output], name="gru", **({"hidden_size": 3} | options))


def _tensor(name, **changed):
    """Return one of the sound arrays as a tensor, with some of its fields replaced."""
    from onnx import numpy_helper

    tensor = numpy_helper.from_array(onnx_arrays()[name], name)
    for field, value in changed.items():
        tensor.ClearField(field)
        if isinstance(value, list):
            getattr(tensor, field).extend(value)
        else:
            setattr(tensor, field, value)
    return tensor


def _external(location, **more):
    """Return the tensor of W with its data in another file."""
    from onnx import TensorProto

    tensor = _tensor("W", data_location=TensorProto.EXTERNAL)
    tensor.ClearField("raw_data")
    for key, value in {"location": str(location), **more}.items():
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)
    return tensor


def _model(nodes=None, initializers=(), functions=()):
    """Return a model of nodes, by default one GRU; sound initializers where none is given."""
    from onnx import TensorProto, helper

    given = {tensor.name: tensor for tensor in initializers}
    tensors = [given.pop(name, None) or _tensor(name) for name in onnx_arrays()]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", 2])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    nodes = [_gru()] if nodes is None else nodes
    graph = helper.make_graph(nodes, "graph", [x], [y], [*tensors, *given.values()])
    imports = [helper.make_opsetid("", 22)]
    return helper.make_model(
        graph, opset_imports=imports, functions=list(functions)
    ).SerializeToString()


def _secret(folder):
    """Write the numbers of W out of the model's own folder; return where."""
    path = folder.parent / f"{folder.name}-secret"
    path.write_bytes(onnx_arrays()["W"].tobytes())
    return path


@passed_by("onnx")
def data_in_the_folder(folder):
    """Nothing: data beside the model, as it may be, which the spoilt ones differ from."""
    (folder / "data").write_bytes(onnx_arrays()["W"].tobytes())
    return _model(initializers=[_external("data")])


@refused("expected a relative path within the model's folder", "onnx")
def data_in_the_folder_above(folder):
    """Data in a file above the model's folder."""
    return _model(initializers=[_external(f"../{_secret(folder).name}")])


@refused("expected a relative path within the model's folder", "onnx")
def data_by_way_of_the_folder(folder):
    """The same by a way that begins inside."""
    (folder / "inner").mkdir()
    return _model(initializers=[_external(f"inner/../../{_secret(folder).name}")])


@refused("expected a relative path within the model's folder", "onnx")
def data_anywhere(folder):
    """Data in a file by its full path."""
    return _model(initializers=[_external(_secret(folder))])


@refused("expected no link on the way", "onnx")
def data_behind_a_link(folder):
    """Data in a file of the folder that is a link to one elsewhere."""
    (folder / "data").symlink_to(_secret(folder))
    return _model(initializers=[_external("data")])


@refused("expected no link on the way", "onnx")
def data_behind_a_linked_folder(folder):
    """Data in a folder within the model's that is a link to one elsewhere."""
    (folder / "inner").symlink_to(folder.parent)
    return _model(initializers=[_external(f"inner/{_secret(folder).name}")])


@refused("hard links", "onnx")
def data_in_another_files_bytes(folder):
    """Data in a file that is another one's, under a second name."""
    os.link(_secret(folder), folder / "data")
    return _model(initializers=[_external("data")])


@refused("no regular file", "onnx")
def data_from_a_pipe(folder):
    """Data in a pipe: to open it is to wait for ever."""
    os.mkfifo(folder / "data")
    return _model(initializers=[_external("data")])


@refused("expected a relative path within the model's folder", "onnx")
def data_from_a_device(folder):
    """Data in a device that never ends."""
    return _model(initializers=[_external("/dev/zero")])


@refused("of a file of 72: expected them within it", "onnx")
def data_beyond_the_file(folder):
    """Data that begins beyond the end of its file."""
    (folder / "data").write_bytes(onnx_arrays()["W"].tobytes())
    return _model(initializers=[_external("data", offset=2**62)])


@refused("offset '-72'", "onnx")
def data_before_the_file(folder):
    """Data that begins before its file."""
    (folder / "data").write_bytes(onnx_arrays()["W"].tobytes())
    return _model(initializers=[_external("data", offset=-72)])


@refused("length '9{20}", "onnx")
def data_of_many_digits(folder):
    """A length of a million digits, which takes Python minutes to read."""
    (folder / "data").write_bytes(onnx_arrays()["W"].tobytes())
    return _model(initializers=[_external("data", length="9" * 1_000_000)])


@refused("'W' has shape .*expected at most", "onnx")
def shape_whose_product_overflows(folder):
    """A shape whose number of bytes is right modulo 2 to the 64."""
    return _model(initializers=[_tensor("W", dims=[2**32, 2**32, 18])])


@refused("'W' has shape .*each from 1", "onnx")
def shape_below_nothing(folder):
    """A shape with negative sizes, whose product is right."""
    return _model(initializers=[_tensor("W", dims=[-1, -9, 2])])


@refused("'W' has shape .*at most 8 axes", "onnx")
def shape_of_100_000_axes(folder):
    """A shape of 100,000 ones."""
    return _model(initializers=[_tensor("W", dims=[1] * 100_000)])


@refused("'W' has data type 12345", "onnx")
def unknown_type(folder):
    """A tensor whose type has no name."""
    return _model(initializers=[_tensor("W", data_type=12345)])


@refused("'W' has shape .*4000000 bytes", "onnx")
def more_data_than_the_shape_says(folder):
    """A tensor of 18 numbers with the bytes of a million."""
    return _model(initializers=[_tensor("W", raw_data=bytes(4_000_000))])


@refused("hidden_size is 4611686018427387904: expected 3", "onnx")
def units_of_2_to_the_62(folder):
    """More units than there is memory for."""
    return _model([_gru(hidden_size=2**62)])


@refused("'V' is computed by ConstantOfShape", "onnx")
def constant_of_any_shape(folder):
    """Weights that a node makes of a shape alone: 4 exabytes."""
    import numpy as np
    from onnx import numpy_helper

    shape = numpy_helper.from_array(np.array([1, 2**30, 2**30]), "shape")
    return _model(
        [_node("ConstantOfShape", ["shape"], ["V"]), _gru(("x", "V", "R", "B"))],
        initializers=[shape],
    )


@refused("its arrays declare .*expected at most", "onnx")
def doubling(folder):
    """Weights that are joined with themselves, 40 times over."""
    names = ["W", *(f"W{number}" for number in range(40))]
    joins = [
        _node("Concat", [name, name], [joined], axis=0)
        for name, joined in itertools.pairwise(names)
    ]
    return _model([*joins, _gru(("x", names[-1], "R", "B"))])


@refused("more than 50 steps", "onnx")
def weights_made_of_themselves(folder):
    """Weights that a node computes from what it computes."""
    return _model([_node("Identity", ["V"], ["V"]), _gru(("x", "V", "R", "B"))])


@refused("more than 50 steps", "onnx")
def weights_behind_many_nodes(folder):
    """Weights at the end of 5,000 nodes that do nothing."""
    names = ["W", *(f"W{number}" for number in range(5000))]
    steps = [_node("Identity", [name], [after]) for name, after in itertools.pairwise(names)]
    return _model([*steps, _gru(("x", names[-1], "R", "B"))])


@refused("the model is damaged", "onnx")
def graphs_nested_deeply(folder):
    """Graphs within graphs, 1,000 deep, by their bytes: Protocol Buffers' own limit is 100."""
    content = b""
    for _ in range(1000):
        # A graph in an attribute, which is in a node, which is in a graph.
        for field in (6, 5, 1):
            content = _field(field, content)
    return b"\x08\x09" + _field(7, content)


@refused("nested deeper than", "onnx")
def function_that_calls_itself(folder):
    """A function of the model's own that is made of itself."""
    from onnx import helper

    call = helper.make_node("again", ["x"], ["y"], domain="own")
    imports = [helper.make_opsetid("", 22), helper.make_opsetid("own", 1)]
    function = helper.make_function("own", "again", ["x"], ["y"], [call], imports)
    return _model([call], functions=[function])


@refused("damaged or cut short", "onnx")
def bytes_of_2_gibibytes(folder):
    """A field declared longer than the file."""
    return b"\x08\x09" + bytes([7 << 3 | 2]) + b"\xff\xff\xff\xff\x07" + b"\x0a\x00"


@refused(r"called .gru\\n\\x1b\[31m", "onnx")
def name_that_writes_to_the_terminal(folder):
    """A node's name with a line's end and a terminal's escape, in a message about its weights."""
    node = _gru()
    node.name = node.input[1] = "gru\n\x1b[31m"
    return _model([node])


@refused(r"activations has .\\x1b\[2J\\n", "onnx")
def activation_that_writes_to_the_terminal(folder):
    """An activation whose name is a terminal's escape."""
    return _model([_gru(activations=["\x1b[2J\n", "Tanh"])])


def _field(number, content):
    """Return a field of Protocol Buffers that holds bytes."""
    length, encoded = len(content), bytearray([number << 3 | 2])
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([*encoded, length]) + content

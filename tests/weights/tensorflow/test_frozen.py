import ml_dtypes
import numpy as np
import pytest
from tensorflow_files import case, cases

import jaxgru

TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}  # float32, with sums in another order
USUAL = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_KINDS = {"float32": (1, 5), "float64": (2, 6), "bfloat16": (14, 13), "float16": (19, 13)}


@pytest.mark.parametrize("name", cases("frozen"))
def test_constants_are_those_of_the_graph_to_the_bit(name, tmp_path):
    folder, expected = case(name, tmp_path)
    arrays = jaxgru.load_arrays(folder / "frozen.pb")
    variables = {name[2:]: array for name, array in expected.items() if name.startswith("v:")}
    assert list(arrays) == list(variables)
    for name, array in variables.items():
        assert (arrays.shape(name), arrays.dtype(name)) == (array.shape, array.dtype.name)
        np.testing.assert_array_equal(arrays[name], array)


@pytest.mark.parametrize("name", cases("frozen"))
def test_a_layer_computes_what_the_graph_does(name, tmp_path):
    folder, expected = case(name, tmp_path)
    with pytest.warns(jaxgru.WeightsWarning, match="does not specify activation"):
        jaxgru.load(folder / "frozen.pb")
    net = jaxgru.load(folder / "frozen.pb", assume={**USUAL, "reverse": False})
    np.testing.assert_allclose(jaxgru.gru(net, expected["x"])[0], expected["y"], **TOLERANCE)


def _field(number, content):
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(number):
    low = bytes([number & 0x7F | 0x80 * (number > 0x7F)])
    return low + _varint(number >> 7) if number > 0x7F else low


def _node(name, op, **attributes):
    held = [_field(5, _field(1, k.encode()) + _field(2, v)) for k, v in attributes.items()]
    return _field(1, _field(1, name.encode()) + _field(2, op.encode()) + b"".join(held))


def _constant(name, array, how="bytes", shape=None):
    kind, field = _KINDS[array.dtype.name]
    sizes = array.shape if shape is None else shape
    tensor = _field(1, kind) + _field(2, b"".join(_field(2, _field(1, size)) for size in sizes))
    if how == "bytes":
        tensor += _field(4, array.tobytes())
    elif field == 13:
        numbers = array.view(np.uint16).ravel().tolist()
        if how == "packed":
            tensor += _field(13, b"".join(map(_varint, numbers)))
        else:
            tensor += b"".join(_field(13, number) for number in numbers)
    elif how == "packed":
        tensor += _field(field, array.tobytes())
    else:
        wire = 5 if array.itemsize == 4 else 1
        tensor += b"".join(_varint(field << 3 | wire) + one.tobytes() for one in array.ravel())
    return _node(name, "Const", value=_field(8, tensor), dtype=_field(6, kind))


def _graph(*ops, dtype=np.float32, how="bytes"):
    rng = np.random.default_rng(0)
    shapes = {"kernel": (2, 9), "recurrent_kernel": (3, 9), "bias": (2, 9)}
    arrays = {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}
    nodes = [_constant(f"gru/gru_cell/{name}", array, how) for name, array in arrays.items()]
    nodes += [_node(f"gru/{i}", op, T=_field(6, 1)) for i, op in enumerate(ops)]
    return arrays, b"".join(nodes)


@pytest.mark.parametrize("how", ["bytes", "packed", "alone"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16])
def test_each_way_to_store_numbers(dtype, how, tmp_path):
    arrays, content = _graph("Sigmoid", "Tanh", dtype=dtype, how=how)
    (tmp_path / "graph.pb").write_bytes(content)
    held = jaxgru.load_arrays(tmp_path / "graph.pb")
    for name, array in arrays.items():
        read = held[f"gru/gru_cell/{name}"]
        assert read.dtype == array.dtype
        np.testing.assert_array_equal(read, array)


def test_the_last_number_is_that_of_all_others(tmp_path):
    one, few = np.full(1, 1.5, np.float32), np.array([1, 2], np.float32)
    content = _constant("a", one, "alone", (3,)) + _constant("b", few, "packed", (2, 2))
    content += _constant("c", few[:0], "packed", (2,))
    (tmp_path / "graph.pb").write_bytes(content)
    arrays = jaxgru.load_arrays(tmp_path / "graph.pb")
    assert {name: array.tolist() for name, array in arrays.items()} == {
        "a": [1.5, 1.5, 1.5],
        "b": [[1, 2], [2, 2]],
        "c": [0, 0],
    }


@pytest.mark.parametrize("ops", [(), ("Sigmoid",), ("Sigmoid", "Tanh", "Minimum"), ("Relu",)])
def test_other_activations_than_the_usual_are_not_assumed(ops, tmp_path):
    arrays, content = _graph(*ops)
    path = tmp_path / "graph.pb"
    path.write_bytes(content)
    words = ", ".join(sorted(ops)) or "none"
    with pytest.raises(jaxgru.WeightsError, match=f"the graph, which has {words}: expected"):
        jaxgru.load(path, assume={"activation": "tanh"})
    net = jaxgru.load(path, assume={**USUAL, "activation": "relu", "reverse": False})
    assert net.activation == "relu"
    np.testing.assert_array_equal(net.kernel, arrays["kernel"])


def test_activations_in_functions_and_of_integers(tmp_path):
    _, content = _graph("Sigmoid", "Tanh")
    path = tmp_path / "graph.pb"
    of_integers = _node("least", "Minimum", T=_field(6, 3))  # as of the lengths of sequences
    path.write_bytes(content + of_integers)
    jaxgru.load(path, assume={**USUAL, "reverse": False})
    inner = _node("clip", "Minimum", T=_field(6, 1))
    body = _field(3, inner[2:])  # the node, in another field
    path.write_bytes(content + of_integers + _field(2, _field(1, body)))
    with pytest.raises(jaxgru.WeightsError, match="which has Minimum, Sigmoid, Tanh"):
        jaxgru.load(path)


_SOUND = np.ones(4, np.float32)
_DAMAGE = {
    "other variables": (_node("v", "VarHandleOp"), "whose variables are in other files"),
    "more bytes": (_constant("a", _SOUND, shape=(3,)), "expected the 16 bytes that it has"),
    "more numbers": (_constant("a", _SOUND, "packed", (3,)), "16 bytes of numbers: .* at most 12"),
    "a huge shape": (_constant("a", _SOUND, "packed", (2**40,)), "each from 1 to"),
    "a large one": (_constant("a", _SOUND, "packed", (2**30,)), "expected at most 67108864"),
    "a cut number": (_constant("a", _SOUND, "packed")[:-1], "cut short|declares"),
    "one name twice": (2 * _constant("a", _SOUND), "the node 'a' is a duplicate name"),
    "no value": (_node("a", "Const"), "no GRU is among its 0 arrays"),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damage_is_one_clean_error(damage, tmp_path):
    content, words = _DAMAGE[damage]
    (tmp_path / "graph.pb").write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=words):
        _read(tmp_path / "graph.pb")


def _read(path):
    dict(jaxgru.load_arrays(path))
    jaxgru.load(path)


def test_it_is_not_written_into(tmp_path):
    folder, _ = case("frozen_keras", tmp_path)
    net = jaxgru.load(folder / "frozen.pb", assume={**USUAL, "reverse": False})
    with pytest.raises(jaxgru.WeightsError, match=r"numpy.savez, .* set_weights"):
        jaxgru.save(net, tmp_path / "new.pb", into=folder / "frozen.pb")

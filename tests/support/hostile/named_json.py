"""Wrong files of JSON: RTNeural's layers, and arrays by PyTorch's names."""

import json

_ROWS = [[0.0] * 3]


def model(*layers):
    return json.dumps({"in_shape": [None, None, 3], "layers": layers}).encode()


def weights(*arrays):
    return model({"type": "gru", "weights": arrays})


FILES = {
    "cut short": (b'{"a": [1, 2', "it is not JSON (Expecting"),
    "a key twice": (b'{"a": [1], "a": [2]}', "it: the key 'a' is a duplicate name"),
    "nested deeply": (
        b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "it is not JSON (maximum recursion depth"),
    "nested over 32 levels": (b'{"a":' * 40 + b"1" + b"}" * 40, "nested over 32 levels"),
    "two of a name": (b'{"a.b": [1.0], "a": {"b": [1.0]}}', "'a.b' is a duplicate name"),
    "no GRU": (b'{"a": [1.0]}', "no GRU is among its 1 arrays ('a')"),
    "other layers": (b'{"in_shape": [], "layers": [{"type": "lstm"}, 3]}', "2 layers are 'lstm, '"),
    "no weights": (model({"type": "gru"}), "weights is not a list of two or three arrays"),
    "two of one name": (model(*[{"type": "gru", "name": "a"}] * 2), "are called 'a'"),
    "ragged": (
        weights([[1.0, 2.0], [3.0]], _ROWS), "kernel holds lists of different lengths: expected"),
    "text": (weights([["a"] * 3], _ROWS), "kernel holds no numbers"),
    "beyond float64": (weights([[10**400] * 3], _ROWS), "kernel holds numbers beyond float64"),
    "three biases": (
        weights(_ROWS, _ROWS, _ROWS * 3), "bias has shape (3, 3): expected (2, 3H) for 1 units"),
    "another shape": (
        weights(_ROWS, [[0.0] * 4]),
        "recurrent_kernel has shape (1, 4): expected (H, 3H) for 1 units"),
}  # fmt: skip

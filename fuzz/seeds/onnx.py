"""ONNX models with GRU nodes."""

from typing import Any

import numpy as np

INPUTS, UNITS = 2, 3


def onnx_models() -> tuple[bytes, ...]:
    """Return models: one direction; both, with options; Constants; weights that nodes compute."""
    rng = np.random.default_rng(10)
    return _one(rng), _both(rng), _two(rng), _computed(rng)


def _one(rng: np.random.Generator) -> bytes:
    arrays = _arrays(rng, "", directions=1)
    node = _gru("gru", ["x", "W", "R", "B"], linear_before_reset=1)
    return _model([node], arrays)


def _both(rng: np.random.Generator) -> bytes:
    arrays = _arrays(rng, "both/", directions=2)
    options = {
        "direction": "bidirectional",
        "activations": ["HardSigmoid", "Relu", "Sigmoid", "Tanh"],
        "activation_alpha": [0.2],
        "activation_beta": [0.5],
        "clip": 3.0,
    }
    return _model([_gru("both", ["x", "both/W", "both/R", "both/B", "", ""], **options)], arrays)


def _two(rng: np.random.Generator) -> bytes:
    from onnx import helper, numpy_helper

    first, second = _arrays(rng, "a/", directions=1), _arrays(rng, "b/", directions=1)
    constants = [
        helper.make_node("Constant", [], [name], value=numpy_helper.from_array(array))
        for name, array in first.items()
    ]
    nodes = [
        *constants,
        _gru("a", ["x", "a/W", "a/R", "a/B"]),
        _gru("b", ["x", "b/W", "b/R"], direction="reverse"),
    ]
    return _model(nodes, second, raw=False)


def _computed(rng: np.random.Generator) -> bytes:
    from onnx import helper

    arrays = _arrays(rng, "", directions=1)
    arrays["Wt"] = arrays.pop("W").transpose(0, 2, 1).copy()
    arrays["B1"], arrays["B2"] = np.split(arrays.pop("B"), 2, axis=1)
    nodes = [
        helper.make_node("Transpose", ["Wt"], ["W"], perm=[0, 2, 1]),
        helper.make_node("Concat", ["B1", "B2"], ["B"], axis=1),
        _gru("computed", ["x", "W", "R", "B"]),
    ]
    return _model(nodes, arrays)


def _arrays(rng: np.random.Generator, prefix: str, directions: int) -> dict[str, Any]:
    shapes = {"W": (3 * UNITS, INPUTS), "R": (3 * UNITS, UNITS), "B": (6 * UNITS,)}
    return {
        prefix + name: rng.normal(size=(directions, *shape)).astype(np.float32)
        for name, shape in shapes.items()
    }


def _gru(name: str, inputs: list[str], **options: Any) -> Any:
    from onnx import helper

    return helper.make_node("GRU", inputs, [f"{name}/y"], name=name, hidden_size=UNITS, **options)


def _model(nodes: list[Any], arrays: dict[str, Any], *, raw: bool = True) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    initializers = [
        numpy_helper.from_array(array, name)
        if raw
        else helper.make_tensor(name, TensorProto.FLOAT, array.shape, array.ravel().tolist())
        for name, array in arrays.items()
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["time", "batch", INPUTS])
    outputs = [
        helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT, None)
        for node in nodes
        if node.op_type == "GRU"
    ]
    graph = helper.make_graph(nodes, "graph", [x], outputs, initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)]).SerializeToString()

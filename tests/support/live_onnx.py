"""ONNX models with a GRU node of every variant, run by ONNX Runtime: the oracle of the format.

The models are put together here, tensor by tensor, without a line of jaxgru. onnx and onnxruntime
are imported on the first call; who calls skips the test before where they are not installed.
"""

import jax
import numpy as np

INPUTS, UNITS = 3, 4

# The functions that a GRU node may have and that jaxgru has too, each with alpha and beta.
_FUNCTIONS = {
    "tanh": ("Tanh", [], []),
    "sigmoid": ("Sigmoid", [], []),
    "hard_sigmoid": ("HardSigmoid", [1 / 6], [0.5]),
    "hard_sigmoid_keras2": ("HardSigmoid", [0.2], [0.5]),
    "relu": ("Relu", [], []),
    "leaky_relu": ("LeakyRelu", [0.2], []),
    "elu": ("Elu", [1.0], []),
    "softplus": ("Softplus", [], []),
    "softsign": ("Softsign", [], []),
    "linear": ("Affine", [1.0], [0.0]),
}
ACTIVATIONS = tuple(_FUNCTIONS)
# Unlike in either role, so that none is taken for the other.
_PAIRS = list(zip(ACTIVATIONS, ACTIVATIONS[2:] + ACTIVATIONS[:2], strict=True))
_VARIANTS = {
    "usual": {"linear_before_reset": 1},
    "no bias": {"linear_before_reset": 1, "bias": False},
    "reset before": {},
    "reset before, no bias": {"bias": False},
    "clip": {"linear_before_reset": 1, "clip": 0.25},
    "reset before, clip": {"clip": 0.25},
    "reverse": {"linear_before_reset": 1, "direction": "reverse"},
    "bidirectional": {"linear_before_reset": 1, "direction": "bidirectional"},
    "bidirectional, no bias": {"direction": "bidirectional", "bias": False},
    "unlike directions": {
        "direction": "bidirectional",
        "activations": ["HardSigmoid", "Softsign", "sigmoid", "SCALEDTANH"],
        "activation_alpha": [0.2, 1.0],
        "activation_beta": [0.5, 1.0],
    },
}


def variants():
    """Return the names of all variants that keep activations as usual, and of those that do not."""
    return list(_VARIANTS), [f"{activation}, {gates}" for activation, gates in _PAIRS]


def build(variant, key, dtype="float32"):
    """Return a model of one GRU node with random weights, biases included."""
    return model_of(arrays_of(variant, key, dtype), **attributes_of(variant))


def attributes_of(variant):
    """Return the attributes of the node of a variant."""
    if variant in _VARIANTS:
        return {name: value for name, value in _VARIANTS[variant].items() if name != "bias"}
    activation, gates = (_FUNCTIONS[name] for name in variant.split(", "))
    return {
        "linear_before_reset": 1,
        "activations": [gates[0], activation[0]],
        "activation_alpha": gates[1] + activation[1],
        "activation_beta": gates[2] + activation[2],
    }


def arrays_of(variant, key, dtype="float32"):
    """Return W, R and perhaps B of a variant."""
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    options = _VARIANTS.get(variant, {})
    sides = 2 if options.get("direction") == "bidirectional" else 1
    shapes = {"W": (sides, 3 * UNITS, INPUTS), "R": (sides, 3 * UNITS, UNITS)}
    if options.get("bias", True):
        shapes["B"] = (sides, 6 * UNITS)
    # Gates away from 1/2, yet no blow-up within 50 steps where activations are unbounded.
    scale = 0.25 if variant in _VARIANTS else 0.1
    return {name: (scale * random.normal(size=s)).astype(dtype) for name, s in shapes.items()}


def model_of(arrays, *, initializers=None, nodes=(), inputs=None, opset=14, **attributes):
    """Return a model of a GRU node called "layer".

    ``initializers`` and ``nodes``, if given, are what makes its weights instead of the arrays
    themselves, ``inputs`` the names of the node's inputs.
    """
    import onnx

    helper = onnx.helper
    float_type = helper.np_dtype_to_tensor_dtype(next(iter(arrays.values())).dtype)
    # In ONNX an empty list is none at all.
    given = {name: value for name, value in attributes.items() if value != []}
    inputs = ["x", *arrays] if inputs is None else inputs
    given = {"hidden_size": UNITS} | given
    node = helper.make_node("GRU", inputs, ["Y", "Y_h"], name="layer", **given)
    x = helper.make_tensor_value_info("x", float_type, ["time", "batch", INPUTS])
    ys = [helper.make_tensor_value_info(name, float_type, None) for name in ("Y", "Y_h")]
    tensors = tensors_of(arrays) if initializers is None else initializers
    graph = helper.make_graph([*nodes, node], "graph", [x], ys, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def tensors_of(arrays):
    """Return arrays as initializers."""
    import onnx

    return [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]


def outputs(model, xs):
    """Return what ONNX Runtime gives, as ``jaxgru.gru`` gives it with the two sides joined."""
    ys, _ = run(model, {"x": np.moveaxis(xs, 1, 0)})  # (time, directions, batch, units)
    return np.concatenate(np.moveaxis(ys, (1, 2), (0, 1)), axis=-1)


def run(model, feed):
    """Return all outputs of a model that ONNX Runtime runs."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    providers = ["CPUExecutionProvider"]
    content = model.SerializeToString()
    return onnxruntime.InferenceSession(content, options, providers=providers).run(None, feed)


def write(model, path):
    """Write a model to a file."""
    path.write_bytes(model.SerializeToString())

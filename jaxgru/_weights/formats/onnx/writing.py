"""Writing a net as an ONNX model of GRU nodes, with any size of batch and time."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from jaxgru._functions import Onnx
from jaxgru._net import Layer, Net, check_net, fold, output_size, unroll
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import both_biases, has_bias
from jaxgru._weights.dtypes import FLOATS
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.onnx.activations import float32, stored
from jaxgru._weights.formats.onnx.models import KEY, to_text
from jaxgru._weights.formats.onnx.tensors import DATA_TYPES, to_tensor

# The limit of protobuf, minus some space for everything except weights.
_MOST_BYTES = 2**31 - 2**20
# The operators used here have not changed since opset 14. GRU supports bfloat16 since 22.
_FIRST_OPSET, _FIRST_OPSET_OF_BFLOAT16 = 14, 22


class Interface(NamedTuple):
    """The interface of a model."""

    batch_first: bool = True  # x is (batch, time, I), else (time, batch, I); y likewise
    lengths: bool = False  # whether there is an input of lengths
    initial_states: bool = False  # whether there is an input for the first state of each layer
    opset: int | None = None  # None: the earliest that supports the net


def to_model(net: Net, interface: Interface) -> Any:
    """Return a net of NumPy arrays as a ModelProto that passes the checker of the library."""
    onnx = need("onnx", "onnx", "writing ONNX models")
    inputs, _ = check_net(net)
    dtype = _check_held(net)
    first = _FIRST_OPSET_OF_BFLOAT16 if dtype.name == "bfloat16" else _FIRST_OPSET
    opset = first if interface.opset is None else interface.opset
    last = onnx.defs.onnx_opset_version()
    if not first <= opset <= last:
        raise WeightsError(f"opset is {opset}: expected {first} to {last} for {dtype} weights")
    graph = _Graph(onnx, dtype, interface)
    xs = graph.input("x", graph.sequence(inputs))
    if interface.batch_first:
        xs = graph.node("Transpose", [xs], perm=[1, 0, 2])
    if interface.lengths:
        graph.input("lengths", ["batch"], onnx.TensorProto.INT32)
    ys = graph.net(net, xs)
    names = ("y",) if len(ys) == 1 else ("y_forward", "y_backward")
    for name, value in zip(names, ys, strict=True):
        if interface.batch_first:
            graph.node("Transpose", [value], name, perm=[1, 0, 2])
        else:
            graph.node("Identity", [value], name)
    shape = graph.sequence(output_size(net) // len(ys))
    model = graph.model(opset, [(name, shape) for name in names])
    onnx.helper.set_model_props(model, {KEY: to_text(net, graph.seats)})
    onnx.checker.check_model(model, full_check=True)
    return model


class _Graph:
    """A graph that is built node by node."""

    def __init__(self, onnx: Any, dtype: np.dtype[Any], interface: Interface) -> None:
        self.seats: list[str] = []  # of the layers, in the pytree's order
        self._onnx = onnx
        self._dtype = dtype
        self._interface = interface
        self._nodes: list[Any] = []
        self._tensors: dict[str, Any] = {}
        self._inputs: list[Any] = []
        self._states: list[tuple[str, list[str | int]]] = []  # outputs: last states, their shapes

    def sequence(self, size: int) -> list[str | int]:
        """Return the shape of a sequence, input or output."""
        return [*(("batch", "time") if self._interface.batch_first else ("time", "batch")), size]

    def input(self, name: str, shape: list[str | int], data_type: int | None = None) -> str:
        """Add an input of the graph."""
        self._inputs.append(self._info(name, shape, data_type))
        return name

    def node(self, op_type: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        """Add a node with one output, and return the name of the output."""
        output = output or f"{op_type.lower()}_{len(self._nodes)}"
        self._nodes.append(
            self._onnx.helper.make_node(op_type, inputs, [output], name=output, **attributes)
        )
        return output

    def net(self, net: Net, xs: str) -> tuple[str, ...]:
        """Add a net over xs, ``(time, batch, I)``; return its output likewise, or a pair."""
        layers = {layer.path: layer for layer in unroll(net)}
        others: dict[str, str] = {}  # the outputs of backward layers whose node is there

        def add(layer: Layer, xs: tuple[str, ...]) -> tuple[tuple[str, ...], None]:
            if layer.path in others:
                return (others[layer.path],), None
            sides = [layer]
            twin = layers.get(layer.path.removesuffix(".forward") + ".backward")
            if layer.path.endswith(".forward") and not layer.reverse and twin is not None:
                # Two directions with the same attributes become one node.
                one, other = layer.params, twin.params
                if (one.reset_after, one.clip) == (other.reset_after, other.clip):
                    sides.append(twin)
            output, *rest = self._gru(sides, *xs)
            others.update((twin.path, name) for twin, name in zip(sides[1:], rest, strict=True))
            return (output,), None

        ys: tuple[str, ...]
        ys, _ = fold(add, net, (xs,), merge=self._merged)
        return ys

    def model(self, opset: int, outputs: Sequence[tuple[str, list[str | int]]]) -> Any:
        """Return the model, with these outputs before the last states."""
        helper = self._onnx.helper
        graph = helper.make_graph(
            self._nodes,
            "net",
            self._inputs,
            [self._info(*output) for output in (*outputs, *self._states)],
            list(self._tensors.values()),
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(
            graph,
            producer_name="jaxgru",
            opset_imports=opsets,
            # Older runtimes refuse the newest version of the library.
            ir_version=helper.find_min_ir_version_for(opsets),
        )

    def _merged(
        self, _: str, merge: str | None, ys: tuple[str], others: tuple[str]
    ) -> tuple[str, ...]:
        (forward,), (backward,) = ys, others
        if merge is None:
            return forward, backward
        if merge == "concat":
            return (self.node("Concat", [forward, backward], axis=-1),)
        if merge == "mul":
            return (self.node("Mul", [forward, backward]),)
        total = self.node("Add", [forward, backward])
        if merge == "ave":
            total = self.node("Div", [total, self._tensor("two", np.array(2, self._dtype))])
        return (total,)

    def _gru(self, layers: Sequence[Layer], xs: str) -> tuple[str, ...]:
        """Add a GRU node for a layer or for both directions; return the output of each side."""
        sides, places = [layer.params for layer in layers], [layer.suffix for layer in layers]
        direction = "reverse" if layers[0].reverse else "forward"
        name = f"gru{places[0]}"
        if len(layers) == 2:
            direction, name = "bidirectional", name.removesuffix("_forward")
        tensors = {key: self._tensor(f"{name}_{key}", x) for key, x in _stacked(sides).items()}
        lengths = "lengths" if self._interface.lengths else ""
        inputs = [xs, tensors["W"], tensors["R"], tensors.get("B", ""), lengths]
        if self._interface.initial_states:
            axis = self._tensor("axis_of_sides", np.array([0], np.int64))
            states = [
                self.node(
                    "Unsqueeze", [self.input(f"initial_h{w}", ["batch", p.hidden_size]), axis]
                )
                for w, p in zip(places, sides, strict=True)
            ]
            inputs.append(self.node("Concat", states, axis=0) if len(states) > 1 else states[0])
        while not inputs[-1]:
            inputs.pop()
        attributes = _gru_attributes(sides)
        outputs = [f"{name}_Y", f"{name}_Y_h"]
        self._nodes.append(
            self._onnx.helper.make_node(
                "GRU", inputs, outputs, name=name, direction=direction, **attributes
            )
        )
        ys = []
        for side, (params, where) in enumerate(zip(sides, places, strict=True)):
            self.seats.append(f"{name}/{side}")
            index = self._tensor(f"side_{side}", np.array(side, np.int64))
            ys.append(self.node("Gather", [outputs[0], index], axis=1))
            self.node("Gather", [outputs[1], index], f"h{where}", axis=0)
            self._states.append((f"h{where}", ["batch", params.hidden_size]))
        return tuple(ys)

    def _tensor(self, name: str, array: NDArray[Any]) -> str:
        self._tensors[name] = to_tensor(self._onnx, name, array)
        return name

    def _info(self, name: str, shape: list[str | int], data_type: int | None = None) -> Any:
        data_type = DATA_TYPES[self._dtype] if data_type is None else data_type
        return self._onnx.helper.make_tensor_value_info(name, data_type, shape)


def _check_held(net: Net) -> np.dtype[Any]:
    """Return the type of a net's arrays; raise WeightsError unless GRU nodes support the net."""
    for layer in unroll(net):
        _functions(layer.params)
    leaves = jax.tree.leaves(net)
    dtypes = sorted({str(leaf.dtype) for leaf in leaves})
    if len(dtypes) > 1 or dtypes[0] not in FLOATS:
        raise WeightsError(
            f"its arrays are {' and '.join(dtypes)}: expected one of {', '.join(FLOATS)} for all, "
            "as ONNX's operators have"
        )
    size = sum(leaf.nbytes for leaf in leaves)
    if size > _MOST_BYTES:
        raise WeightsError(
            f"its arrays have {size} bytes: expected at most {_MOST_BYTES} in a model"
        )
    return FLOATS[dtypes[0]]


def _stacked(sides: Sequence[GRUParams]) -> dict[str, NDArray[Any]]:
    """Return W ``(D, 3H, I)``, R ``(D, 3H, H)`` and, if any side has a bias, B ``(D, 6H)``."""
    tensors = {
        "W": np.stack([np.asarray(side.kernel).T for side in sides]),
        "R": np.stack([np.asarray(side.recurrent_kernel).T for side in sides]),
    }
    if any(map(has_bias, sides)):
        tensors["B"] = np.stack([np.concatenate(both_biases(side)) for side in sides])
    return tensors


def _gru_attributes(sides: Sequence[GRUParams]) -> dict[str, Any]:
    """Return the attributes of a GRU node without its direction."""
    first = sides[0]
    attributes: dict[str, Any] = {
        "hidden_size": first.hidden_size,
        "linear_before_reset": int(first.reset_after),
    }
    if first.clip is not None:
        rounded = float32(first.clip)
        # In a net of at most float32, jaxgru also clips in float32.
        if not 0 < rounded < math.inf or (first.dtype.itemsize > 4 and rounded != first.clip):
            raise WeightsError(
                f"clip is {first.clip!r}: expected a number that float32 has, as ONNX's attributes "
                f"are (the nearest is {rounded!r})"
            )
        attributes["clip"] = rounded
    functions = [function for side in sides for function in _functions(side)]
    if [function.function for function in functions] != ["Sigmoid", "Tanh"] * len(sides):
        attributes["activations"] = [function.function for function in functions]
        # One number after the other for the functions with a parameter, as in ONNX Runtime.
        for attribute in ("alpha", "beta"):
            numbers = [getattr(function, attribute) for function in functions]
            if numbers := [number for number in numbers if number is not None]:
                attributes[f"activation_{attribute}"] = numbers
    return attributes


def _functions(params: GRUParams) -> list[Onnx]:
    """Return the functions of the gates and of the candidate."""
    fields = ("recurrent_activation", "activation")
    return [stored(field, getattr(params, field), params.dtype) for field in fields]

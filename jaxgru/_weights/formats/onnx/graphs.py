"""The nodes of a model in order, including subgraphs and functions, and their attributes."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from numpy.typing import NDArray

from jaxgru._weights.errors import WeightsError, each_once, shown

# The depth of nested subgraphs and function calls, far more than exporters need.
_MOST_LEVELS = 50
# Functions that call others twice, which call others twice, expand to many nodes. A node without
# functions takes more bytes of a model than these.
_MOST_NODES = 2**16
_NODE_BYTES = 4
_ONNX_DOMAINS = ("", "ai.onnx")  # two names of the standard domain
_NO_OPSET = 21  # for graphs and nodes in memory, without a version of the operators
# AttributeProto.AttributeType of onnx.proto, and the field of AttributeProto with the value.
_FIELDS = {
    "float": (1, "f"),
    "int": (2, "i"),
    "string": (3, "s"),
    "tensor": (4, "t"),
    "floats": (6, "floats"),
    "ints": (7, "ints"),
    "strings": (8, "strings"),
}
_NO_TYPE = 0  # in old files


class Scope:
    """The values by name in one graph, or in one call of a function.

    ``outer`` is the scope of the enclosing graph; ``arguments`` are the names of the inputs of a
    function outside of the call.
    """

    def __init__(
        self,
        graph: Any,
        opset: int,
        outer: "Scope | None" = None,
        arguments: "Mapping[str, tuple[Scope, str]] | None" = None,
    ) -> None:
        self.opset = opset
        self.outer = outer
        self.is_main = outer is None and arguments is None
        self.arguments = arguments or {}
        self.known: dict[str, NDArray[Any]] = {}  # the constants found so far
        self.tensors: dict[str, Any] = {}
        self.sparse: set[str] = set()
        self.producers: dict[str, Any] = {}
        self.users: dict[str, list[Any]] = {}  # nodes of this graph that have the value as input
        self.inputs: set[str] = set()
        self.outputs: set[str] = set()
        self.sizes: set[int] = set()  # of the axes of the inputs
        self.shapes: dict[str, tuple[int | str | None, ...]] = {}  # as far as the graph has them
        if arguments is None:
            self.tensors = each_once(((t.name, t) for t in graph.initializer), "initializer ")
            self.sparse = {sparse.values.name for sparse in graph.sparse_initializer}
            self.inputs = {value.name for value in graph.input}
            self.outputs = {value.name for value in graph.output}
            self.sizes = {
                axis.dim_value for value in graph.input for axis in value.type.tensor_type.shape.dim
            }
            self.shapes = {
                value.name: tuple(
                    axis.dim_value or axis.dim_param or None
                    for axis in value.type.tensor_type.shape.dim
                )
                for value in (*graph.input, *graph.value_info)
            }
        else:
            self.outputs = set(graph.output)
        for node in graph.node:
            for name in filter(None, node.input):
                self.users.setdefault(name, []).append(node)
            for output in filter(None, node.output):
                if output in self.producers or output in self.tensors:
                    raise WeightsError(f"value {shown(output)} is given twice: expected once")
                self.producers[output] = node


class Place(NamedTuple):
    """A node and its scope."""

    node: Any
    scope: Scope
    function: Any = None  # of the model, if this node calls it


def places(model: Any) -> Iterator[Place]:
    """Yield all nodes of a model, with those of subgraphs and functions after their node."""
    functions = {
        (function.domain, function.name, function.overload): function
        for function in model.functions
    }

    def directly_in(scope: Scope, graph: Any) -> Iterator[Place]:
        for node in graph.node:
            yield Place(node, scope, functions.get((node.domain, node.op_type, node.overload)))

    def within(place: Place) -> Iterator[Place]:
        """Yield the nodes of a called function, and of the graphs in attributes."""
        node, scope, function = place
        if function is not None:
            pairs = zip(function.input, node.input, strict=False)  # inputs may be omitted
            arguments = {inside: (scope, outside) for inside, outside in pairs}
            yield from directly_in(
                Scope(function, _opset(function, scope.opset), arguments=arguments), function
            )
        for attribute in node.attribute:
            graphs = [attribute.g] if attribute.HasField("g") else []
            for graph in (*graphs, *attribute.graphs):
                yield from directly_in(Scope(graph, scope.opset, outer=scope), graph)

    # Nested generators would pass each node through all levels above it.
    levels = [directly_in(Scope(model.graph, _opset(model, _NO_OPSET)), model.graph)]
    count, most = 0, max(_MOST_NODES, model.ByteSize() // _NODE_BYTES)
    while levels:
        place = next(levels[-1], None)
        if place is None:
            levels.pop()
            continue
        count += 1
        if count > most:
            raise WeightsError(f"it runs more than {most} nodes: expected no more")
        if len(levels) > _MOST_LEVELS:
            raise WeightsError(f"its graphs are nested deeper than {_MOST_LEVELS}")
        yield place
        levels.append(within(place))


def is_standard(node: Any) -> bool:
    """Return whether an operator is in the standard domain."""
    return node.domain in _ONNX_DOMAINS


def _opset(holder: Any, default: int) -> int:
    versions = [entry.version for entry in holder.opset_import if entry.domain in _ONNX_DOMAINS]
    return int(versions[0]) if versions else default


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name; raise WeightsError for a duplicate."""
    return each_once(((attribute.name, attribute) for attribute in node.attribute), "attribute ")


def get(attributes: dict[str, Any], name: str, kind: str, default: Any = None) -> Any:
    """Return the value of an attribute of one of the types above, or the default."""
    if name not in attributes:
        return default
    attribute = attributes[name]
    number, field = _FIELDS[kind]
    if attribute.ref_attr_name:
        raise WeightsError(f"{name} is given where the function is called: expected it in the node")
    is_list = kind.endswith("s")
    if attribute.type not in (number, _NO_TYPE) or not (is_list or attribute.HasField(field)):
        raise WeightsError(f"{name} has type {attribute.type}: expected {number} ({kind})")
    value = getattr(attribute, field)
    if kind == "string":
        return _text(name, value)
    if kind == "strings":
        return [_text(name, item) for item in value]
    return list(value) if is_list else value


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode("ascii")
    except UnicodeDecodeError:
        raise WeightsError(f"{name} is {shown(value)}: expected ASCII") from None

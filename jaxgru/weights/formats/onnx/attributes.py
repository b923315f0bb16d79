"""The attributes of a node, by name, each of the type it must have."""

from typing import Any

from jaxgru.weights.errors import WeightsError

# onnx.proto's AttributeProto.AttributeType, and the field of AttributeProto that holds the value.
_FIELDS = {
    "float": (1, "f"),
    "int": (2, "i"),
    "string": (3, "s"),
    "tensor": (4, "t"),
    "graph": (5, "g"),
    "floats": (6, "floats"),
    "ints": (7, "ints"),
    "strings": (8, "strings"),
    "graphs": (10, "graphs"),
}
_UNSAID = 0  # the type in files from before it was introduced


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name.

    Raises:
        WeightsError: one is there twice.
    """
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in attributes:
            raise WeightsError(f"attribute {attribute.name[:40]!a} is there twice: expected once")
        attributes[attribute.name] = attribute
    return attributes


def get(attributes: dict[str, Any], name: str, kind: str, default: Any = None) -> Any:
    """Return the value of an attribute, and the default where there is none.

    Args:
        attributes: from ``attributes_of``.
        name: of the attribute.
        kind: float, int, string, tensor, graph, floats, ints, strings or graphs.
        default: what stands for an attribute that is not there.

    Raises:
        WeightsError: it has another type, or stands for an attribute of a function's call.
    """
    if name not in attributes:
        return default
    attribute = attributes[name]
    number, field = _FIELDS[kind]
    if attribute.ref_attr_name:
        raise WeightsError(f"{name} is given where the function is called: expected it in the node")
    is_list = kind.endswith("s")
    has_value = is_list or attribute.HasField(field)
    if attribute.type not in (number, _UNSAID) or not has_value:
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
        raise WeightsError(f"{name} is {value[:40]!r}: expected ASCII") from None

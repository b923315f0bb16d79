"""The attributes of a node, by name, each of the type it must have."""

from typing import Any

from jaxgru.weights.errors import WeightsError, shown

# onnx.proto's AttributeProto.AttributeType, and the field of AttributeProto that holds the value.
_FIELDS = {
    "float": (1, "f"),
    "int": (2, "i"),
    "string": (3, "s"),
    "tensor": (4, "t"),
    "floats": (6, "floats"),
    "ints": (7, "ints"),
    "strings": (8, "strings"),
}
_NO_TYPE = 0  # in files from before there was one


def attributes_of(node: Any) -> dict[str, Any]:
    """Return the attributes of a node by name; raise WeightsError if one is there twice."""
    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.name in attributes:
            raise WeightsError(f"attribute {shown(attribute.name)} is there twice: expected once")
        attributes[attribute.name] = attribute
    return attributes


def get(attributes: dict[str, Any], name: str, kind: str, default: Any = None) -> Any:
    """Return the value of an attribute, of one of the types above; default where there is none."""
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

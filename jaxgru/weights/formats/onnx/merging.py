"""What a graph does with the outputs of both directions of a GRU node, where it can be told."""

from typing import Any

from jaxgru.weights.formats.onnx.attributes import attributes_of, get
from jaxgru.weights.formats.onnx.graphs import Place, is_standard


def are_joined(place: Place) -> bool:
    """Tell whether the outputs of both directions are put side by side, and nothing else is done.

    ``Y (time, 2, batch, H)`` is then turned to ``(time, batch, 2, H)`` and its last two axes made
    one, which is how PyTorch's exporter writes it.

    Raises:
        WeightsError: a node there is damaged.
    """
    turned = _only_user(place, place.node, "Transpose")
    if turned is None or get(attributes_of(turned), "perm", "ints") != [0, 2, 1, 3]:
        return False
    return _only_user(place, turned, "Reshape") is not None


def _only_user(place: Place, node: Any, op_type: str) -> Any:
    """Return the one node that uses a node's first output, if it is of this operator."""
    users = place.scope.users.get(node.output[0], ()) if node.output else ()
    if len(users) != 1 or users[0].op_type != op_type or not is_standard(users[0]):
        return None
    return users[0]

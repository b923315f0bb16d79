"""Formats and libraries that hold one layer at a time."""

from jaxgru.net import Net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError


def only_layer(net: Net, holder: str) -> GRUParams:
    """Return the one layer of a net.

    Args:
        net: the net.
        holder: what is to hold it, for the error, such as ``"npz"``.

    Raises:
        WeightsError: the net is more than a layer that goes from the first step to the last.
    """
    inner = net
    while isinstance(inner, tuple | list) and len(inner) == 1:
        inner = inner[0]
    if isinstance(inner, GRUParams):
        return inner
    kind = f"a {type(inner).__name__}"
    if isinstance(inner, tuple | list):
        kind += f" of {len(inner)}"
    raise WeightsError(f"net is {kind}: expected a single GRUParams, as {holder} holds one layer")

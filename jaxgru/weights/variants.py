"""What a library's GRU always is, checked of a layer that is to become one."""

from typing import Any

from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError


def check_variant(params: GRUParams, holder: str, *, reset_after: bool | None = None) -> None:
    """Raise WeightsError unless a layer has tanh, sigmoid and no clip.

    Args:
        params: the layer.
        holder: what is to hold it, for the error, such as ``"Haiku's GRU"``.
        reset_after: where that holds one of the two only: which.
    """
    fixed: dict[str, Any] = {"activation": "tanh", "recurrent_activation": "sigmoid", "clip": None}
    if reset_after is not None:
        fixed = {"reset_after": reset_after, **fixed}
    for field, value in fixed.items():
        if getattr(params, field) != value:
            raise WeightsError(
                f"{field} is {getattr(params, field)!r}: expected {value!r}, as {holder} holds no "
                "other"
            )

"""PyTorch's GRUs in memory, to nets and back."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np

from jaxgru.net import Net
from jaxgru.optional import need
from jaxgru.weights.delivery import deliver
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.floats import FLOATS, Unread
from jaxgru.weights.found import pick
from jaxgru.weights.named import find
from jaxgru.weights.named.torch_state import state_of


def from_torch(source: Any, *, layer: str | None = None) -> Any:
    """Return the net of a PyTorch GRU as JAX arrays.

    Args:
        source: a ``torch.nn.GRU``, a ``torch.nn.GRUCell``, a module that holds some, or the state
            dict of one of these.
        layer: the GRU's name within the module, needed if there are several.

    Returns:
        The net: a ``GRUParams``, or a ``Bidirectional`` of two; a tuple of layers where
        ``num_layers`` is above 1.

    Raises:
        WeightsError: there is no GRU, several without a word which, or one that no net can hold,
            as its weights are incomplete, parametrized, or of an integer type.
        ImportError: PyTorch is not installed.

    Warns:
        WeightsWarning: weights are NaN or Inf; float64 was rounded as JAX's x64 mode is off.

    >>> import jaxgru
    >>> import torch  # doctest: +SKIP
    >>> jaxgru.from_torch(torch.nn.GRU(3, 5)).kernel.shape  # doctest: +SKIP
    (3, 15)

    Source: PyTorch's ``GRU``, whose gates stand in the order r, z, n.
    """
    torch = need("torch", "torch", "from_torch")
    if isinstance(source, torch.nn.Module):
        source = source.state_dict()
    if not isinstance(source, Mapping):
        raise WeightsError(
            f"source is a {type(source).__name__}: expected a torch.nn.Module or its state dict"
        )
    if source and not any(isinstance(value, torch.Tensor) for value in source.values()):
        name, value = next(iter(source.items()))
        raise WeightsError(
            f"source has no tensor, but a {type(value).__name__} at {name!r}: expected the state "
            "dict of a torch.nn.Module"
        )
    return deliver(pick(find(_State(torch, source), {}), layer), "state dict", stacklevel=2)


def to_torch(net: Net, *, cell: bool = False) -> dict[str, Any]:
    """Return a net as a state dict that ``torch.nn.GRU`` loads as it is.

    Args:
        net: a ``GRUParams``, a ``Bidirectional`` of two, or a tuple or list of one or the other
            kind, with ``reset_after=True``, tanh and sigmoid, no clip, the same number of units
            throughout, and both directions concatenated.
        cell: whether the state dict is for a ``torch.nn.GRUCell``.

    Returns:
        New tensors on the CPU, for a ``torch.nn.GRU`` of the same sizes, ``num_layers``,
        ``bidirectional`` and dtype, whose ``bias`` is False if all biases are None. Zeros stand
        for a bias that is None beside one that is not.

    Raises:
        WeightsError: PyTorch cannot hold the net.
        ValueError: the layers of the net do not fit together.
        ImportError: PyTorch is not installed.

    >>> import jax, jaxgru
    >>> import torch  # doctest: +SKIP
    >>> state = jaxgru.to_torch(jaxgru.init(jax.random.key(0), 3, 5))  # doctest: +SKIP
    >>> torch.nn.GRU(3, 5).load_state_dict(state)  # doctest: +SKIP
    <All keys matched successfully>

    Source: PyTorch's ``GRU``, whose gates stand in the order r, z, n.
    """
    torch = need("torch", "torch", "to_torch")
    state = state_of(jax.tree.map(np.asarray, net), cell=cell)
    return {name: _to_tensor(torch, array) for name, array in state.items()}


def _to_tensor(torch: Any, array: Any) -> Any:
    # PyTorch does not know NumPy's bfloat16, only its bits.
    if array.dtype == FLOATS["bfloat16"]:
        return torch.from_numpy(array.view(np.uint16)).view(torch.bfloat16)
    return torch.from_numpy(array)


class _State(Mapping[str, Any]):
    """The tensors of a state dict as NumPy arrays, brought from their device when asked for."""

    def __init__(self, torch: Any, tensors: Mapping[Any, Any]) -> None:
        self._torch = torch
        self._tensors = {
            name: value
            for name, value in tensors.items()
            if isinstance(name, str) and isinstance(value, torch.Tensor)
        }

    def __getitem__(self, name: str) -> Any:
        tensor = self._tensors[name]
        dtype = str(tensor.dtype).removeprefix("torch.")
        # Others have numbers that are elsewhere, or that are not what they look like.
        is_plain = type(tensor) in (self._torch.Tensor, self._torch.nn.Parameter)
        if not is_plain or tensor.layout != self._torch.strided or tensor.is_meta:
            return Unread(tuple(tensor.shape), f"{dtype} in a {_described(tensor)}")
        if dtype not in FLOATS:
            return Unread(tuple(tensor.shape), dtype)
        tensor = tensor.detach().cpu().resolve_neg()
        if dtype == "bfloat16":
            return tensor.view(self._torch.uint16).numpy().view(FLOATS[dtype])
        return tensor.numpy()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _described(tensor: Any) -> str:
    return f"{type(tensor).__name__} of layout {tensor.layout} on {tensor.device}"

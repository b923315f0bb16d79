"""Nets to safetensors files that ``torch.nn.GRU`` loads as they are; reading is in safetensors."""

from pathlib import Path

from jaxgru.net import Net
from jaxgru.optional import need
from jaxgru.weights.libraries.torch import state_of


def write(net: Net, path: Path) -> None:
    """Write a net of NumPy arrays under the names that ``torch.nn.GRU`` has in its state dict.

    Raises:
        WeightsError: PyTorch cannot hold the net.
        ImportError: safetensors is not installed.
    """
    state = state_of(net)
    safetensors = need("safetensors.numpy", "safetensors", "writing safetensors")
    # What other programs look at before they take the tensors for PyTorch's.
    path.write_bytes(safetensors.save(state, metadata={"format": "pt"}))

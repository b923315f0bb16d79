"""jaxgru: trained GRUs in JAX, with exact conversions and fast derivatives of any order."""

from jaxgru.activations import ACTIVATIONS
from jaxgru.cell import gru_cell, gru_gates
from jaxgru.dropout import Dropout
from jaxgru.export import export
from jaxgru.net import Backward, Bidirectional
from jaxgru.params import GRUParams, init
from jaxgru.recurrence.step import Gates
from jaxgru.sequence import gru
from jaxgru.weights import WeightsError, WeightsWarning, load, load_all, save
from jaxgru.weights.formats.onnx import from_onnx, to_onnx
from jaxgru.weights.libraries.equinox import from_equinox, to_equinox
from jaxgru.weights.libraries.flax import from_flax, to_flax
from jaxgru.weights.libraries.haiku import from_haiku, to_haiku
from jaxgru.weights.libraries.keras import from_keras, to_keras
from jaxgru.weights.libraries.torch import from_torch, to_torch

__version__ = "0.1.0"

__all__ = [
    "ACTIVATIONS",
    "Backward",
    "Bidirectional",
    "Dropout",
    "GRUParams",
    "Gates",
    "WeightsError",
    "WeightsWarning",
    "export",
    "from_equinox",
    "from_flax",
    "from_haiku",
    "from_keras",
    "from_onnx",
    "from_torch",
    "gru",
    "gru_cell",
    "gru_gates",
    "init",
    "load",
    "load_all",
    "save",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_onnx",
    "to_torch",
]

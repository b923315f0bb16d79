"""jaxgru: any trained GRU in JAX, exactly, fast, and differentiable every way JAX can."""

from jaxgru.activations import ACTIVATIONS
from jaxgru.cell import gru_cell, gru_gates
from jaxgru.dropout import Dropout
from jaxgru.exchange.equinox import from_equinox, to_equinox
from jaxgru.exchange.flax import from_flax, to_flax
from jaxgru.exchange.haiku import from_haiku, to_haiku
from jaxgru.exchange.keras import from_keras, to_keras
from jaxgru.exchange.onnx import from_onnx, to_onnx
from jaxgru.exchange.torch import from_torch, to_torch
from jaxgru.layers import Backward, Bidirectional
from jaxgru.params import GRUParams, init
from jaxgru.sequence import gru
from jaxgru.step import Gates
from jaxgru.weights import WeightsError, WeightsWarning, load, load_all, save

__all__ = [
    "ACTIVATIONS",
    "Backward",
    "Bidirectional",
    "Dropout",
    "GRUParams",
    "Gates",
    "WeightsError",
    "WeightsWarning",
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

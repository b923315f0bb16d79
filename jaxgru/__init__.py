"""jaxgru: trained GRUs in JAX, with exact conversions and fast derivatives of any order."""

from jaxgru import _public
from jaxgru._activations import ACTIVATIONS, Activation
from jaxgru._cell import gru_cell, gru_gates
from jaxgru._dropout import Dropout
from jaxgru._export import Signature, export
from jaxgru._net import Backward, Bidirectional, Net, State
from jaxgru._params import GRUParams, init
from jaxgru._recurrence import library as _library
from jaxgru._recurrence.step import Gates
from jaxgru._sequence import gru
from jaxgru._stream import Stream
from jaxgru._weights.defaults import Assume
from jaxgru._weights.formats.onnx.format import from_onnx, to_onnx
from jaxgru._weights.io import WeightsError, WeightsWarning, load, load_all, load_layer, save
from jaxgru._weights.libraries.equinox import from_equinox, to_equinox
from jaxgru._weights.libraries.flax import from_flax, to_flax
from jaxgru._weights.libraries.haiku import from_haiku, to_haiku
from jaxgru._weights.libraries.keras.objects import from_keras, to_keras
from jaxgru._weights.libraries.torch import from_torch, to_torch
from jaxgru._weights.whole import FileArrays, load_arrays, load_model

__version__ = "0.2.0"

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Assume",
    "Backward",
    "Bidirectional",
    "Dropout",
    "FileArrays",
    "GRUParams",
    "Gates",
    "Net",
    "Signature",
    "State",
    "Stream",
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
    "load_arrays",
    "load_layer",
    "load_model",
    "save",
    "to_equinox",
    "to_flax",
    "to_haiku",
    "to_keras",
    "to_onnx",
    "to_torch",
]

_library.native()
_public.set_modules(__name__)
_public.add_aliases()

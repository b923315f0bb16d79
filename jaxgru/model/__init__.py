"""Whole models: a chain of layers, among them GRUs."""

from jaxgru.model._chain import Model, Recurrent
from jaxgru.model._layers import (
    BatchNormalization,
    Conv1D,
    Dense,
    Elementwise,
    Embedding,
    GlobalPooling1D,
    Layer,
    LayerNormalization,
    Masking,
    MaxPooling1D,
    Noise,
    ReLU,
    RepeatVector,
    Reshape,
    Signal,
)

__all__ = [
    "BatchNormalization",
    "Conv1D",
    "Dense",
    "Elementwise",
    "Embedding",
    "GlobalPooling1D",
    "Layer",
    "LayerNormalization",
    "Masking",
    "MaxPooling1D",
    "Model",
    "Noise",
    "ReLU",
    "Recurrent",
    "RepeatVector",
    "Reshape",
    "Signal",
]

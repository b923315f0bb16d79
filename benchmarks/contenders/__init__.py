"""The contenders, one module for each, loaded only where their library is installed."""

import importlib
import importlib.util

from benchmarks.contenders.contender import Contender, JaxContender, Program

__all__ = ["NAMES", "Contender", "JaxContender", "Program", "load", "missing_library"]

# name: (module here, class, libraries it needs)
_CONTENDERS = {
    "jaxgru": ("jaxgru_layer", "Jaxgru", ()),
    "plain scan": ("plain_scan", "PlainScan", ()),
    "flax nnx": ("flax_nnx", "FlaxNnx", ("flax",)),
    "flax linen": ("flax_linen", "FlaxLinen", ("flax",)),
    "equinox": ("equinox_cell", "Equinox", ("equinox",)),
    "haiku": ("haiku_gru", "Haiku", ("haiku",)),
    "keras-jax": ("keras_gru", "Keras", ("keras",)),
    "torch": ("torch_gru", "Torch", ("torch",)),
    "onnxruntime": ("onnx_gru", "OnnxRuntime", ("onnx", "onnxruntime")),
}
NAMES = tuple(_CONTENDERS)


def missing_library(name: str) -> str | None:
    """Return the first library that the named contender needs and that is not installed."""
    needed = _CONTENDERS[name][2]
    return next((library for library in needed if not importlib.util.find_spec(library)), None)


def load(name: str) -> Contender:
    """Return the contender of that name."""
    module, kind, _ = _CONTENDERS[name]
    return getattr(importlib.import_module(f"benchmarks.contenders.{module}"), kind)()

"""The contenders, one module each, loaded only if the library is installed."""

import importlib
import importlib.util
from typing import Any, NamedTuple

from benchmarks.contenders.contender import Contender, Program

__all__ = ["LIBRARIES", "OURS", "Contender", "Entry", "Program", "enter", "missing_package"]


class Entry(NamedTuple):
    """One row of the comparison: a library with one choice of its options."""

    library: str
    options: dict[str, Any]
    contender: Contender

    @property
    def name(self) -> str:
        """The library, and its options if there are any."""
        return " ".join([self.library, *(f"{key}={value}" for key, value in self.options.items())])


class _Source(NamedTuple):
    module: str
    kind: str
    packages: tuple[str, ...] = ()
    # Documented options that help in some case; each is tried in addition to the defaults.
    options: tuple[dict[str, Any], ...] = ()


# Unrolling shortens the backward pass of small layers; 8 was not faster than 4.
_UNROLLED = ({"unroll": 4},)
# A second thread is slower for short steps.
_ONE_THREAD = ({"threads": 1},)
_SOURCES = {
    "jaxgru": _Source("jaxgru_layer", "Jaxgru", options=({"implementation": "scan"},)),
    "plain scan": _Source("plain_scan", "PlainScan", options=_UNROLLED),
    "flax nnx": _Source("flax_nnx", "FlaxNnx", ("flax",), _UNROLLED),
    "flax linen": _Source("flax_linen", "FlaxLinen", ("flax",), _UNROLLED),
    "equinox": _Source("equinox_cell", "Equinox", ("equinox",), _UNROLLED),
    "haiku": _Source("haiku_gru", "Haiku", ("haiku",), _UNROLLED),
    "keras-jax": _Source("keras_gru", "Keras", ("keras",)),
    "torch": _Source("torch_gru", "Torch", ("torch",), _ONE_THREAD),
    "onnxruntime": _Source("onnx_gru", "OnnxRuntime", ("onnx", "onnxruntime"), _ONE_THREAD),
    "openvino": _Source("openvino_gru", "OpenVino", ("onnx", "openvino"), _ONE_THREAD),
}
LIBRARIES = tuple(_SOURCES)
OURS = "jaxgru"


def missing_package(library: str) -> str | None:
    """Return the first package that the library's contender needs and that is not installed."""
    packages = _SOURCES[library].packages
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


def enter(library: str) -> list[Entry]:
    """Return the entries of one library: first with its defaults, then with its options.

    Raises:
        ValueError: the library is installed but cannot run on the device that JAX runs on.
    """
    source = _SOURCES[library]
    kind = getattr(importlib.import_module(f"benchmarks.contenders.{source.module}"), source.kind)
    return [Entry(library, options, kind(**options)) for options in ({}, *source.options)]

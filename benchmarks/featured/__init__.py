"""Features of GRUs in the libraries that have them: padding, directions, stacks, dropout.

There is a module for each library, loaded only if that library is installed.
"""

import importlib

from benchmarks.contenders import OURS, missing_package
from benchmarks.featured.case import Case, Featured

__all__ = ["LIBRARIES", "OURS", "enter"]

_MODULES = {OURS: "jaxgru_rows", "keras-jax": "keras_rows", "torch": "torch_rows"}
LIBRARIES = tuple(_MODULES)


def enter(library: str, case: Case) -> Featured:
    """Return the features of a library.

    Raises:
        ValueError: the library is not installed, or cannot run on the device that JAX runs on.
    """
    missing = missing_package(library)
    if missing is not None:
        raise ValueError(f"{missing} is not installed")
    module = importlib.import_module(f"benchmarks.featured.{_MODULES[library]}")
    return module.enter(case)

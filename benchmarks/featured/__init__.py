"""Features of GRUs in the libraries that have them: padding, directions, stacks, dropout.

There is a module for each library, loaded only if that library is installed.
"""

import importlib

import jax
import numpy as np

from benchmarks.contenders import OURS, missing_package
from benchmarks.featured.case import PLAIN, Case, Featured
from benchmarks.problem import Array
from benchmarks.reference import gru_states

__all__ = ["LIBRARIES", "OURS", "check_features", "enter"]

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


def check_features(library: str, featured: Featured, ours: Featured, case: Case) -> None:
    """Raise ArithmeticError unless the states and the loss of a library are correct.

    The plain layer is compared with the equations in NumPy, every other row with jaxgru's, which
    its own tests compare with them. The draws of other libraries' dropout are not known.
    """
    for feature in featured.rows:
        if library != OURS and "dropout" in feature:
            continue
        states, loss = _results(featured, feature)
        expected = _results(ours, feature)[0]
        if feature == PLAIN:
            expected = gru_states(case.layers[0], case.xs)
        _agree(f"{library}, {feature}: states", states, expected)
        _agree(f"{library}, {feature}: loss", loss, np.mean(np.square(expected)))


def _results(featured: Featured, feature: str) -> tuple[Array, Array]:
    contender, programs = featured.contender, featured.rows[feature]
    states = contender.layout(contender.to_numpy(programs["forward"].call()))
    return states, contender.to_numpy(programs["train"].call()[0])


def _agree(what: str, got: Array, want: Array) -> None:
    # These numbers are below 1; float32 rounds at 6e-8, over hundreds of steps and three layers;
    # an accelerator may multiply in TF32, which rounds at 5e-4.
    tolerance = 1e-4 if jax.default_backend() == "cpu" else 2e-2
    error = float(np.max(np.abs(got - want)))
    if not error <= tolerance:
        raise ArithmeticError(f"{what} off by {error:.1e}, expected <= {tolerance}")

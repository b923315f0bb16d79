"""Keras itself, imported and used without a trace in what the caller has set."""

import contextlib
import os
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import jax

from jaxgru.optional import need


@contextlib.contextmanager
def using_keras(purpose: str) -> Iterator[Any]:
    """Give Keras to a block, and leave behind what the caller has set.

    Keras chooses its backend once, when it is first imported. Where it is not imported yet and
    ``KERAS_BACKEND`` is not set, that is JAX, and the variable is not set afterwards. Keras
    counts on JAX's own promotion, draws seeds from ``random`` when it is imported and for each
    initialiser, and turns its variables into NumPy arrays in a way that NumPy 2 warns of.

    Args:
        purpose: what needs Keras, as the beginning of a sentence.
    """
    state = random.getstate()
    try:
        with (
            jax.numpy_dtype_promotion("standard"),
            jax.numpy_rank_promotion("allow"),
            warnings.catch_warnings(),
        ):
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
            yield _import_keras(purpose)
    finally:
        random.setstate(state)


def _import_keras(purpose: str) -> Any:
    if "keras" in sys.modules or "KERAS_BACKEND" in os.environ:
        keras = need("keras", "keras", purpose)
    else:
        os.environ["KERAS_BACKEND"] = "jax"
        try:
            keras = need("keras", "keras", purpose)
        finally:
            del os.environ["KERAS_BACKEND"]
    version = str(keras.__version__)
    if int(version.partition(".")[0]) < 3:
        raise ImportError(
            f'{purpose} needs Keras 3, and {version} is installed: pip install "jaxgru[keras]"'
        )
    return keras

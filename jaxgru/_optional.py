"""Imports of optional libraries: the extras."""

import importlib
from typing import Any


def need(module: str, extra: str, purpose: str) -> Any:
    """Import and return a module of an optional library.

    Args:
        module: its full name, such as ``"optax"``.
        extra: the extra of jaxgru that installs it.
        purpose: the feature that needs it, for the error, such as ``"fine-tuning"``.

    Raises:
        ImportError: it is not installed; the message names the extra to install.
    """
    library = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        # If a dependency of the installed library is missing, the original error is more precise.
        if error.name is None or error.name.partition(".")[0] != library:
            raise
        raise ImportError(
            f'{purpose} needs {library}, which is not installed: pip install "jaxgru[{extra}]"'
        ) from None

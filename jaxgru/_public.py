"""Public names: pickles name the public module, and modules of the version before are aliases.

The aliases are for one release. A pickle of that version names such a module.
"""

import importlib
import inspect
import sys
import types
import warnings
from typing import Any

# The modules of the version before, with those in which their names are now.
_MOVED = {
    **{f"jaxgru.{name}": (f"jaxgru._{name}",) for name in (
        "activations", "cell", "checks", "dropout", "export", "masks", "net", "params", "sequence",
    )},
    **{f"jaxgru.finetune.{name}": (f"jaxgru.finetune._{name}",) for name in (
        "batches", "data", "evaluate", "fit", "history", "loop", "lora", "losses", "model",
        "sharding", "train_step", "trainable",
    )},
    "jaxgru.finetune.optimizers": ("jaxgru.finetune._optax",),
    "jaxgru.layers": ("jaxgru._sequence", "jaxgru._net"),
    "jaxgru.recurrence": ("jaxgru._recurrence.layer",),
    "jaxgru.recurrence.step": ("jaxgru._recurrence.step",),
    "jaxgru.weights": ("jaxgru._weights.io", "jaxgru._weights.reading"),
    "jaxgru.weights.equations": ("jaxgru._weights.equations",),
    "jaxgru.weights.errors": ("jaxgru._weights.errors",),
}  # fmt: skip


def set_modules(public: str) -> None:
    """Name a public module as that of its classes, so that no later move breaks a pickle."""
    for name in sys.modules[public].__all__:
        value = getattr(sys.modules[public], name)
        if inspect.isclass(value):
            value.__module__ = public


def add_aliases() -> None:
    """Make the modules of the version before importable."""
    for name in _MOVED:
        package, _, last = name.rpartition(".")
        sys.modules.setdefault(name, _Alias(name))
        if package == "jaxgru":  # where a function has the name now, it stays
            vars(sys.modules[package]).setdefault(last, sys.modules[name])


class _Alias(types.ModuleType):
    """A module of the version before, whose names are elsewhere."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        public = "jaxgru.finetune" if self.__name__.startswith("jaxgru.finetune.") else "jaxgru"
        for place in (public, *_MOVED[self.__name__]):
            try:
                module = importlib.import_module(place)
            except ModuleNotFoundError as error:
                if error.name != place:
                    raise
                continue
            if name in (module.__all__ if place == public else vars(module)):
                use = f"use {place}.{name}" if place == public else f"{place} is private"
                message = f"{self.__name__}.{name} is deprecated: {use}"
                warnings.warn(message, DeprecationWarning, stacklevel=2)
                return getattr(module, name)
        raise AttributeError(f"{self.__name__}.{name} is gone: see the changelog of jaxgru")

"""Public names: pickles refer to the public module, and former modules are aliases.

The aliases stay for one release, because pickles of the previous version refer to them.
"""

import importlib
import inspect
import sys
import types
import warnings
from typing import Any

# The former modules, with the modules that have their names now.
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
    """Set the module of public classes to the public one, so that no later move breaks a pickle."""
    for name in sys.modules[public].__all__:
        value = getattr(sys.modules[public], name)
        if inspect.isclass(value):
            value.__module__ = public


def add_aliases() -> None:
    """Make the former modules importable."""
    for name in _MOVED:
        package, _, last = name.rpartition(".")
        sys.modules.setdefault(name, _Alias(name))
        if package == "jaxgru":  # where a function has the name now, it stays
            vars(sys.modules[package]).setdefault(last, sys.modules[name])


class _Alias(types.ModuleType):
    """A former module, whose names have moved."""

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
        raise AttributeError(f"{self.__name__}.{name} was removed: see the changelog of jaxgru")

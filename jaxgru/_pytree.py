"""Dataclasses as pytrees that ``jax.export`` can serialize."""

import dataclasses
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
from jax import export

from jaxgru._activations import Activation

T = TypeVar("T")


def pytree_dataclass(data: tuple[str, ...], meta: tuple[str, ...]) -> Callable[[type[T]], type[T]]:
    """Return a class decorator: the fields ``data`` are leaves, ``meta`` is part of the structure.

    The fields of ``data`` come first in the class. Values of ``meta`` are numbers, strings, None
    or an ``Activation``.
    """

    def register(cls: type[T]) -> type[T]:
        jax.tree_util.register_dataclass(cls, data_fields=data, meta_fields=meta)

        def rebuild(aux_data: Any, children: Any) -> Any:
            return cls(*children, *aux_data)

        return export.register_pytree_node_serialization(
            cls,
            serialized_name=f"jaxgru.{cls.__name__}",
            serialize_auxdata=lambda values: json.dumps(
                values, default=dataclasses.asdict
            ).encode(),
            deserialize_auxdata=lambda stored: tuple(
                Activation(**value) if isinstance(value, dict) else value
                for value in json.loads(stored)
            ),
            from_children=rebuild,
        )

    return register

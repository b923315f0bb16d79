"""Dropout of inputs and of the state."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

Array = jax.Array


@dataclasses.dataclass(frozen=True)
class Dropout:
    """Dropout of the inputs of layers: each element is set to 0 or divided by ``1 - rate``.

    The expected value of each element is its value without dropout.

    Args:
        rate: the probability of being dropped, at least 0 and below 1.
        on: "between" for the inputs of every layer of a stack but the first; "inputs" for the
            inputs of every layer, including the first.
        shared: whether all steps of a sequence share one draw (variational dropout). Otherwise
            there is a new draw for each step.

    PyTorch's ``GRU(dropout=0.2)`` is ``Dropout(0.2)``; Keras' ``GRU(dropout=0.2)`` is
    ``Dropout(0.2, on="inputs", shared=True)``.

    Raises:
        ValueError: the rate is not in [0, 1), or ``on`` is neither "between" nor "inputs".

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> dropout = jaxgru.Dropout(0.5, on="inputs", shared=True)
    >>> ys, _ = jaxgru.gru(params, jnp.ones((7, 3)), dropout=dropout, key=jax.random.key(1))
    >>> ys.shape
    (7, 5)

    Source: Srivastava et al. 2014; Gal and Ghahramani 2016 (arXiv:1512.05287) for one draw.
    """

    rate: float
    on: Literal["between", "inputs"] = "between"
    shared: bool = False

    def __post_init__(self) -> None:
        check_rate("rate", self.rate)
        if self.on not in ("between", "inputs"):
            raise ValueError(f"on is {self.on!r}: expected 'between' or 'inputs'")

    def apply(self, xs: Array, key: Array) -> Array:
        """Return ``xs (T, B, I)`` with some elements dropped and the others scaled."""
        time, *rest = xs.shape
        kept = jax.random.bernoulli(key, 1 - self.rate, (1 if self.shared else time, *rest))
        return jnp.where(kept, xs / (1 - self.rate), jnp.zeros_like(xs))


def as_dropout(dropout: float | Dropout) -> Dropout | None:
    """Return a ``Dropout`` for ``dropout=``, or None if the rate is 0."""
    if not isinstance(dropout, Dropout):
        check_rate("dropout", dropout)
        dropout = Dropout(float(dropout))
    return dropout if dropout.rate else None


def check_rate(name: str, rate: Any) -> None:
    """Raise ValueError unless rate is a number in [0, 1)."""
    is_number = isinstance(rate, int | float | np.number) and not isinstance(rate, bool)
    if not is_number or not 0 <= rate < 1:
        raise ValueError(f"{name} is {rate!r}: expected a number, at least 0 and below 1")


def state_factors(rate: float, key: Array, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
    """Return the factors of recurrent dropout: 0, or ``1 / (1 - rate)``."""
    kept = jax.random.bernoulli(key, 1 - rate, shape)
    return jnp.where(kept, jnp.asarray(1 / (1 - rate), dtype), jnp.zeros((), dtype))

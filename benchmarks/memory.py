"""Memory of the backward pass over long sequences: ``python -m benchmarks.memory``.

Prints the memory of the compiled gradient of a loss on the last state by all weights, without
arguments and results, as planned by XLA (``memory_analysis()``), for plain autodiff through a scan
of ``gru_cell`` and for ``gru`` with each kind of ``remat``. Nothing is run, so the numbers are the
same on all machines with the same backend and version of JAX.
"""

import argparse
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from jax import lax

import jaxgru

_BATCHES = (1, 16)
_TIMES = (1_000, 10_000, 100_000)
_INPUTS, _UNITS = 16, 64
_REMATS = (None, "states", 316, 250)  # 316 is about the root of the longest; 250 divides each

Layer = Callable[[jaxgru.GRUParams, jax.Array], jax.Array]


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, in Markdown."""
    argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__).parse_args(
        arguments
    )
    print(
        f"MB for {_INPUTS} inputs and {_UNITS} units in float32, {jax.default_backend()}, ", end=""
    )
    print(f"JAX {jax.__version__}\n")
    names = ["plain autodiff", *(f"`remat={remat!r}`" for remat in _REMATS)]
    print("|", " | ".join(["batch", "steps", "the states", *names]), "|")
    print("|", " | ".join(["---:"] * (3 + len(names))), "|")
    for batch in _BATCHES:
        for time in _TIMES:
            layers = [_plain_scan, *(_with_remat(remat) for remat in _REMATS)]
            sizes = [4 * batch * time * _UNITS, *(_temporary(x, batch, time) for x in layers)]
            cells = [f"{batch}", f"{time:,}", *(f"{1e-6 * size:,.1f}" for size in sizes)]
            print("|", " | ".join(cells), "|", flush=True)


def _plain_scan(params: jaxgru.GRUParams, xs: jax.Array) -> jax.Array:
    """Return the last state ``(B, H)`` for inputs ``(T, B, I)``, by a plain scan."""

    def body(h: jax.Array, x: jax.Array) -> tuple[jax.Array, None]:
        return jaxgru.gru_cell(params, h, x), None

    return lax.scan(body, jnp.zeros((xs.shape[1], _UNITS)), xs)[0]


def _with_remat(remat: int | str | None) -> Layer:
    def last_state(params: jaxgru.GRUParams, xs: jax.Array) -> jax.Array:
        return jaxgru.gru(params, xs, time_major=True, return_sequences=False, remat=remat)[0]

    return last_state


def _temporary(layer: Layer, batch: int, time: int) -> int:
    """Return the bytes for the gradient, without its arguments and results."""

    def loss(params: jaxgru.GRUParams, xs: jax.Array) -> jax.Array:
        return (layer(params, xs) ** 2).sum()

    params = jax.eval_shape(lambda: jaxgru.init(jax.random.key(0), _INPUTS, _UNITS))
    xs = jax.ShapeDtypeStruct((time, batch, _INPUTS), jnp.float32)
    compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    return compiled.memory_analysis().temp_size_in_bytes


if __name__ == "__main__":
    main()

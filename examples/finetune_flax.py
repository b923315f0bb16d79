"""A trained GRU as a part of a Flax nnx model, fine-tuned with the optimizer of Flax.

Each array of the layer becomes an ``nnx.Param`` in the structure of the ``GRUParams``, so Flax
finds it by path; ``nnx.as_pure`` returns the layer. The readout is a new ``nnx.Linear``: first it
is trained alone, then with the layer. Run it in the root of the repository, with Flax 0.12; it
prints, up to the last digits ::

    mean square error on 32 recordings held out
      readout alone  0.0337
      everything     0.0094
"""

from pathlib import Path

import jax
import numpy as np
import optax
from flax import nnx
from sensed_spring import drifted, record

import jaxgru

DATA = Path("examples/data")
TRAINING, HELD_OUT, TIME = 64, 32, 100


class Estimator(nnx.Module):
    """Position and velocity from six sensors."""

    def __init__(self, params: jaxgru.GRUParams, outputs: int, rngs: nnx.Rngs) -> None:
        self.gru = nnx.data(jax.tree.map(nnx.Param, params))
        self.readout = nnx.Linear(params.hidden_size, outputs, rngs=rngs)

    def __call__(self, readings: jax.Array) -> jax.Array:
        """Return the estimates ``(..., T, 2)`` of recordings ``(..., T, 6)``."""
        states, _ = jaxgru.gru(nnx.as_pure(self.gru), readings)
        return self.readout(states)


def main(steps: int = 200) -> None:
    readings, truth = record(np.random.default_rng(0), TRAINING + HELD_OUT, TIME)
    readings = drifted(readings)
    model = Estimator(jaxgru.load(DATA / "gru.npz"), outputs=truth.shape[-1], rngs=nnx.Rngs(0))
    print(f"mean square error on {HELD_OUT} recordings held out")
    for what, which, rate in (
        ("readout alone", nnx.All(nnx.Param, nnx.PathContains("readout")), 0.05),
        ("everything", nnx.Param, 0.01),
    ):
        learn(model, which, rate, steps, readings[:TRAINING], truth[:TRAINING])
        error = nnx.jit(loss)(model, readings[TRAINING:], truth[TRAINING:])
        print(f"  {what:13}  {error:.4f}")


def loss(model, readings, truth):
    return ((model(readings) - truth) ** 2).mean()


def learn(model, which, rate, steps, readings, truth):
    """Train the parameters of a model that are selected by Flax's filter ``which``."""
    optimizer = nnx.Optimizer(model, optax.adam(rate), wrt=which)

    @nnx.jit
    def step(model, optimizer, readings, truth):
        gradient = nnx.grad(loss, argnums=nnx.DiffState(0, which))(model, readings, truth)
        optimizer.update(model, gradient)

    for _ in range(steps):
        step(model, optimizer, readings, truth)


if __name__ == "__main__":
    main()

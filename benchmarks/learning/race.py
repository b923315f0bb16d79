"""Training of several libraries in turn, with the same weights, batches and optimizer."""

import math
import random
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.contenders import Entry
from benchmarks.learning.task import BLOCK, Task, draw_batches, first_weights
from benchmarks.problem import Array, Weights


class Run(NamedTuple):
    """The results of one entry, by blocks of BLOCK steps."""

    losses: list[float]  # means over blocks
    seconds: list[float]  # since the start of training, without compiling
    compile_seconds: float

    def steps_to(self, target: float) -> float:
        """Return the number of steps until the loss of a block was at the target; inf if never."""
        block = self._block_at(target)
        return math.inf if block is None else (block + 1) * BLOCK

    def seconds_to(self, target: float) -> float:
        """Return the seconds of training until the target."""
        block = self._block_at(target)
        return math.inf if block is None else self.seconds[block]

    def _block_at(self, target: float) -> int | None:
        return next((n for n, loss in enumerate(self.losses) if loss <= target), None)


def race(task: Task, entries: Sequence[Entry], seed: int) -> dict[str, Run]:
    """Return the runs of all entries on a task, by name.

    They take turns of BLOCK steps, in a random order, so that other work of the machine affects all
    of them. Drawing the batches is not timed.

    Args:
        task: the task.
        entries: batch-first contenders of JAX.
        seed: the seed of the weights and of the batches.
    """
    batches = draw_batches(task, seed)
    weights, readout = first_weights(task, seed)
    learners = {entry.name: _Learner(task, entry, weights, readout) for entry in entries}
    runs = {name: Run([], [], learner.compile_seconds) for name, learner in learners.items()}
    shuffle = random.Random(seed)
    for first in range(0, len(batches), BLOCK):
        turn = batches[first : first + BLOCK]
        for name in shuffle.sample(list(learners), len(learners)):
            loss, seconds = learners[name].learn(turn)
            run = runs[name]
            run.losses.append(loss)
            run.seconds.append(seconds + (run.seconds[-1] if run.seconds else 0.0))
    return runs


class _Learner:
    """The layer of an entry with a readout, and a compiled training step."""

    def __init__(self, task: Task, entry: Entry, weights: Weights, readout: Array) -> None:
        shape, contender = task.shape(), entry.contender
        layer = contender.layer(shape)
        # As in all benchmarks here, the weights are a plain list.
        leaves, structure = jax.tree.flatten(contender.weights(weights))
        self._model = jax.tree.map(jnp.asarray, (leaves, readout))
        optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(task.rate))
        self._state = optimizer.init(self._model)
        h0 = jnp.zeros((shape.batch, shape.units))

        def loss(model: Any, xs: jax.Array, answers: jax.Array) -> jax.Array:
            leaves, readout = model
            states = layer(jax.tree.unflatten(structure, leaves), h0, xs)
            logits = states[:, -task.answers :] @ readout
            answers = answers.reshape(logits.shape[:-1])
            return optax.softmax_cross_entropy_with_integer_labels(logits, answers).mean()

        def step(model: Any, state: Any, xs: jax.Array, answers: jax.Array) -> tuple[Any, Any, Any]:
            value, gradient = jax.value_and_grad(loss)(model, xs, answers)
            updates, state = optimizer.update(gradient, state, model)
            return optax.apply_updates(model, updates), state, value

        xs, answers = task.draw(np.random.default_rng(0), task.batch)
        start = time.perf_counter()
        self._step = jax.jit(step).lower(self._model, self._state, xs, answers).compile()
        self.compile_seconds = time.perf_counter() - start

    def learn(self, batches: Sequence[tuple[Array, Array]]) -> tuple[float, float]:
        """Run a step for each batch; return their mean loss, and the seconds."""
        losses = []
        start = time.perf_counter()
        for xs, answers in batches:
            self._model, self._state, loss = self._step(self._model, self._state, xs, answers)
            losses.append(loss)
        jax.block_until_ready((self._model, losses))
        return float(np.mean(losses)), time.perf_counter() - start

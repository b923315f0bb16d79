"""Recurrent PPO in the manner of PureJaxRL, with Flax's recurrence and with jaxgru's.

An agent sees a sign, walks down a corridor in the dark, and at its end has to turn to the side of
the sign: reward 1, or -1. What it has seen it can only know from its carry, which begins at zero
with each episode. The whole training is one compiled program. Both recurrences have the same
parameters and the same random numbers, so the curves differ by rounding alone, and then by what
training makes of it. Run it in the root of the repository; with ``--updates 40 --seeds 5``, the
default, it prints both curves, averaged over the seeds, and the seconds of both.
"""

import argparse
import functools
import time
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxgru.linen import ScannedGRU

Array = jax.Array

AGENTS, STEPS, UNITS, LENGTH = 64, 64, 32, 8
EPOCHS, PARTS = 2, 2
DISCOUNT, TRACE, CLIP, ENTROPY = 0.95, 0.95, 0.2, 0.01


class ScannedRNN(nn.Module):
    """What PureJaxRL has: Flax's cell in a scan, from zero where an episode begins."""

    @functools.partial(
        nn.scan, variable_broadcast="params", in_axes=0, out_axes=0, split_rngs={"params": False}
    )
    @nn.compact
    def __call__(self, carry: Array, x: tuple[Array, Array]) -> tuple[Array, Array]:
        """Return the carry and the output after one step."""
        inputs, begins = x
        carry = jnp.where(begins[:, None], jnp.zeros_like(carry), carry)
        return nn.GRUCell(carry.shape[-1])(carry, inputs)


class Agent(nn.Module):
    """Logits of two actions, and a value, from what is seen and remembered."""

    recurrence: Any

    @nn.compact
    def __call__(self, carry: Array, seen: Array, begins: Array) -> tuple[Array, Array, Array]:
        """Return the last carry, logits ``(T, B, 2)`` and values ``(T, B)``."""
        inputs = nn.relu(nn.Dense(UNITS)(seen))
        carry, memory = self.recurrence()(carry, (inputs, begins))
        values = nn.Dense(1)(nn.relu(nn.Dense(UNITS)(memory)))
        logits = nn.Dense(2)(nn.relu(nn.Dense(UNITS)(memory)))
        return carry, logits, values[..., 0]


class Corridor(NamedTuple):
    """Where the agents are, ``(B,)`` each."""

    sign: Array  # 0 or 1
    place: Array  # 0 to LENGTH - 1


class Moment(NamedTuple):
    """One step of all agents."""

    seen: Array
    begins: Array
    action: Array
    likelihood: Array  # its logarithm
    value: Array
    reward: Array
    ends: Array


def look(corridor: Corridor) -> Array:
    """Return what the agents see: the sign at the start, and whether they are at the end."""
    is_start, is_end = corridor.place == 0, corridor.place == LENGTH - 1
    side = 2.0 * corridor.sign - 1.0
    return jnp.stack([side * is_start, is_end.astype(jnp.float32)], axis=-1)


def move(corridor: Corridor, action: Array, key: Array) -> tuple[Corridor, Array, Array]:
    """Return the corridors after a step, the rewards, and where an episode has ended."""
    ends = corridor.place == LENGTH - 1
    reward = ends * jnp.where(action == corridor.sign, 1.0, -1.0)
    signs = jax.random.bernoulli(key, shape=action.shape).astype(jnp.int32)
    after = Corridor(jnp.where(ends, signs, corridor.sign), jnp.where(ends, 0, corridor.place + 1))
    return after, reward, ends


def chosen(logits: Array, action: Array) -> Array:
    """Return the logarithm of the likelihood of actions."""
    return jnp.take_along_axis(jax.nn.log_softmax(logits), action[..., None], -1)[..., 0]


def train(recurrence: Any, updates: int, key: Array) -> Array:
    """Return the mean reward of an episode in each update."""
    agent = Agent(recurrence)
    carry = ScannedGRU.initialize_carry(AGENTS, UNITS)
    key_init, key_signs, key = jax.random.split(key, 3)
    corridor = Corridor(
        jax.random.bernoulli(key_signs, shape=(AGENTS,)).astype(jnp.int32),
        jnp.zeros(AGENTS, jnp.int32),
    )
    begins = jnp.ones(AGENTS, bool)
    params = agent.init(key_init, carry, look(corridor)[None], begins[None])
    optimizer = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def step(params, state, key):
        carry, corridor, begins = state
        key_action, key_move = jax.random.split(key)
        seen = look(corridor)
        carry, logits, value = agent.apply(params, carry, seen[None], begins[None])
        action = jax.random.categorical(key_action, logits[0])
        corridor, reward, ends = move(corridor, action, key_move)
        moment = Moment(seen, begins, action, chosen(logits[0], action), value[0], reward, ends)
        return (carry, corridor, ends), moment

    def advantages(moments, last_value):
        def back(carry, moment):
            advantage, next_value = carry
            goes_on = 1.0 - moment.ends
            error = moment.reward + DISCOUNT * goes_on * next_value - moment.value
            advantage = error + DISCOUNT * TRACE * goes_on * advantage
            return (advantage, moment.value), advantage

        zero = jnp.zeros_like(last_value)
        return jax.lax.scan(back, (zero, last_value), moments, reverse=True)[1]

    def loss(params, carry, moments, gain):
        _, logits, values = agent.apply(params, carry, moments.seen, moments.begins)
        ratio = jnp.exp(chosen(logits, moments.action) - moments.likelihood)
        scaled = (gain - gain.mean()) / (gain.std() + 1e-8)
        policy = jnp.minimum(ratio * scaled, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * scaled)
        entropy = -(jax.nn.softmax(logits) * jax.nn.log_softmax(logits)).sum(-1)
        errors = (values - gain - moments.value) ** 2
        return 0.25 * errors.mean() - policy.mean() - ENTROPY * entropy.mean()

    def learn(learner, key, first, moments, gain):
        order = jax.random.permutation(key, AGENTS).reshape(PARTS, -1)

        def one(learner, rows):
            params, memory = learner
            part = jax.tree.map(lambda x: x[:, rows], (moments, gain))
            gradient = jax.grad(loss)(params, first[rows], *part)
            change, memory = optimizer.update(gradient, memory)
            return (optax.apply_updates(params, change), memory), None

        return jax.lax.scan(one, learner, order)[0]

    def update(state, key):
        learner, (first, *where) = state
        keys = jax.random.split(key, STEPS + EPOCHS)
        after, moments = jax.lax.scan(
            functools.partial(step, learner[0]), (first, *where), keys[:STEPS]
        )
        carry, corridor, begins = after
        _, _, value = agent.apply(learner[0], carry, look(corridor)[None], begins[None])
        gain = advantages(moments, value[0])
        for epoch in range(EPOCHS):
            learner = learn(learner, keys[STEPS + epoch], first, moments, gain)
        return (learner, after), moments.reward.sum() / moments.ends.sum()

    state = (params, optimizer.init(params)), (carry, corridor, begins)
    return jax.lax.scan(update, state, jax.random.split(key, updates))[1]


def main(updates: int = 40, seeds: int = 5) -> None:
    curves, seconds = {}, {}
    for name, recurrence in (("Flax", ScannedRNN), ("jaxgru", ScannedGRU)):
        run = jax.jit(functools.partial(train, recurrence, updates))
        run = run.lower(jax.random.key(0)).compile()
        start = time.perf_counter()
        curves[name] = np.array([run(jax.random.key(seed)) for seed in range(seeds)])
        seconds[name] = time.perf_counter() - start
    print(f"reward of an episode, mean over {seeds} seeds\n\nupdate    Flax  jaxgru")
    for row in np.linspace(0, updates - 1, 6).astype(int):
        means = (curves[name][:, row].mean() for name in curves)
        print(f"{row + 1:6}  {'  '.join(f'{mean:6.2f}' for mean in means)}")
    print(f"seconds {seconds['Flax']:6.1f}  {seconds['jaxgru']:6.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=40)
    parser.add_argument("--seeds", type=int, default=5)
    main(**vars(parser.parse_args()))

"""A recurrent policy that learns from reward to remember a sign.

An agent is in a corridor. The first observation of an episode is a sign, left or right. The agent
can walk or turn left or right. A turn has an effect only at the end, after five steps, where it
ends the episode with a reward of 1 for the side of the sign and -1 for the other. Without memory,
the mean reward is 0. The policy is a GRU with an action head and a value head, trained by policy
gradient.

Many corridors run in parallel, and episodes end in the middle of a rollout. ``resets=`` marks the
first step of an episode, and ``reset_state=``, which is trained, is the state there. The same
function computes the rollout step by step, and all steps of the loss at once. It prints, up to the
last digits ::

    update   0: mean reward -0.03
    update  40: mean reward  0.06
    update  80: mean reward  0.79
    update 120: mean reward  1.00
    update 160: mean reward  1.00
    update 200: mean reward  1.00
"""

import jax
import jax.numpy as jnp
import optax

import jaxgru

CORRIDORS, STEPS, LENGTH, UNITS = 128, 32, 5, 16
WALK, LEFT = 0, 1  # and 2, right
DISCOUNT = 0.95


def init(key):
    key_gru, key_heads = jax.random.split(key)
    return {
        "gru": jaxgru.init(key_gru, 4, UNITS),
        "start": jnp.zeros(UNITS),
        "heads": 0.1 * jax.random.normal(key_heads, (UNITS, 4)),  # three actions and a value
    }


def apply(model, seen, h, begins):
    """Return logits and values ``(T, B, .)`` for observations ``(T, B, 4)``, and the state."""
    states, h = jaxgru.gru(
        model["gru"], seen, h, resets=begins, reset_state=model["start"], time_major=True
    )
    heads = states @ model["heads"]
    return heads[..., :3], heads[..., 3], h


def rollout(model, corridors, h, key):
    """Return the data of STEPS steps, and the corridors and states after them."""

    def step(carry, key):
        (position, sign, begins), h = carry
        key_action, key_sign = jax.random.split(key)
        at_end = position == LENGTH
        shown = [begins & (sign == 1), begins & (sign == 2), at_end, position >= 0]
        seen = jnp.stack(shown, axis=-1).astype(jnp.float32)
        logits, _, h = apply(model, seen[None], h, begins[None])
        action = jax.random.categorical(key_action, logits[0])
        ends = at_end & (action != WALK)
        reward = jnp.where(ends, jnp.where(action == sign, 1.0, -1.0), 0.0)
        position = jnp.where(ends, 0, jnp.minimum(position + (action == WALK), LENGTH))
        sign = jnp.where(ends, jax.random.randint(key_sign, sign.shape, LEFT, 3), sign)
        return ((position, sign, ends), h), (seen, begins, action, reward, ends)

    return jax.lax.scan(step, (corridors, h), jax.random.split(key, STEPS))


def loss(model, h, happened):
    seen, begins, action, reward, ends = happened
    logits, values, _ = apply(model, seen, h, begins)

    def discounted(later, step):
        reward, ends = step
        total = reward + DISCOUNT * jnp.where(ends, 0.0, later)
        return total, total

    after = jax.lax.stop_gradient(values[-1])
    _, returns = jax.lax.scan(discounted, after, (reward, ends), reverse=True)
    logs = jax.nn.log_softmax(logits)
    taken = jnp.take_along_axis(logs, action[..., None], axis=-1)[..., 0]
    advantage = jax.lax.stop_gradient(returns - values)
    return (-taken * advantage + 0.5 * (returns - values) ** 2).mean()


def main(updates: int = 200) -> None:
    key_model, key = jax.random.split(jax.random.key(0))
    model, h = init(key_model), jnp.zeros((CORRIDORS, UNITS))
    corridors = (
        jnp.zeros(CORRIDORS, int),
        jnp.arange(CORRIDORS) % 2 + LEFT,
        jnp.ones(CORRIDORS, bool),
    )
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.01))
    state = optimizer.init(model)

    @jax.jit
    def update(model, state, corridors, h, key):
        (corridors, after), happened = rollout(model, corridors, h, key)
        gradient = jax.grad(loss)(model, h, happened)
        updates, state = optimizer.update(gradient, state)
        model = optax.apply_updates(model, updates)
        *_, reward, ends = happened
        return model, state, corridors, after, reward.sum() / ends.sum()

    for number in range(updates + 1):
        key, key_rollout = jax.random.split(key)
        model, state, corridors, h, mean = update(model, state, corridors, h, key_rollout)
        if number % max(updates // 5, 1) == 0:
            print(f"update {number:3}: mean reward {mean:5.2f}")


if __name__ == "__main__":
    main()

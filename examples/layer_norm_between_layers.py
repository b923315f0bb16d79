"""Custom functions between layers: a residual connection and layer normalization.

In a tuple of layers, each layer takes the states of the one before. For anything else, call the
layers one by one. The model is a plain pytree, and so is the gradient of its loss. It prints, up to
the last digits ::

    step  0: loss 1.0302
    step 20: loss 0.3779
    step 40: loss 0.3204
    step 60: loss 0.2930
"""

import jax
import jax.numpy as jnp

import jaxgru

UNITS, LAYERS = 8, 3


def init(key):
    keys = jax.random.split(key, LAYERS)
    return {
        "layers": [jaxgru.init(k, UNITS, UNITS) for k in keys],
        "scales": [jnp.ones(UNITS) for _ in keys],
        "h0": [jnp.zeros(UNITS) for _ in keys],  # trained like the other leaves
    }


def normalized(x, scale):
    centered = x - x.mean(axis=-1, keepdims=True)
    deviation = jnp.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scale * centered / deviation


def apply(model, xs, lengths):
    for layer, scale, h0 in zip(model["layers"], model["scales"], model["h0"], strict=True):
        ys, _ = jaxgru.gru(layer, normalized(xs, scale), h0, lengths=lengths)
        xs = xs + ys
    return xs


def loss(model, xs, lengths):
    # The targets are the inputs three steps before.
    target = jnp.roll(xs, 3, axis=1)
    counts = (jnp.arange(xs.shape[1]) >= 3) & (jnp.arange(xs.shape[1]) < lengths[:, None])
    errors = ((apply(model, xs, lengths) - target) ** 2).mean(axis=-1)
    return jnp.where(counts, errors, 0).sum() / counts.sum()


@jax.jit
def improved(model, xs, lengths):
    value, gradient = jax.value_and_grad(loss)(model, xs, lengths)
    return jax.tree.map(lambda leaf, slope: leaf - 0.5 * slope, model, gradient), value


def main():
    key, key_xs, key_lengths = jax.random.split(jax.random.key(0), 3)
    xs = 0.5 * jax.random.normal(key_xs, (32, 20, UNITS))
    lengths = jax.random.randint(key_lengths, (32,), 5, 21)
    model = init(key)
    for step in range(61):
        model, value = improved(model, xs, lengths)
        if step % 20 == 0:
            print(f"step {step:2}: loss {value:.4f}")


if __name__ == "__main__":
    main()

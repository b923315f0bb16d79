"""Adapt a GRU on a stream while its sensors change, with one gradient step per second of signal.

Every ten samples, the true values of the last second become known (for example by a slow, exact
measurement), and one step of Adam follows the gradient of the error through these ten steps. The
state continues from second to second, so the memory is longer than the gradient. After 500 of 2000
seconds, the sensors drift suddenly. The error of the fixed layer stays large, that of the adapting
layer recovers. Both start from the example weights. Run it in the root of the repository; it
prints, up to the last digits ::

    mean square error    fixed  adapting
       0 to  500 s     0.0046    0.0099
     500 to 1000 s     0.1623    0.0228
    1000 to 1500 s     0.1523    0.0134
    1500 to 2000 s     0.1499    0.0106
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from sensed_spring import drifted, record

import jaxgru

DATA = Path("examples/data")
SECOND = 10  # samples


def main(seconds: int = 2000) -> None:
    readings, truth = record(np.random.default_rng(0), 1, seconds * SECOND)
    change = seconds // 4 * SECOND
    readings = np.concatenate([readings[0, :change], drifted(readings[0, change:])])
    params = jaxgru.load(DATA / "gru.npz")
    readout = dict(np.load(DATA / "readout.npz"))
    optimizer = optax.adam(0.001)

    def loss(params, h, readings, truth):
        states, h = jaxgru.gru(params, readings, h)
        return ((states @ readout["kernel"] + readout["bias"] - truth) ** 2).mean(), h

    def one_second(carry, happened):
        """Return the error before the update."""
        params, state, h = carry
        (error, h), gradient = jax.value_and_grad(loss, has_aux=True)(params, h, *happened)
        updates, state = optimizer.update(gradient, state)
        return (optax.apply_updates(params, updates), state, h), error

    def by_second(array):
        return array.reshape(seconds, SECOND, -1)

    h = jnp.zeros(params.hidden_size)
    stream = by_second(readings), by_second(truth[0])
    start = params, optimizer.init(params), h
    _, adapting = jax.jit(lambda start: jax.lax.scan(one_second, start, stream))(start)
    states, _ = jaxgru.gru(params, readings)
    estimate = states @ readout["kernel"] + readout["bias"]
    fixed = by_second((estimate - truth[0]) ** 2).mean(axis=(1, 2))
    print("mean square error    fixed  adapting")
    for first, last in ((0, 1), (1, 2), (2, 3), (3, 4)):
        part = slice(seconds * first // 4, seconds * last // 4)
        errors = fixed[part].mean(), adapting[part].mean()
        print(f"{part.start:4} to {part.stop:4} s     {errors[0]:.4f}    {errors[1]:.4f}")


if __name__ == "__main__":
    main()

"""Drop-in modules against what they replace: ``python -m benchmarks.dropins``.

It times a training step with each library's own recurrence and with that of jaxgru: the same
parameters, inputs and loss, all programs of a shape in turn in one process. For Keras it is
``model.fit`` over one epoch. Losses and gradients of the two are compared before anything is timed.
Prints medians and ratios for each shape, and writes JSON.
"""

import argparse
import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.contenders import Program
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.problem import Shape
from benchmarks.report import RESULTS, save_json
from benchmarks.timing import QUICK, THOROUGH, Effort, time_interleaved

SHAPES = (
    Shape(16, 64, 16, 32),
    Shape(32, 128, 32, 64),
    Shape(64, 128, 64, 128),
    Shape(32, 512, 64, 128),
    Shape(64, 256, 128, 256),
)
# Recurrent PPO, with resets.
EPISODES = (Shape(1024, 128, 128, 128), Shape(1024, 128, 256, 256))
BATCHES = 4  # of an epoch of Keras
OURS = "jaxgru"

Pair = dict[str, Program]


class Data(NamedTuple):
    """Inputs ``(B, T, I)``, weights of the outputs ``(B, T, H)``, and flags ``(B, T)`` or None."""

    xs: jax.Array
    weights: jax.Array
    resets: jax.Array | None


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dropins", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the measuring time")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for JSON")
    parser.add_argument("--libraries", nargs="+", choices=LIBRARIES, default=list(LIBRARIES))
    parser.add_argument(
        "--shape", nargs=4, type=int, metavar=tuple("BTIH"), help="this one alone, with resets too"
    )
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    effort = QUICK if options.quick else THOROUGH
    plain, episodes = ([Shape(*options.shape)],) * 2 if options.shape else (SHAPES, EPISODES)
    records = [
        record
        for shapes, has_resets in ((plain, False), (episodes, True))
        for shape in shapes
        for record in measure(options.libraries, shape, has_resets, effort)
    ]
    content = {"machine": machine, "quick": options.quick, "rows": records}
    save_json(options.out / f"dropins-{machine['platform']}.json", content)


def measure(
    libraries: Sequence[str], shape: Shape, has_resets: bool, effort: Effort
) -> list[dict[str, Any]]:
    """Return the rows of one shape for JSON, with times in seconds, and print them."""
    data = draw(shape, has_resets)
    pairs = {
        library: pair
        for library in libraries
        if (pair := LIBRARIES[library](shape, data)) is not None
    }
    programs = {
        (library, which): program
        for library, pair in pairs.items()
        for which, program in pair.items()
    }
    timings = time_interleaved(programs, effort)
    print(f"\n{shape}{', resets' if has_resets else ''}")
    print(f"  {'':16} {'library ms':>11} {'jaxgru ms':>10} ratio")
    records = []
    for library in pairs:
        theirs, ours = timings[library, library], timings[library, OURS]
        ratio = theirs.median / ours.median
        print(f"  {library:16} {1e3 * theirs.median:11.2f} {1e3 * ours.median:10.2f} {ratio:5.2f}")
        records.append(
            {
                "library": library, "shape": shape._asdict(), "resets": has_resets,
                "own": theirs._asdict(), "jaxgru": ours._asdict(), "ratio": ratio,
            }
        )  # fmt: skip
    return records


def draw(shape: Shape, has_resets: bool) -> Data:
    """Return random inputs; an episode begins at one step in fifty."""
    key_xs, key_weights, key_resets = jax.random.split(jax.random.key(0), 3)
    batch_time = shape.batch, shape.time
    return Data(
        jax.random.normal(key_xs, (*batch_time, shape.inputs)),
        jax.random.normal(key_weights, (*batch_time, shape.units)),
        jax.random.bernoulli(key_resets, 0.02, batch_time) if has_resets else None,
    )


def compare(params: Any, runs: Mapping[str, Callable[[Any], jax.Array]], data: Data) -> Pair:
    """Return the compiled training steps of two functions of parameters, after comparing them."""

    def loss(run: Callable[[Any], jax.Array], params: Any) -> jax.Array:
        return (run(params) * data.weights).mean()

    steps = {
        which: jax.jit(jax.value_and_grad(functools.partial(loss, run)))
        for which, run in runs.items()
    }
    found, expected = (jax.tree.leaves(step(params)) for step in reversed(steps.values()))
    for one, other in zip(found, expected, strict=True):
        # Sums of up to 10^5 terms in another order.
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-3 * float(jnp.abs(other).max()))
    return {which: program(functools.partial(step, params)) for which, step in steps.items()}


def program(call: Callable[[], Any]) -> Program:
    """Return a program that waits for its results."""
    return Program(lambda: jax.block_until_ready(call()))


def linen(shape: Shape, data: Data) -> Pair:
    """Return the training steps of Flax linen: ``RNN``, or ``ScannedRNN`` with resets."""
    import flax.linen as nn

    from jaxgru import linen as ours

    if data.resets is not None:
        return _scanned(nn, ours, shape, data)
    cell = nn.GRUCell(shape.units)
    modules = {"flax linen": nn.RNN(cell), OURS: ours.RNN(cell)}
    variables = modules[OURS].init(jax.random.key(1), data.xs)
    runs = {which: lambda v, m=m: m.apply(v, data.xs) for which, m in modules.items()}
    return compare(variables, runs, data)


def _scanned(nn: Any, ours: Any, shape: Shape, data: Data) -> Pair:
    class ScannedRNN(nn.Module):
        @functools.partial(nn.scan, variable_broadcast="params", split_rngs={"params": False})
        @nn.compact
        def __call__(self, carry, x):
            inputs, begins = x
            carry = jnp.where(begins[:, None], jnp.zeros_like(carry), carry)
            return nn.GRUCell(shape.units)(carry, inputs)

    x = data.xs.swapaxes(0, 1), data.resets.T
    carry = ours.ScannedGRU.initialize_carry(shape.batch, shape.units)
    modules = {"flax linen": ScannedRNN(), OURS: ours.ScannedGRU()}
    variables = modules[OURS].init(jax.random.key(1), carry, x)
    runs = {
        which: lambda v, m=m: m.apply(v, carry, x)[1].swapaxes(0, 1) for which, m in modules.items()
    }
    return compare(variables, runs, data)


def nnx(shape: Shape, data: Data) -> Pair | None:
    """Return the training steps of Flax nnx, which has no resets."""
    from flax import nnx

    from jaxgru import nnx as ours

    if data.resets is not None:
        return None
    runs, start = {}, jnp.zeros((shape.batch, shape.units))
    for which, library in (("flax nnx", nnx), (OURS, ours)):
        cell = nnx.GRUCell(shape.inputs, shape.units, rngs=nnx.Rngs(0))
        graph, params, rest = nnx.split(library.RNN(cell, rngs=False), nnx.Param, ...)
        runs[which] = lambda params, g=graph, rest=rest: nnx.merge(g, params, rest)(
            data.xs, initial_carry=start
        )
    return compare(params, runs, data)


def equinox(shape: Shape, data: Data) -> Pair:
    """Return the training steps of Equinox: its cell in ``lax.scan``, mapped over the batch."""
    import equinox as eqx

    import jaxgru.equinox

    cell = eqx.nn.GRUCell(shape.inputs, shape.units, key=jax.random.key(1))
    resets = data.resets

    def theirs(cell, xs, begins):
        def step(h, x):
            x, is_first = x
            h = h if is_first is None else jnp.where(is_first, jnp.zeros_like(h), h)
            h = cell(x, h)
            return h, h

        return jax.lax.scan(step, jnp.zeros(shape.units), (xs, begins))[1]

    runs = {
        "equinox": lambda cell: jax.vmap(theirs, (None, 0, 0))(cell, data.xs, resets),
        OURS: lambda cell: jaxgru.equinox.scan(cell, data.xs, resets=resets)[1],
    }
    return compare(cell, runs, data)


def haiku(shape: Shape, data: Data) -> Pair:
    """Return the training steps of Haiku: ``dynamic_unroll``, of a ``ResetCore`` with resets."""
    import haiku as hk

    import jaxgru.haiku

    xs = data.xs.swapaxes(0, 1)
    inputs = xs if data.resets is None else (xs, data.resets.T)

    def run(unroll, inputs):
        core = hk.GRU(shape.units)
        core = core if data.resets is None else hk.ResetCore(core)
        return unroll(core, inputs, core.initial_state(shape.batch))[0].swapaxes(0, 1)

    runs, params = {}, None
    for which, unroll in (("haiku", hk.dynamic_unroll), (OURS, jaxgru.haiku.dynamic_unroll)):
        function = hk.without_apply_rng(hk.transform(functools.partial(run, unroll)))
        params = function.init(jax.random.key(1), inputs)
        runs[which] = lambda params, f=function: f.apply(params, inputs)
    return compare(params, runs, data)


def keras(shape: Shape, data: Data) -> Pair | None:
    """Return one epoch of ``model.fit`` of Keras, which has no resets."""
    import keras

    import jaxgru.keras

    if data.resets is not None:
        return None
    xs = np.tile(np.asarray(data.xs), (BATCHES, 1, 1))
    targets = np.tile(np.asarray(data.weights), (BATCHES, 1, 1))
    models = {}
    for which in ("keras", OURS):
        layer = keras.layers.GRU(shape.units, return_sequences=True)
        models[which] = keras.Sequential([keras.Input(data.xs.shape[1:]), layer])
        models[which].compile(keras.optimizers.SGD(1e-3), "mse")
    models[OURS].set_weights(models["keras"].get_weights())
    jaxgru.keras.accelerate(models[OURS])
    fit = {
        which: functools.partial(
            model.fit, xs, targets, batch_size=shape.batch, epochs=1, shuffle=False, verbose=0
        )
        for which, model in models.items()
    }
    theirs, ours = (call().history["loss"][0] for call in fit.values())
    np.testing.assert_allclose(ours, theirs, rtol=1e-4)
    return {which: Program(call) for which, call in fit.items()}


LIBRARIES: dict[str, Callable[[Shape, Data], Pair | None]] = {
    "flax linen": linen, "flax nnx": nnx, "equinox": equinox, "haiku": haiku, "keras": keras,
}  # fmt: skip

if __name__ == "__main__":
    main()

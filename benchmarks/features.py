"""The cost of each feature of ``jaxgru.gru``: ``python -m benchmarks.features``.

Padding, episodes, dropout, both directions and stacks, forward and training, in turn in one run.
Prints tables, and writes JSON.
"""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgru
from benchmarks.contenders.contender import Program, jax_program
from benchmarks.machine import accelerator_note, describe_machine, heading
from benchmarks.problem import Shape
from benchmarks.report import RESULTS, save_json
from benchmarks.timing import QUICK, THOROUGH, Timing, time_interleaved

SHAPE = Shape(32, 256, 64, 128)
KINDS = ("forward", "train")
PLAIN = "plain layer"
# The baseline of a feature, if that is not the plain layer.
BY_HAND = {"Bidirectional": "two passes, by hand", "3-layer stack": "three calls"}
RATE = 0.2  # of every dropout

States = Callable[..., jax.Array]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.features", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a tenth of the measuring time")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    print(heading(machine), accelerator_note(machine), sep="\n")
    rows = []
    for kind in KINDS:
        programs = compiled(SHAPE, kind)
        timings = time_interleaved(programs, QUICK if options.quick else THOROUGH)
        print(_table(kind, programs, timings))
        rows += [
            {
                "kind": kind,
                "feature": feature,
                **timing._asdict(),
                "compile_seconds": programs[feature].compile_seconds,
                "temp_bytes": programs[feature].temp_bytes,
                "over_plain": timing.median / timings[PLAIN].median,
            }
            for feature, timing in timings.items()
        ]
    content = {"machine": machine, "quick": options.quick, "shape": SHAPE._asdict(), "rows": rows}
    save_json(options.out / f"features-{machine['platform']}.json", content)


def compiled(shape: Shape, kind: str) -> dict[str, Program]:
    """Return the program of each feature: its states, or its loss and gradients to train.

    Flags, lengths and keys are arguments of the program, so that nothing that depends on them, such
    as a draw, is computed in advance.
    """
    xs = jax.random.normal(jax.random.key(1), (shape.batch, shape.time, shape.inputs))
    programs = {}
    for feature, (states, net, *given) in _features(shape).items():

        def loss(net: Any, xs: jax.Array, *given: Any, states: States = states) -> jax.Array:
            return jnp.mean(jnp.square(states(net, xs, *given)))

        run = states if kind == "forward" else jax.value_and_grad(loss, argnums=(0, 1))
        programs[feature] = jax_program(run, net, xs, *given)
    return programs


def _features(shape: Shape) -> dict[str, tuple[Any, ...]]:
    """Return a function of net and inputs, the net, and further arguments, by feature."""
    keys = jax.random.split(jax.random.key(0), 4)
    above = shape.units
    layer, backward = (jaxgru.init(key, shape.inputs, shape.units) for key in keys[:2])
    stack = (layer, *(jaxgru.init(key, above, above) for key in keys[2:]))
    rng = np.random.default_rng(0)
    steps = (shape.batch, shape.time)
    lengths = rng.integers(1, shape.time, shape.batch, np.int32, endpoint=True)
    mask, resets = rng.random(steps) < 0.8, rng.random(steps) < 0.02

    def feature(net: Any, argument: str | None = None, given: Any = None, **options: Any) -> Any:
        def states(net: Any, xs: jax.Array, *given: Any) -> jax.Array:
            return jaxgru.gru(net, xs, **options, **dict(zip([argument], given, strict=False)))[0]

        return (states, net) if argument is None else (states, net, given)

    def plain(net: Any, xs: jax.Array) -> jax.Array:
        return jaxgru.gru(net, xs)[0]

    def two_passes(layers: Any, xs: jax.Array) -> jax.Array:
        there, back = plain(layers[0], xs), plain(layers[1], jnp.flip(xs, axis=1))
        return jnp.concatenate([there, jnp.flip(back, axis=1)], axis=-1)

    def three_calls(layers: Any, xs: jax.Array) -> jax.Array:
        for params in layers:
            xs = plain(params, xs)
        return xs

    def dropout(**options: Any) -> Any:
        return feature(layer, "key", keys[0], **options)

    return {
        PLAIN: feature(layer),
        "lengths, padding zero": feature(layer, "lengths", lengths, zero_masked=True),
        "mask, states held": feature(layer, "mask", mask),
        "resets": feature(layer, "resets", resets),
        "input dropout, each step": dropout(dropout=jaxgru.Dropout(RATE, on="inputs")),
        "input dropout, one draw": dropout(dropout=jaxgru.Dropout(RATE, on="inputs", shared=True)),
        "recurrent dropout": dropout(recurrent_dropout=RATE),
        "last state alone": feature(layer, return_sequences=False),
        "two passes, by hand": (two_passes, (layer, backward)),
        "Bidirectional": feature(jaxgru.Bidirectional(layer, backward)),
        "three calls": (three_calls, stack),
        "3-layer stack": feature(stack),
    }


def _table(kind: str, programs: dict[str, Program], timings: dict[str, Timing]) -> str:
    """Return one kind of run as text: times, ratios to the plain layer, memory."""
    lines = [f"{kind} {SHAPE}", f"  {'':25} {'ms':>8} {'/ plain':>8} {'temp MB':>8}"]
    for feature, timing in timings.items():
        ratio = timing.median / timings[PLAIN].median
        temp_bytes = programs[feature].temp_bytes
        memory = "-" if temp_bytes is None else f"{1e-6 * temp_bytes:.1f}"
        lines.append(f"  {feature:25} {1e3 * timing.median:8.2f} {ratio:8.2f} {memory:>8}")
    for feature, by_hand in BY_HAND.items():
        ratio = timings[feature].median / timings[by_hand].median
        lines.append(f"  {feature} / {by_hand}: {ratio:.2f}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

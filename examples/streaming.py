"""Answer each line of numbers with the outputs of a net after it; run in the repository's root.

Every line of standard input is one step's inputs, apart by spaces or commas; every line of
standard output the outputs then. ``--state FILE`` starts from the state stored there, if there is
one, and stores it after each line, so that a stream may stop and go on ::

    head -3 sensors.txt | python examples/streaming.py --state state.npz
    tail -n +4 sensors.txt | python examples/streaming.py --state state.npz

Without ``--weights`` it is the trained layer of ``examples/data``, which takes 6 numbers. A stack
of layers will do as well, as long as all of them go forward.
"""

import argparse
import functools
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgru
from jaxgru.layers import directions, layers


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer lines of numbers with outputs of a GRU.")
    parser.add_argument("--weights", type=Path, default=Path("examples/data/gru.npz"))
    parser.add_argument("--state", type=Path, help="where the state is kept: an .npz file")
    options = parser.parse_args()

    net = jaxgru.load(options.weights)
    if True in directions(net):
        raise SystemExit(f"{options.weights} has a backward direction, which begins at the end")
    size = layers(net)[0][1].input_size
    # Compiled at the first line, for all others; docs/latency.md has what else makes it fast.
    run = jax.jit(functools.partial(jaxgru.gru, net))
    _, h = jaxgru.gru(net, np.zeros((0, size), np.float32))  # no step gives the state before any
    if options.state is not None and options.state.exists():
        with np.load(options.state) as stored:
            h = jax.tree.unflatten(jax.tree.structure(h), stored.values())
    for number, line in enumerate(sys.stdin, start=1):
        ys, h = run(_inputs(line, number, size), h)
        print(*(f"{output:.8f}" for output in np.asarray(ys[0])), flush=True)
        if options.state is not None:
            _store(options.state, h)


def _inputs(line: str, number: int, size: int) -> np.ndarray:
    """Return the one step of a line, ``(1, I)``."""
    words = line.replace(",", " ").split()
    try:
        x = np.array([[float(word) for word in words]], np.float32)
    except ValueError as error:
        raise SystemExit(f"line {number}: {error}") from None
    if x.size != size:
        raise SystemExit(f"line {number} has {x.size} numbers: expected {size}")
    return x


def _store(path: Path, h: Any) -> None:
    # Written aside and moved into place: whoever stops the stream finds a whole state.
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        np.savez(file, *jax.tree.leaves(h))
    os.replace(aside, path)


if __name__ == "__main__":
    main()

"""Run a net step by step on lines of numbers; run it in the root of the repository.

Each line of standard input has the inputs of one step, separated by spaces or commas; each line of
standard output has the outputs. ``--state FILE`` starts from the state in the file, if it exists,
and saves the state after each line, so that a stream can be continued ::

    head -3 sensors.txt | python examples/streaming.py --state state.npz
    tail -n +4 sensors.txt | python examples/streaming.py --state state.npz

The default of ``--weights`` is the trained layer of ``examples/data`` with 6 inputs. A stack of
forward layers is possible too.
"""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgru


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a GRU step by step on lines of numbers.")
    parser.add_argument("--weights", type=Path, default=Path("examples/data/gru.npz"))
    parser.add_argument("--state", type=Path, help="the .npz file of the state")
    options = parser.parse_args()

    try:
        stream = jaxgru.Stream(jaxgru.load(options.weights))
    except ValueError as error:  # a net with a backward direction, which begins at the end
        raise SystemExit(f"{options.weights}: {error}") from None
    if options.state is not None and options.state.exists():
        structure = jax.tree.structure(stream.state)
        with np.load(options.state) as stored:
            stream.state = jax.tree.unflatten(structure, stored.values())
    for number, line in enumerate(sys.stdin, start=1):
        y = stream(_inputs(line, number, stream.input_size))
        print(*(f"{output:.8f}" for output in y), flush=True)
        if options.state is not None:
            _store(options.state, stream.state)


def _inputs(line: str, number: int, size: int) -> np.ndarray:
    """Return the inputs of a line, ``(I,)``."""
    words = line.replace(",", " ").split()
    try:
        x = np.array([float(word) for word in words], np.float32)
    except ValueError as error:
        raise SystemExit(f"line {number}: {error}") from None
    if x.size != size:
        raise SystemExit(f"line {number} has {x.size} numbers: expected {size}")
    return x


def _store(path: Path, h: Any) -> None:
    # Replaced atomically, so that the state is complete whenever the stream stops.
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        np.savez(file, *jax.tree.leaves(h))
    os.replace(aside, path)


if __name__ == "__main__":
    main()

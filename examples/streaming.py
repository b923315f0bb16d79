"""Answer each line of numbers with the state of a GRU after it; run in the repository's root.

Every line of standard input is one step's inputs, apart by spaces or commas; every line of
standard output the state then. ``--state FILE`` starts from the state stored there, if there is
one, and stores it after each line, so that a stream may stop and go on ::

    head -3 sensors.txt | python examples/streaming.py --state state.npz
    tail -n +4 sensors.txt | python examples/streaming.py --state state.npz

Without ``--weights`` it is the trained layer of ``examples/data``, which takes 6 numbers.
"""

import argparse
import os
import sys
from pathlib import Path

import jax
import numpy as np

import jaxgru


def main() -> None:
    parser = argparse.ArgumentParser(description="Answer lines of numbers with states of a GRU.")
    parser.add_argument("--weights", type=Path, default=Path("examples/data/gru.npz"))
    parser.add_argument("--state", type=Path, help="where the state is kept: an .npz file")
    options = parser.parse_args()

    params = jaxgru.load(options.weights)
    cell = jax.jit(jaxgru.gru_cell)  # compiled at the first line, for all others
    h = np.zeros(params.hidden_size, params.dtype)
    if options.state is not None and options.state.exists():
        with np.load(options.state) as stored:
            h = stored["h"]
    for number, line in enumerate(sys.stdin, start=1):
        h = cell(params, h, _inputs(line, number, params))
        print(*(f"{unit:.8f}" for unit in np.asarray(h)), flush=True)
        if options.state is not None:
            _store(options.state, np.asarray(h))


def _inputs(line: str, number: int, params: jaxgru.GRUParams) -> np.ndarray:
    words = line.replace(",", " ").split()
    try:
        x = np.array([float(word) for word in words], params.dtype)
    except ValueError as error:
        raise SystemExit(f"line {number}: {error}") from None
    if len(x) != params.input_size:
        raise SystemExit(f"line {number} has {len(x)} numbers: expected {params.input_size}")
    return x


def _store(path: Path, h: np.ndarray) -> None:
    # Written aside and moved into place: whoever stops the stream finds a whole state.
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        np.savez(file, h=h)
    os.replace(aside, path)


if __name__ == "__main__":
    main()

"""A comparison of fine-tuning different weights after a drift of sensors, as a table for the docs.

Each run starts from the trained layer and readout of ``examples/data`` and is trained with the same
optimizer on 64 drifted recordings of ten seconds; the error is that on 64 others. "Recovered" is
the removed fraction of the error due to the drift. In the root of the repository::

    python examples/finetune_compared.py --into docs/finetuning.md

prints the table, and writes it to that file between the lines ``<!-- table: ways -->`` and
``<!-- end -->``. The seconds include compilation.
"""

import argparse
import time
from pathlib import Path

import jax
import numpy as np
import optax
from sensed_spring import drifted, record

import jaxgru
from jaxgru.finetune import (
    LinearReadout,
    Sequences,
    Steps,
    evaluate,
    fit,
    low_rank,
    regression,
    trainable_mask,
)
from jaxgru.model import Model

DATA = Path("examples/data")
TRAINING, HELD_OUT, TIME, STEPS, BATCH = 64, 64, 100, 600, 16
BEGIN, END = "<!-- table: ways -->\n", "<!-- end -->\n"

# The trained weights, by name: patterns of the paths in a Model.
WAYS = {
    "all weights of the layer": "net.*",
    "the layer and its readout": "*",
    "the kernel": "net.kernel",
    "the recurrent kernel": "net.recurrent_kernel",
    "the biases of the layer": "net.*bias",
    "the readout": "readout.*",
    "a change of rank 1 of both kernels (LoRA)": "net.deltas.*",
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Ways to fine-tune, compared.")
    parser.add_argument("--into", type=Path, help="the Markdown file to put the table into")
    options = parser.parse_args()
    text = table()
    print(text, end="")
    if options.into is not None:
        put(text, options.into)


def table(steps: int = STEPS) -> str:
    """Return a Markdown table of all runs."""
    readings, truth = record(np.random.default_rng(0), TRAINING + HELD_OUT, TIME)
    before = Sequences(readings[TRAINING:], truth[TRAINING:])
    readings = drifted(readings)
    data = Sequences(readings[:TRAINING], truth[:TRAINING])
    held_out = Sequences(readings[TRAINING:], truth[TRAINING:])
    model = trained()
    good, bad = (evaluate(model, some, regression()) for some in (before, held_out))
    lines = [
        "| trained | numbers | mean square error | recovered | seconds |",
        "|---|---:|---:|---:|---:|",
        f"| before the drift | | {good:.4f} | | |",
        f"| nothing | 0 | {bad:.4f} | 0 % | |",
    ]
    for name, patterns in WAYS.items():
        start = time.perf_counter()
        tuned, numbers = finetune(model, data, patterns, steps)
        seconds = time.perf_counter() - start
        error = evaluate(tuned, held_out, regression())
        recovered = (bad - error) / (bad - good)
        lines.append(
            f"| {name} | {numbers} | {error:.4f} | {100 * recovered:.0f} % | {seconds:.1f} |"
        )
    return "\n".join(lines) + "\n"


def trained() -> Model:
    """Return the layer and the readout from before the drift."""
    with np.load(DATA / "readout.npz") as readout:
        return Model(
            net=jaxgru.load(DATA / "gru.npz"),
            readout=LinearReadout(readout["kernel"], readout["bias"]),
        )


def finetune(model: Model, data: Sequences, patterns: str, steps: int) -> tuple[Model, int]:
    """Return a model with some weights tuned, and the number of these weights."""
    start = model
    if patterns == "net.deltas.*":
        start = low_rank(model, jax.random.key(0), rank=1, kernels="net.*kernel")
    result = fit(
        start,
        data,
        regression(),
        Steps(steps, every=steps),
        key=jax.random.key(1),
        batch_size=BATCH,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.01, steps)),
        trainable=patterns,
    )
    mask = trainable_mask(start, patterns)
    numbers = sum(
        leaf.size
        for leaf, chosen in zip(*map(jax.tree.leaves, (start, mask)), strict=True)
        if chosen
    )
    return result.model, numbers


def put(text: str, path: Path) -> None:
    """Replace the text between the two marks in a file."""
    before, found, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    _, ends, after = rest.partition(END)
    if not (found and ends):
        raise SystemExit(f"{path}: has no line {BEGIN.strip()!r} with {END.strip()!r} after it")
    aside = path.with_name(f".{path.name}")
    aside.write_text(before + BEGIN + text + END + after, encoding="utf-8")
    aside.replace(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

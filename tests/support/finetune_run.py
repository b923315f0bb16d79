"""A run for tests that kill or distribute it.

``python finetune_run.py FOLDER EPOCHS [PROCESSES PROCESS PORT]``

It writes ``FOLDER/weights.npy``, the tuned weights in a row, once it is done.
"""

import sys
from pathlib import Path

import finetuning
import jax
import numpy as np
import optax

import jaxgru.finetune as ft


def main() -> None:
    """Tune, alone or with the other processes on all their devices."""
    mesh = None
    if len(sys.argv) > 3:
        processes, process, port = map(int, sys.argv[3:])
        jax.distributed.initialize(f"localhost:{port}", processes, process)
        mesh = ft.data_mesh()
    run(Path(sys.argv[1]), int(sys.argv[2]), mesh)


def run(folder: Path, epochs: int, mesh: jax.sharding.Mesh | None) -> None:
    """Tune a small net with all that a checkpoint has to hold: windows and dropout."""
    data = finetuning.small_data(lengths=finetuning.LENGTHS)
    result = finetuning.tune(
        finetuning.small_model(),
        data,
        ft.Steps(2 * epochs, every=1),  # of two windows each: a checkpoint may be between them
        batch_size=8,  # to be shared by as many devices
        window=3,
        options=ft.RunOptions(recurrent_dropout=0.2),
        optimizer=optax.adam(0.01),
        validation=finetuning.small_data(seed=1),
        on_round=[ft.write_history(folder / "history.jsonl"), ft.patience(400)],
        checkpoint_dir=folder / "checkpoints",
        mesh=mesh,
    )
    weights = [np.ravel(leaf) for leaf in jax.tree.leaves(result.model)]
    if jax.process_index() == 0:
        np.save(folder / "weights.npy", np.concatenate(weights))


if __name__ == "__main__":
    main()

"""Fine-tune with several processes, on one machine or on several: the same script in each.

All devices of all processes share each batch, through JAX's own runtime; every process has all
of the data and ends with the same weights, and the first prints and writes. Run in the repository's
root, two processes on one machine are ::

    python examples/finetune_distributed.py --processes 2 --process 0 &
    python examples/finetune_distributed.py --processes 2 --process 1

On two machines, both with the repository and the data, the first is told to listen where the second
can reach it, and each is started on its own machine ::

    python examples/finetune_distributed.py --processes 2 --process 0 --coordinator 10.0.0.1:8476
    python examples/finetune_distributed.py --processes 2 --process 1 --coordinator 10.0.0.1:8476

If one of them is killed, JAX ends the others after a minute or two. Start all again: with
``--checkpoints FOLDER``, a folder that all can reach, the run goes on from the last checkpoint
there. Without options it is one process, with the same result but for rounding, and for a net as
small as this one much faster. It prints, but for the last digits ::

    2 devices in 2 processes: mean square error 0.1604 before, 0.0085 after
    wrote tuned.npz
"""

import argparse
from pathlib import Path

import jax
import numpy as np
import optax
from sensed_spring import drifted, record

import jaxgru
from jaxgru.finetune import (
    LinearReadout,
    Model,
    Sequences,
    Steps,
    data_mesh,
    evaluate,
    fit,
    regression,
)

DATA = Path("examples/data")
TRAINING, HELD_OUT, TIME, BATCH = 64, 64, 100, 16


def main() -> None:
    options = parse()
    if options.processes > 1:
        # Before anything else of JAX. On a cluster that JAX knows, as Slurm, it needs no argument.
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    mesh = data_mesh()

    readings, truth = record(np.random.default_rng(0), TRAINING + HELD_OUT, TIME)
    readings = drifted(readings)
    data = Sequences(readings[:TRAINING], truth[:TRAINING])
    held_out = Sequences(readings[TRAINING:], truth[TRAINING:])
    with np.load(DATA / "readout.npz") as readout:
        readout = LinearReadout(readout["kernel"], readout["bias"])
    model = Model(jaxgru.load(DATA / "gru.npz"), readout)

    result = fit(
        model,
        data,
        regression(),
        Steps(options.steps, every=100),
        key=jax.random.key(0),
        batch_size=BATCH,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.01, options.steps)),
        checkpoint_dir=options.checkpoints,
        mesh=mesh,
    )
    before, after = (
        evaluate(model, held_out, regression(), mesh=mesh) for model in (model, result.model)
    )
    if jax.process_index() == 0:
        print(
            f"{mesh.size} devices in {jax.process_count()} processes: "
            f"mean square error {before:.4f} before, {after:.4f} after"
        )
        jaxgru.save(result.model.net, options.out)
        print(f"wrote {options.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Fine-tune the example in several processes.")
    parser.add_argument("--processes", type=int, default=1, help="how many there are")
    parser.add_argument("--process", type=int, default=0, help="which of them this is, from 0 on")
    parser.add_argument("--coordinator", default="localhost:8476", help="where the first listens")
    parser.add_argument("--checkpoints", type=Path, help="a folder that all processes can reach")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("tuned.npz"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

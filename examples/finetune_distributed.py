"""Fine-tune with several processes on one machine or several, each of which runs this script.

Each batch is split among all devices of all processes by JAX's distributed runtime. Every process
has all data and ends with the same weights; the first one prints and writes. In the root of the
repository, two processes on one machine are ::

    python examples/finetune_distributed.py --processes 2 --process 0 &
    python examples/finetune_distributed.py --processes 2 --process 1

On two machines, both with the repository and the data, the address of the first is passed to both,
and each process is started on its machine ::

    python examples/finetune_distributed.py --processes 2 --process 0 --coordinator 10.0.0.1:8476
    python examples/finetune_distributed.py --processes 2 --process 1 --coordinator 10.0.0.1:8476

If a process is killed, JAX stops the others after a minute or two. Start all of them again: with
``--checkpoints FOLDER``, a shared folder, the run resumes from the last checkpoint. Without options
there is one process, with the same result up to rounding, and much faster for such a small net. It
prints, up to the last digits ::

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
    Sequences,
    Steps,
    data_mesh,
    evaluate,
    fit,
    regression,
)
from jaxgru.model import Model

DATA = Path("examples/data")
TRAINING, HELD_OUT, TIME, BATCH = 64, 64, 100, 16


def main() -> None:
    options = parse()
    if options.processes > 1:
        # Before any other call of JAX. On clusters such as Slurm, it needs no arguments.
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
    mesh = data_mesh()

    readings, truth = record(np.random.default_rng(0), TRAINING + HELD_OUT, TIME)
    readings = drifted(readings)
    data = Sequences(readings[:TRAINING], truth[:TRAINING])
    held_out = Sequences(readings[TRAINING:], truth[TRAINING:])
    with np.load(DATA / "readout.npz") as readout:
        readout = LinearReadout(readout["kernel"], readout["bias"])
    model = Model(net=jaxgru.load(DATA / "gru.npz"), readout=readout)

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
    parser.add_argument("--processes", type=int, default=1, help="the number of processes")
    parser.add_argument("--process", type=int, default=0, help="the index of this process, from 0")
    parser.add_argument(
        "--coordinator", default="localhost:8476", help="address of the first process"
    )
    parser.add_argument("--checkpoints", type=Path, help="a folder shared by all processes")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--out", type=Path, default=Path("tuned.npz"))
    return parser.parse_args()


if __name__ == "__main__":
    main()

"""Train the example GRU, six inputs and six units, with Keras, and save the states of Keras.

The task is that of ``sensed_spring.py``: estimate the position and velocity of a mass on a spring
at every step from six noisy sensors. The model is a GRU layer of six units and a dense layer. The
baseline without memory is the least-squares linear map from the readings of one step.

The files are the reference of the package, so this script does not use the package: all numbers are
computed by Keras. ``data/README.md`` describes each file. ::

    pip install -e ".[keras]"
    python examples/train_small_gru.py                # writes examples/data
    python examples/train_small_gru.py --out DIR      # writes elsewhere

It takes about ten seconds on two cores and prints ::

    mean squared error on 64 recordings that were held out
      before training        4.7106
      after training         0.0089
      best without memory    0.1199
    wrote estimator.keras
    wrote expected.npy
    wrote gru.npz
    wrote inputs.npy
    wrote readout.npz
    wrote truth.npy

On the same machine it writes the same bytes again, but for the dates in ``estimator.keras``. On
another processor or with another version of Keras or JAX, rounding errors and so the trained
weights differ.
"""

import argparse
import os
import tempfile
from pathlib import Path

# Keras reads this when it is imported.
os.environ["KERAS_BACKEND"] = "jax"

import keras
import numpy as np
from sensed_spring import SENSORS, record

UNITS = 6
STEPS = 100  # ten seconds
TRAINING, HELD_OUT = 256, 64  # recordings
BATCH = 32


def main() -> None:
    arguments = _parser().parse_args()
    readings, truth = record(np.random.default_rng(arguments.seed), TRAINING + HELD_OUT, STEPS)
    held_out = readings[TRAINING:], truth[TRAINING:]

    keras.utils.set_random_seed(arguments.seed)
    model = _model(arguments.epochs)
    print(f"mean squared error on {HELD_OUT} recordings that were held out")
    print(f"  before training        {model.evaluate(*held_out, verbose=0):.4f}")
    model.fit(
        readings[:TRAINING],
        truth[:TRAINING],
        batch_size=BATCH,
        epochs=arguments.epochs,
        verbose=0,
    )
    print(f"  after training         {model.evaluate(*held_out, verbose=0):.4f}")
    memoryless = _memoryless(readings[:TRAINING], truth[:TRAINING], held_out[0])
    print(f"  best without memory    {np.mean((memoryless - held_out[1]) ** 2):.4f}")

    arguments.out.mkdir(parents=True, exist_ok=True)
    _write(arguments.out, model, readings=held_out[0][0], truth=held_out[1][0])


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Train the example GRU with Keras.")
    data = Path(__file__).parent / "data"
    parser.add_argument("--out", type=Path, default=data, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0, help="of the data and of Keras")
    parser.add_argument("--epochs", type=int, default=500)
    return parser


def _model(epochs: int) -> keras.Sequential:
    model = keras.Sequential(
        [
            keras.Input((None, len(SENSORS))),
            keras.layers.GRU(UNITS, return_sequences=True),
            keras.layers.Dense(2),
        ]
    )
    rate = keras.optimizers.schedules.CosineDecay(0.02, epochs * TRAINING // BATCH)
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="mse")
    return model


def _memoryless(readings: np.ndarray, truth: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """Return the predictions of the best affine map from the readings of one step."""

    def with_one(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x, np.ones_like(x[..., :1])], axis=-1)

    design = with_one(readings).reshape(-1, len(SENSORS) + 1)
    weights = np.linalg.lstsq(design, truth.reshape(-1, 2))[0]
    return with_one(unseen) @ weights


def _write(out: Path, model: keras.Sequential, readings: np.ndarray, truth: np.ndarray) -> None:
    """Write the weights, a held-out recording and the states for it into a folder."""
    layer, readout = model.layers
    kernel, recurrent_kernel, biases = layer.get_weights()
    readout_kernel, readout_bias = readout.get_weights()
    states = np.asarray(layer(readings[None]))[0]
    uncompiled = keras.Sequential.from_config(model.get_config())
    uncompiled.set_weights(model.get_weights())
    # Replaced atomically, so that the folder never has incomplete files.
    with tempfile.TemporaryDirectory(dir=out) as aside:
        uncompiled.save(Path(aside, "estimator.keras"))
        np.savez(Path(aside, "gru.npz"), wMatrix=kernel, uMatrix=recurrent_kernel, biases=biases)
        np.savez(Path(aside, "readout.npz"), kernel=readout_kernel, bias=readout_bias)
        np.save(Path(aside, "inputs.npy"), readings)
        np.save(Path(aside, "expected.npy"), states)
        np.save(Path(aside, "truth.npy"), truth)
        for file in sorted(Path(aside).iterdir()):
            os.replace(file, out / file.name)
            print(f"wrote {file.name}")


if __name__ == "__main__":
    main()

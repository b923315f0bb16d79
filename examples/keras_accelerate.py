"""A Keras classifier of sequences, before and after ``jaxgru.keras.accelerate``.

It tells from which of three oscillators a noisy recording of some length is. Accelerated in place,
the model gives the same probabilities, trains on, and is saved as a plain Keras model. Run it in
the root of the repository, with Keras on JAX; it prints the difference of the probabilities, and
the seconds of an epoch and the share of correct answers before and after.
"""

import os
import tempfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import keras
import numpy as np

from jaxgru.keras import accelerate

PERIODS = (9.0, 12.0, 16.0)


def record(rng: np.random.Generator, count: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Return recordings ``(count, steps, 1)``, 0 after their end, and the oscillators."""
    which = rng.integers(len(PERIODS), size=count)
    phase = rng.uniform(0, 2 * np.pi, (count, 1))
    angle = 2 * np.pi * np.arange(steps) / np.take(PERIODS, which)[:, None] + phase
    signal = np.sin(angle) + 0.3 * rng.normal(size=angle.shape)
    lengths = rng.integers(steps // 2, steps + 1, size=(count, 1))
    signal = np.where(np.arange(steps) < lengths, signal, 0)
    return signal[..., None].astype(np.float32), which.astype(np.int32)


def build(steps: int, units: int) -> keras.Model:
    """Return the classifier, compiled."""
    model = keras.Sequential(
        [
            keras.Input((steps, 1)),
            keras.layers.Masking(),
            keras.layers.GRU(units, return_sequences=True),
            keras.layers.GRU(units),
            keras.layers.Dense(len(PERIODS), activation="softmax"),
        ]
    )
    model.compile(
        keras.optimizers.Adam(5e-3), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    return model


def main(count: int = 1024, steps: int = 64, units: int = 32, epochs: int = 4) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(0)
    xs, which = record(rng, count, steps)
    held_out = record(rng, count // 4, steps)
    model = build(steps, units)

    def fit(what: str) -> None:
        model.fit(xs, which, epochs=1, verbose=0)  # in which Keras compiles
        start = time.perf_counter()
        model.fit(xs, which, epochs=epochs - 1, verbose=0)
        seconds = (time.perf_counter() - start) / (epochs - 1)
        _, correct = model.evaluate(*held_out, verbose=0)
        print(f"{what}  {seconds:6.2f} s an epoch, {correct:.2f} correct")

    fit("Keras ")
    before = model.predict(held_out[0], verbose=0)
    accelerate(model)
    after = model.predict(held_out[0], verbose=0)
    print(f"largest difference of the probabilities: {np.abs(after - before).max():.0e}")
    fit("jaxgru")
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model.keras")
        read = keras.saving.load_model(Path(folder) / "model.keras")
    kinds = {type(layer) for layer in read.layers}
    print(f"saved with plain layers of Keras: {keras.layers.GRU in kinds}")


if __name__ == "__main__":
    main()

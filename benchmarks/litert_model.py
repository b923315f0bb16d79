"""A GRU for LiteRT: ``python -m benchmarks.litert_model WEIGHTS.npz MODEL.tflite STEPS ROWS``.

TensorFlow converts a function of the inputs (T, B, I) and the state (B, H), its steps unrolled.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np


def main(weights: str, path: str, steps: str, rows: str) -> None:
    """Convert and write the model."""
    import tensorflow as tf

    with np.load(weights) as arrays:
        W, U, b, c = (tf.constant(array) for array in arrays.values())
    units = U.shape[0]

    @tf.function(
        input_signature=[
            tf.TensorSpec((int(steps), int(rows), W.shape[0]), name="xs"),
            tf.TensorSpec((int(rows), units), name="h0"),
        ]
    )
    def run(xs: Any, h0: Any) -> dict[str, Any]:
        h, ys = h0, []
        for x in tf.unstack(xs):
            xz, xr, xn = tf.split(x @ W + b, 3, axis=-1)
            hz, hr, hn = tf.split(h @ U + c, 3, axis=-1)
            z, r = tf.sigmoid(xz + hz), tf.sigmoid(xr + hr)
            h = z * h + (1 - z) * tf.tanh(xn + r * hn)
            ys.append(h)
        return {"ys": tf.stack(ys), "h": h}

    module = tf.Module()
    module.run = run  # so that the model keeps the names of inputs and outputs
    functions = [run.get_concrete_function()]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(functions, module)
    Path(path).write_bytes(converter.convert())


if __name__ == "__main__":
    main(*sys.argv[1:])

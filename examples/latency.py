"""The time for single steps, run in several ways; run it in the root of the repository.

A control loop needs the state after each step before the next inputs arrive. A step of a small
layer has little arithmetic, so most of the time is the call from Python into compiled code. This
script runs the same steps in several ways, in turn, and prints the time per step, with the state as
a NumPy array after every call. ``docs/latency.md`` has figures ::

    python examples/latency.py --synchronous
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import jaxgru

CHUNKS = (16, 256)
# A way to run: a function of the state and the inputs of a number of steps that returns all states
# and the last one.
Way = Callable[[Any, np.ndarray], tuple[np.ndarray, Any]]


def main(weights: str, rounds: int, steps: int) -> None:
    params = jaxgru.load(weights)
    xs = np.random.default_rng(0).standard_normal((steps, params.input_size), np.float32)
    expected, _ = jaxgru.gru(params, xs)
    prepared = ways(params)
    times: dict[str, list[float]] = {name: [] for name in prepared}
    for round_ in range(rounds + 1):
        for name, (size, way) in prepared.items():
            h, states = np.zeros(params.hidden_size, np.float32), []
            for first in range(0, steps, size):
                start = time.perf_counter()
                ys, h = way(h, xs[first : first + size])
                if round_ > 0:  # the first round compiles, and is checked
                    times[name].append(1e6 * (time.perf_counter() - start) / size)
                states.append(ys)
            np.testing.assert_allclose(np.concatenate(states), expected, rtol=0, atol=2e-6)
    sizes = f"{params.input_size} inputs, {params.hidden_size} units"
    print(f"{f'us a step, {sizes}':40} {'fast tenth':>10} {'median':>7}")
    for name, us in times.items():
        print(f"{name:40} {np.quantile(us, 0.1):10.2f} {np.median(us):7.2f}")


def ways(params: jaxgru.GRUParams) -> dict[str, tuple[int, Way]]:
    """Return each way by name, with the number of steps per call."""
    with_weights = jax.jit(jaxgru.gru_cell)
    cell = functools.partial(jaxgru.gru_cell, params)  # the weights are constants of the program
    h, x = jax.numpy.zeros(params.hidden_size), jax.numpy.zeros(params.input_size)
    found = {
        "gru_cell, not compiled": _by_step(cell),
        "jit(gru_cell), weights as an argument": _by_step(functools.partial(with_weights, params)),
        "jit(gru_cell).lower().compile()": _by_step(
            functools.partial(with_weights.lower(params, h, x).compile(), params)
        ),
        "weights closed over": _by_step(jax.jit(cell)),
        "weights closed over, lower().compile()": _by_step(jax.jit(cell).lower(h, x).compile()),
        "weights closed over, state donated": _by_step(jax.jit(cell, donate_argnums=0)),
    }
    prepared: dict[str, tuple[int, Way]] = {name: (1, way) for name, way in found.items()}
    run = jax.jit(functools.partial(jaxgru.gru, params))
    for size in CHUNKS:

        def chunk(h: Any, xs: np.ndarray) -> tuple[np.ndarray, Any]:
            ys, h = run(xs, h)
            return np.asarray(ys), h

        prepared[f"weights closed over, {size} steps a call"] = size, chunk
    try:
        prepared["ONNX Runtime"] = 1, _onnx(params)
    except ImportError as error:
        print(f"without ONNX Runtime: {error}")
    return prepared


def _by_step(cell: Callable[[Any, np.ndarray], Any]) -> Way:
    def way(h: Any, xs: np.ndarray) -> tuple[np.ndarray, Any]:
        h = cell(h, xs[0])
        return np.asarray(h)[None], h

    return way


def _onnx(params: jaxgru.GRUParams) -> Way:
    """Return a step by ONNX Runtime on one core; the state is an input of the model."""
    import onnx
    import onnxruntime

    model = jaxgru.to_onnx(params)
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    node.input.extend(["", "h0"])
    units = params.hidden_size
    h0 = onnx.helper.make_tensor_value_info("h0", onnx.TensorProto.FLOAT, (1, 1, units))
    model.graph.input.append(h0)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)

    def way(h: np.ndarray, xs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (h,) = session.run(["h"], {"x": xs[None], "h0": h.reshape(1, 1, units)})
        return h, h

    return way


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Time one step of a GRU, run in several ways.")
    parser.add_argument("--weights", default="examples/data/gru.npz")
    parser.add_argument("--rounds", type=int, default=40, help="the number of runs of each way")
    parser.add_argument("--steps", type=int, default=256, help="the number of steps in each run")
    parser.add_argument(
        "--synchronous",
        action="store_true",
        help="compute in the calling thread",
    )
    options = parser.parse_args()
    if options.synchronous:
        # Before the first computation, because JAX reads it when its CPU backend starts.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
    main(options.weights, options.rounds, options.steps)

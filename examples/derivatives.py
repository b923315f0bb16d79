"""Three derivatives of a trained layer and their use; run it in the root of the repository.

1. The gradient of a loss, and its norm for each array of weights.
2. The Jacobian of the last state by the inputs of all steps, which shows how far back the layer
   remembers. ``--plot reach.png`` draws it with Matplotlib.
3. Products with the Gauss-Newton matrix ``J' J``, where J is the Jacobian of all errors by all
   weights. The matrix is not formed: ``jax.linearize`` multiplies by J, ``jax.vjp`` by its
   transpose. Ten iterations of conjugate gradients with these products give a step that reduces
   the loss much more than the best step along the gradient.

It prints, up to the last digits ::

    mean square error 0.0088; length of its gradient:
      kernel            0.776
      recurrent_kernel  0.084
      bias              0.087
      recurrent_bias    0.063
    how much the last state moves with an input, by the steps that lie between:
       0 steps  0.1328
       5 steps  0.0368
      10 steps  0.0287
      20 steps  0.0070
      50 steps  0.0003
    best step along the gradient     0.0073
    one Gauss-Newton step            0.0032
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.sparse.linalg import cg
from sensed_spring import SENSORS

import jaxgru
from jaxgru.plot import check_plot

DATA = Path("examples/data")
DAMPING = 1.0  # keeps the step small enough for the linear approximation
ITERATIONS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description="Three derivatives of a trained layer.")
    parser.add_argument(
        "--plot", type=Path, help="where to draw how far the memory reaches, as .png"
    )
    options = parser.parse_args()
    if options.plot is not None:
        check_plot(options.plot)

    params = jaxgru.load(DATA / "gru.npz")
    inputs, truth = (np.load(DATA / f"{name}.npy") for name in ("inputs", "truth"))
    with np.load(DATA / "readout.npz") as readout:
        kernel, bias = readout["kernel"], readout["bias"]

    def errors(params):
        states, _ = jaxgru.gru(params, inputs)
        return states @ kernel + bias - truth

    def loss(params):
        return (errors(params) ** 2).mean()

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    print(f"mean square error {value:.4f}; length of its gradient:")
    for name in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        print(f"  {name:16}  {jnp.linalg.norm(getattr(gradient, name)):.3f}")

    reach = memory(params, inputs)
    print("how much the last state moves with an input, by the steps that lie between:")
    for steps in (0, 5, 10, 20, 50):
        print(f"  {steps:2} steps  {np.linalg.norm(reach[-1 - steps]):.4f}")
    if options.plot is not None:
        draw(reach, options.plot)

    lengths = 2.0 ** jnp.arange(-12, 3)
    along = jax.jit(jax.vmap(lambda length: loss(moved(params, gradient, -length))))(lengths)
    print(f"best step along the gradient     {along.min():.4f}")
    step = jax.jit(gauss_newton_step, static_argnums=0)(errors, params)
    print(f"one Gauss-Newton step            {loss(moved(params, step, 1.0)):.4f}")


def memory(params: jaxgru.GRUParams, inputs: jax.Array) -> np.ndarray:
    """Return the norm of the derivative of the last state by each input ``(T, I)``."""

    def last_state(inputs: jax.Array) -> jax.Array:
        return jaxgru.gru(params, inputs)[1]

    # With six outputs and 600 inputs, reverse mode needs six passes, forward mode 600.
    jacobian = jax.jit(jax.jacrev(last_state))(inputs)  # (H, T, I)
    return np.linalg.norm(jacobian, axis=0)


def gauss_newton_step(errors: Callable[[Any], jax.Array], params: Any) -> Any:
    """Return the step s that solves ``(J' J + damping) s = -J' e`` for the errors e."""
    value, times_jacobian = jax.linearize(errors, params)
    _, times_transpose = jax.vjp(errors, params)

    def times_matrix(step: Any) -> Any:
        (product,) = times_transpose(times_jacobian(step))
        return moved(product, step, DAMPING)

    (downhill,) = times_transpose(-value)
    step, _ = cg(times_matrix, downhill, maxiter=ITERATIONS)
    return step


def moved(params: Any, step: Any, length: float | jax.Array) -> Any:
    """Return the weights after a step of a given length in a direction."""
    return jax.tree.map(lambda leaf, change: leaf + length * change, params, step)


def draw(reach: np.ndarray, path: Path) -> None:
    """Plot the derivative of the last state by each input, over the number of steps between."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    back = np.arange(len(reach))[::-1]
    for name, line in zip(SENSORS, reach.T, strict=True):
        axes.semilogy(back, line, linewidth=1, label=name)
    axes.semilogy(back, np.linalg.norm(reach, axis=1), "k", linewidth=2, label="all inputs")
    axes.set_xlim(len(reach) - 1, 0)
    axes.set_xlabel("steps between the input and the last state")
    axes.set_ylabel("norm of the last state's Jacobian")
    axes.set_title("How far the memory of a trained GRU reaches")
    axes.grid(alpha=0.3)
    axes.legend(loc="upper left")
    aside = path.with_name(f".{path.name}")
    figure.savefig(aside)
    aside.replace(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

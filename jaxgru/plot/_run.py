"""A plot of a run: update gate, reset gate, candidate and state of each layer over time."""

import os
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._cell import gru_gates
from jaxgru._net import Net, State
from jaxgru._sequence import run_layers
from jaxgru.plot._figure import (
    about_zero,
    check_plot,
    heat_map,
    new_figure,
    save_figure,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_run(
    net: Net,
    xs: jax.Array,
    path: str | os.PathLike[str],
    h0: State = None,
    *,
    reverse: bool = False,
    first_step: int = 0,
) -> None:
    """Plot the gates, the candidate and the state at every step of one sequence.

    The layers of a net are side by side. Up to eight units are lines, more are heat maps, in which
    NaN and Inf are green.

    Args:
        net: a layer, a ``Bidirectional``, a ``Backward`` or a stack, of I inputs.
        xs: the inputs, ``(T, I)``, at least one step.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf.
        h0: the state before the first step, in the structure of the net; zeros if None.
        reverse: run from the last step to the first.
        first_step: the number of the first step on the time axis.

    Raises:
        ValueError: a shape does not fit the weights, there is no step, or Matplotlib has no such
            format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> import jax, jax.numpy as jnp, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.png")
    >>> plot_run(jaxgru.init(jax.random.key(0), 3, 5), jnp.ones((7, 3)), path)
    >>> path.stat().st_size > 0
    True
    """
    check_plot(path)
    if jnp.ndim(xs) != 2 or len(xs) == 0:
        raise ValueError(f"xs has shape {jnp.shape(xs)}: expected (T, I), T at least 1")
    _, _, runs = run_layers(net, xs, h0, reverse=reverse, precision="highest")
    steps = np.arange(first_step, first_step + len(xs))
    one = len(runs) == 1
    figure = new_figure(11 if one else 7 * len(runs), 9)
    direction = ", computed from last to first" if reverse else ""
    what = f"{runs[0].params.hidden_size} units" if one else f"{len(runs)} layers"
    figure.suptitle(f"GRU of {what}, steps {steps[0]} to {steps[-1]}{direction}")
    columns = figure.subplots(len(_PANELS), len(runs), sharex=True, squeeze=False).T
    for run, panels in zip(runs, columns, strict=True):
        units = run.params.hidden_size
        # The gates of all steps are one step of a batch of states.
        gates = gru_gates(run.params, run.before, run.xs, precision="highest")
        draw = _draw_lines if units <= _MOST_LINES else _draw_map
        for ax, values, (symbol, title) in zip(panels, gates, _PANELS.items(), strict=True):
            draw(ax, steps, np.asarray(values, np.float64), symbol)
            ax.set_title(title, fontsize="medium", loc="left")
        if not one:
            title = f"{run.place}, {units} units\n{panels[0].get_title(loc='left')}"
            panels[0].set_title(title, fontsize="medium", loc="left")
        panels[-1].set_xlabel("time step")
        whole_numbers(panels[-1].xaxis, 10)
        if units <= _MOST_LINES:
            panels[-1].legend(
                loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=8 if one else 4
            )
    save_figure(figure, path)


_MOST_LINES = 8
_MOST_DOTS = 60
# In the order of jaxgru.Gates.
_PANELS = {
    "z": "Update gate z: 1 keeps the state, 0 replaces it by the candidate",
    "r": "Reset gate r: 0 hides the state from the candidate",
    "n": "Candidate n",
    "h": "State h",
}


def _draw_lines(ax: "Axes", steps: np.ndarray, values: np.ndarray, symbol: str) -> None:
    marker = "." if len(steps) <= _MOST_DOTS else None  # a line of one step is a dot
    for unit, line in enumerate(values.T):
        ax.plot(steps, line, marker=marker, linewidth=1.2, label=f"unit {unit}")
    ax.set_ylabel(symbol)
    ax.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    ax.grid(alpha=0.3)
    if symbol in "zr" and _within_0_and_1(values):
        ax.set_ylim(-0.03, 1.03)


def _draw_map(ax: "Axes", steps: np.ndarray, values: np.ndarray, symbol: str) -> None:
    bounded = symbol in "zr" and _within_0_and_1(values)
    image = heat_map(
        ax,
        values.T,
        (0.0, 1.0) if bounded else about_zero(values),
        interpolation_stage="data",  # average numbers instead of colors
        extent=(steps[0] - 0.5, steps[-1] + 0.5, values.shape[1] - 0.5, -0.5),
    )
    ax.set_ylabel("unit")
    ax.figure.colorbar(image, ax=ax, label=symbol, pad=0.01)


def _within_0_and_1(values: np.ndarray) -> bool:
    return not np.any((values < 0) | (values > 1))  # NaN is neither

"""A plot of a run: update gate, reset gate, candidate and state of each layer over time."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

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
    from matplotlib.figure import Figure


def plot_run(
    net: Net,
    xs: jax.Array,
    path: str | os.PathLike[str] | None = None,
    h0: State = None,
    *,
    reverse: bool = False,
    first_step: int = 0,
    time: ArrayLike | None = None,
    inputs: bool = False,
    ax: "Sequence[Axes] | None" = None,
    figsize: tuple[float, float] | None = None,
    dpi: float = 150,
) -> "Figure":
    """Plot the gates, the candidate and the state at every step of one sequence.

    The layers of a net are side by side. Up to eight units are drawn as lines, more as heat maps,
    in which NaN and Inf are green. More than 32 units are sorted by the standard deviation of their
    state over time, the most active first.

    Args:
        net: a layer, a ``Bidirectional``, a ``Backward`` or a stack, of I inputs.
        xs: the inputs, ``(T, I)``, at least one step.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf. None: none.
        h0: the state before the first step, in the structure of the net; zeros if None.
        reverse: run from the last step to the first.
        first_step: the number of the first step on the time axis.
        time: the times of the steps in seconds, ``(T,)``, equally spaced, or the seconds per step,
            a number. None: the axis has step numbers.
        inputs: whether to add a panel with the inputs of each layer above the gates.
        ax: the Matplotlib axes to draw into, one for each panel, for a net of one layer. Then there
            is no title. None: new axes.
        figsize: the width and height of a new figure in inches.
        dpi: the dots per inch of a new figure.

    Returns:
        The Matplotlib ``Figure``.

    Raises:
        ValueError: a shape does not fit the weights, there is no step, time does not fit, or
            Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> net = jaxgru.init(jax.random.key(0), 3, 5)
    >>> figure = plot_run(net, jnp.ones((7, 3)), time=0.1, inputs=True, figsize=(3.4, 5))
    >>> len(figure.axes), figure.axes[-1].get_xlabel()
    (5, 'time (s)')
    """
    if path is not None:
        check_plot(path)
    if jnp.ndim(xs) != 2 or len(xs) == 0:
        raise ValueError(f"xs has shape {jnp.shape(xs)}: expected (T, I), T at least 1")
    steps = _times(time, first_step, len(xs))
    _, _, runs = run_layers(net, xs, h0, reverse=reverse, precision="highest")
    panels_of = {**({"x": "Inputs x"} if inputs else {}), **_PANELS}
    one = len(runs) == 1
    if ax is None:
        width, height = figsize or (7.0 if one else 5.0 * len(runs), 1.7 * len(panels_of))
        figure: Any = new_figure(width, height, dpi)
        direction = ", last to first" if reverse else ""
        what = f"{runs[0].params.hidden_size} units" if one else f"{len(runs)} layers"
        shown = f"steps {first_step} to {first_step + len(xs) - 1}"
        figure.suptitle(f"GRU of {what}, {shown}{direction}", fontsize="medium")
        columns = figure.subplots(len(panels_of), len(runs), sharex=True, squeeze=False).T
    else:
        if not one or len(ax) != len(panels_of):
            raise ValueError(
                f"ax has {len(ax)} axes for {len(runs)} layers: expected {len(panels_of)} for one"
            )
        columns, figure = np.asarray([list(ax)], object), ax[0].get_figure(root=True)
    for run, panels in zip(runs, columns, strict=True):
        units = run.params.hidden_size
        # The gates of all steps are those of one step with time as a batch axis.
        gates = gru_gates(run.params, run.before, run.xs, precision="highest")
        arrays = [np.asarray(values, np.float64) for values in gates]
        order = _by_activity(arrays[-1])
        if order is not None:
            arrays = [values[:, order] for values in arrays]
        if inputs:
            arrays.insert(0, np.asarray(run.xs, np.float64))
        for panel, values, (symbol, title) in zip(panels, arrays, panels_of.items(), strict=True):
            what = "input" if symbol == "x" else "unit" if order is None else "unit, by activity"
            draw = _draw_lines if values.shape[1] <= _MOST_LINES else _draw_map
            draw(panel, steps, values, symbol, what)
            panel.set_title(title, fontsize="small", loc="left")
            panel.tick_params(labelsize="small")
        if not one:
            title = f"{run.place}, {units} units\n{panels[0].get_title(loc='left')}"
            panels[0].set_title(title, fontsize="small", loc="left")
        panels[-1].set_xlabel("time step" if time is None else "time (s)")
        if time is None:
            whole_numbers(panels[-1].xaxis, 6)
        if units <= _MOST_LINES and (ax is not None or not one):
            panels[-1].legend(ncols=2, fontsize="x-small")
    if ax is None and one and runs[0].params.hidden_size <= _MOST_LINES:
        lines = columns[0][-1].lines
        figure.legend(handles=lines, loc="outside lower center", ncols=3, fontsize="small")
    if path is not None:
        save_figure(figure, path)
    return figure  # type: ignore[no-any-return]


_MOST_LINES = 8
_MOST_UNSORTED = 32
_MOST_DOTS = 60
# In the order of jaxgru.Gates.
_PANELS = {
    "z": "Update gate z: 1 keeps the state",
    "r": "Reset gate r: 0 hides the state",
    "n": "Candidate n",
    "h": "State h",
}


def _times(time: "ArrayLike | None", first_step: int, count: int) -> np.ndarray:
    """Return the places of the steps on the time axis."""
    steps = np.arange(first_step, first_step + count)
    if time is None:
        return steps
    seconds = np.asarray(time, np.float64)
    if seconds.ndim == 0 and seconds > 0:
        return seconds * steps
    widths = np.diff(seconds) if seconds.ndim == 1 else np.zeros(1)
    if (
        seconds.shape != (count,)
        or not np.allclose(widths, widths[:1], rtol=0.01)
        or any(widths <= 0)
    ):
        raise ValueError(
            f"time has shape {seconds.shape}: expected the seconds per step, or the times of the "
            f"{count} steps, equally spaced"
        )
    return seconds


def _by_activity(states: np.ndarray) -> np.ndarray | None:
    """Return the order of units by their activity; None if there are few."""
    if states.shape[1] <= _MOST_UNSORTED:
        return None
    return np.argsort(-np.nan_to_num(states.std(0)), kind="stable")


def _half_step(steps: np.ndarray) -> float:
    return float(steps[1] - steps[0]) / 2 if len(steps) > 1 else 0.5


def _draw_lines(ax: "Axes", steps: np.ndarray, values: np.ndarray, symbol: str, what: str) -> None:
    marker = "." if len(steps) <= _MOST_DOTS else None  # a dot for a single step
    for unit, line in enumerate(values.T):
        ax.plot(steps, line, marker=marker, linewidth=1, label=f"{what} {unit}")
    ax.set_ylabel(symbol)
    half = _half_step(steps)
    ax.set_xlim(steps[0] - half, steps[-1] + half)
    ax.grid(alpha=0.3)
    if symbol in "zr" and _within_0_and_1(values):
        ax.set_ylim(-0.03, 1.03)


def _draw_map(ax: "Axes", steps: np.ndarray, values: np.ndarray, symbol: str, what: str) -> None:
    bounded = symbol in "zr" and _within_0_and_1(values)
    half = _half_step(steps)
    image = heat_map(
        ax,
        values.T,
        (0.0, 1.0) if bounded else about_zero(values),
        interpolation_stage="data",  # average values instead of colors
        extent=(steps[0] - half, steps[-1] + half, values.shape[1] - 0.5, -0.5),
    )
    ax.set_ylabel(what, fontsize="small")
    bar = ax.figure.colorbar(image, ax=ax, label=symbol, pad=0.01)
    bar.ax.tick_params(labelsize="small")


def _within_0_and_1(values: np.ndarray) -> bool:
    return not np.any((values < 0) | (values > 1))  # NaN is neither

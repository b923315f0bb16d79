"""A picture of a run: update gate, reset gate, candidate and state over time."""

import errno
import os
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.atomic import replacing
from jaxgru.cell import gru_gates
from jaxgru.optional import need
from jaxgru.params import GRUParams
from jaxgru.recurrence.step import Gates
from jaxgru.sequence import gru


def plot_run(
    params: GRUParams,
    xs: jax.Array,
    path: str | os.PathLike[str],
    h0: jax.Array | None = None,
    *,
    reverse: bool = False,
    first_step: int = 0,
) -> None:
    """Draw the gates, the candidate and the state at every step of one sequence.

    Up to eight units are drawn as lines, more as heat maps. In a heat map NaN and Inf stand out
    in green.

    Args:
        params: the weights, I inputs and H units.
        xs: the inputs, ``(T, I)``, at least one step.
        path: the picture to write; its name's ending says the format, as .png, .svg or .pdf.
        h0: the state before the first step, ``(H,)``; zeros if None.
        reverse: go from the last step to the first.
        first_step: the number of the step at index 0 on the time axis.

    Raises:
        ValueError: a shape does not fit the weights, there is no step, or Matplotlib has no such
            format.
        ImportError: Matplotlib is not installed.
        OSError: the picture cannot be written.

    >>> import jax, jax.numpy as jnp, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "run.png")
    >>> plot_run(jaxgru.init(jax.random.key(0), 3, 5), jnp.ones((7, 3)), path)
    >>> path.stat().st_size > 0
    True
    """
    check_plot(path)
    if jnp.ndim(xs) != 2 or len(xs) == 0:
        raise ValueError(f"xs has shape {jnp.shape(xs)}: expected (T, I), T at least 1")
    # Figure and its canvas alone: pyplot would choose a window system and keep the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    gates = _gates(params, xs, h0, reverse)
    time, units = gates.h.shape
    figure = Figure(figsize=(11, 9), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    steps = np.arange(first_step, first_step + time)
    direction = ", computed from last to first" if reverse else ""
    figure.suptitle(f"GRU of {units} units, steps {steps[0]} to {steps[-1]}{direction}")
    panels = figure.subplots(4, 1, sharex=True)
    draw = _draw_lines if units <= _MOST_LINES else _draw_map
    for ax, (title, symbol, values) in zip(panels, _panels(gates), strict=True):
        draw(ax, steps, np.asarray(values, np.float64), symbol)
        ax.set_title(title, fontsize="medium", loc="left")
    panels[-1].set_xlabel("time step")
    panels[-1].xaxis.set_major_locator(MaxNLocator(10, integer=True))
    if units <= _MOST_LINES:
        figure.legend(*panels[-1].get_legend_handles_labels(), loc="outside right upper")
    with replacing(path) as temporary:
        figure.savefig(temporary)


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise the errors of ``plot_run`` that a path alone can cause: to know before the work."""
    need("matplotlib", "plot", "drawing")
    from matplotlib.backend_bases import FigureCanvasBase

    ending = Path(path).suffix
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if ending.lower().removeprefix(".") not in formats:
        raise ValueError(
            f"{os.fspath(path)}: its ending is {ending!r}, expected a picture: {', '.join(formats)}"
        )
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", os.fspath(path))


_MOST_LINES = 8
_MOST_DOTS = 60


def _gates(params: GRUParams, xs: jax.Array, h0: jax.Array | None, reverse: bool) -> Gates:
    start = jnp.zeros(params.hidden_size, xs.dtype) if h0 is None else h0
    ys, _ = gru(params, xs, start, reverse=reverse, precision="highest")
    first = jnp.asarray(start, ys.dtype)[None]
    before = jnp.concatenate([ys[1:], first] if reverse else [first, ys[:-1]])
    # Once the states are known, the gates of all steps are one step of a batch.
    return gru_gates(params, before, xs, precision="highest")


def _panels(gates: Gates) -> list[tuple[str, str, Any]]:
    return [
        ("Update gate z: 1 keeps the state, 0 replaces it by the candidate", "z", gates.update),
        ("Reset gate r: 0 hides the state from the candidate", "r", gates.reset),
        ("Candidate n", "n", gates.candidate),
        ("State h", "h", gates.h),
    ]


def _draw_lines(ax: Any, steps: np.ndarray, values: np.ndarray, symbol: str) -> None:
    marker = "." if len(steps) <= _MOST_DOTS else None  # a line of one step is a dot
    for unit, line in enumerate(values.T):
        ax.plot(steps, line, marker=marker, linewidth=1.2, label=f"unit {unit}")
    ax.set_ylabel(symbol)
    ax.set_xlim(steps[0] - 0.5, steps[-1] + 0.5)
    ax.grid(alpha=0.3)
    if symbol in "zr" and _within_0_and_1(values):
        ax.set_ylim(-0.03, 1.03)


def _draw_map(ax: Any, steps: np.ndarray, values: np.ndarray, symbol: str) -> None:
    from matplotlib import colormaps

    if symbol in "zr" and _within_0_and_1(values):
        low, high, colours = 0.0, 1.0, "viridis"
    else:
        finite = np.isfinite(values)
        high = float(np.max(np.abs(values), where=finite, initial=0)) or 1.0
        low, colours = -high, "RdBu_r"
    image = ax.imshow(
        np.ma.masked_invalid(values.T),
        cmap=colormaps[colours].with_extremes(bad="limegreen"),
        vmin=low,
        vmax=high,
        aspect="auto",
        interpolation_stage="data",  # a pixel is the mean of its numbers, not of their colours
        extent=(steps[0] - 0.5, steps[-1] + 0.5, values.shape[1] - 0.5, -0.5),
    )
    ax.set_ylabel("unit")
    ax.figure.colorbar(image, ax=ax, label=symbol, pad=0.01)


def _within_0_and_1(values: np.ndarray) -> bool:
    return not np.any((values < 0) | (values > 1))  # NaN is neither

"""A picture of a layer's weights: each gate's block of each array as a heat map."""

import os
from typing import Any, NamedTuple

import numpy as np

from jaxgru.atomic import replacing
from jaxgru.optional import need
from jaxgru.params import GATES, GRUParams, check_params


def plot_weights(params: GRUParams, path: str | os.PathLike[str]) -> None:
    """Draw the kernel, the recurrent kernel and the biases, one heat map for each gate.

    The nine blocks share one colour scale, symmetric about zero, so that colours compare. A bias
    block has a row for each bias there is. NaN and Inf stand out in green.

    Args:
        params: the weights, I inputs and H units.
        path: the picture to write; its name's ending says the format, as .png, .svg or .pdf;
            without one it is a PNG.

    Raises:
        ValueError: the arrays of params do not fit together, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.png")
    >>> plot_weights(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> path.stat().st_size > 0
    True
    """
    check_params(params)
    need("matplotlib", "plot", "drawing")
    # Figure and its canvas alone: pyplot would choose a window system and keep the figure.
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    rows = _rows(params)
    limit = _limit(rows)
    heights = [_height(row) for row in rows]
    figure = Figure(figsize=(10, 1.2 + sum(heights)), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(f"GRU weights: {params.input_size} inputs, {params.hidden_size} units")
    axes = figure.subplots(len(rows), 3, squeeze=False, height_ratios=heights)
    colours = colormaps["RdBu_r"].with_extremes(bad="limegreen")
    for row, line in zip(rows, axes, strict=True):
        for gate, block, ax in zip(GATES, row.blocks, line, strict=True):
            image = ax.imshow(
                np.ma.masked_invalid(block),
                cmap=colours,
                vmin=-limit,
                vmax=limit,
                aspect="auto",
                interpolation="nearest",
            )
            ax.set_title(f"{gate}: {row.title}", fontsize="medium")
            ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
            if row.labels is None:
                ax.yaxis.set_major_locator(MaxNLocator(8, integer=True))
            else:
                ax.set_yticks(range(len(row.labels)), row.labels)
        line[0].set_ylabel(row.side)
    for ax in axes[-1]:
        ax.set_xlabel("unit")
    figure.colorbar(image, ax=axes, label="weight", aspect=40, pad=0.02)
    with replacing(path) as temporary:
        # Without a format, Matplotlib would add an ending to a name that has none.
        figure.savefig(temporary, format=temporary.suffix[1:] or "png")


class _Row(NamedTuple):
    """The three blocks of one array, or of both biases, one below the other."""

    title: str
    side: str  # what a block's rows stand for
    labels: tuple[str, ...] | None  # names of the rows; None to count them
    blocks: list[Any]


def _rows(params: GRUParams) -> list[_Row]:
    rows = [
        _Row("kernel W", "input", None, _blocks(params.kernel)),
        _Row("recurrent kernel U", "unit before", None, _blocks(params.recurrent_kernel)),
    ]
    biases = {"b": params.bias, "c": params.recurrent_bias}
    there = {label: value for label, value in biases.items() if value is not None}
    if there:
        stacked = np.stack([np.asarray(value, np.float64) for value in there.values()])
        title = "bias b" if len(there) == 1 else "biases b and c"
        rows.append(_Row(title, "", tuple(there), _blocks(stacked)))
    return rows


def _blocks(array: Any) -> list[Any]:
    return np.split(np.asarray(array, np.float64), 3, axis=-1)


def _limit(rows: list[_Row]) -> float:
    """Return the largest finite magnitude, for the ends of the colour scale."""
    magnitudes = np.abs(np.concatenate([block.ravel() for row in rows for block in row.blocks]))
    return float(np.max(magnitudes, where=np.isfinite(magnitudes), initial=0)) or 1.0


def _height(row: _Row) -> float:
    """Return a row's height in inches: cells about square, within what a page bears."""
    count, units = row.blocks[0].shape
    return float(np.clip(2.6 * count / units, 0.7, 4.0))

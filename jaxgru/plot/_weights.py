"""A plot of the weights of a net: a heat map for each block of each array."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from jaxgru._net import Net, check_net, unroll
from jaxgru._params import GATES, GRUParams
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
    from matplotlib.figure import FigureBase


def plot_weights(net: Net, path: str | os.PathLike[str]) -> None:
    """Plot the kernel, the recurrent kernel and the biases of each layer, a heat map for each gate.

    The three blocks of an array share a color scale, symmetric about zero. The biases are one
    array, with a row for each bias. NaN and Inf are green.

    Args:
        net: a layer, or a net of several, which are drawn side by side.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf.

    Raises:
        ValueError: the arrays of net do not fit together, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> import jax, jaxgru, pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "weights.png")
    >>> plot_weights(jaxgru.init(jax.random.key(0), 3, 5), path)
    >>> path.stat().st_size > 0
    True
    """
    check_net(net)
    check_plot(path)
    drawn = unroll(net)
    tables = [_rows(layer.params) for layer in drawn]
    heights = [[_height(row) for row in rows] for rows in tables]
    figure = new_figure(10 * len(drawn), 1 + max(map(sum, heights)) + 0.4 * 3)
    parts = figure.subfigures(1, len(drawn), squeeze=False)[0]
    for part, layer, rows, ratios in zip(parts, drawn, tables, heights, strict=True):
        params, where = layer.params, "" if len(drawn) == 1 else f"{layer.place}, "
        part.suptitle(f"GRU weights: {where}{params.input_size} inputs, {params.hidden_size} units")
        axes = part.subplots(len(rows), 3, squeeze=False, height_ratios=ratios)
        for row, line in zip(rows, axes, strict=True):
            _draw_row(part, line, row)
        for ax in axes[-1]:
            ax.set_xlabel("unit")
    save_figure(figure, path)


class _Row(NamedTuple):
    """The three blocks of one array, or of both biases stacked."""

    title: str
    side: str  # the meaning of a block's rows
    labels: tuple[str, ...] | None  # names of the rows; None to count them
    blocks: list[np.ndarray]


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
        rows.append(_Row(title, "bias", tuple(there), _blocks(stacked)))
    return rows


def _blocks(array: "jax.Array | np.ndarray") -> list[np.ndarray]:
    return np.split(np.asarray(array, np.float64), 3, axis=-1)


def _height(row: _Row) -> float:
    """Return a row's height in inches: cells about square, within limits."""
    count, units = row.blocks[0].shape
    return float(np.clip(2.6 * count / units, 0.7, 4.0))


def _draw_row(figure: "FigureBase", line: "Sequence[Axes]", row: _Row) -> None:
    limits = about_zero(np.stack(row.blocks))
    for gate, block, ax in zip(GATES, row.blocks, line, strict=True):
        image = heat_map(ax, block, limits, interpolation="nearest")
        ax.set_title(f"{gate}: {row.title}", fontsize="medium")
        whole_numbers(ax.xaxis, 5)
        if row.labels is None:
            whole_numbers(ax.yaxis, min(6, int(4 * _height(row))))
        else:
            ax.set_yticks(range(len(row.labels)), row.labels)
    line[0].set_ylabel(row.side)
    figure.colorbar(image, ax=list(line), label="weight", aspect=15, pad=0.02)

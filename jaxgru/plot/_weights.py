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
    from matplotlib.figure import Figure


def plot_weights(
    net: Net,
    path: str | os.PathLike[str] | None = None,
    *,
    ax: "Sequence[Axes] | None" = None,
    figsize: tuple[float, float] | None = None,
    dpi: float = 150,
) -> "Figure":
    """Plot the kernel, the recurrent kernel and the biases of each layer, for each gate.

    The three blocks of an array share a color scale, symmetric about zero. The biases are one
    array, with a row for each bias. NaN and Inf are green. For more than 64 units, histograms of
    the blocks replace the heat maps.

    Args:
        net: a layer, or a net of several layers, which are drawn side by side.
        path: the plot to write; its suffix is the format: .png, .svg or .pdf. None: none.
        ax: the Matplotlib axes to draw into, three for each array of one layer, in rows of the
            kernel, the recurrent kernel and the biases. None: new axes.
        figsize: the width and height of a new figure in inches.
        dpi: the dots per inch of a new figure.

    Returns:
        The Matplotlib ``Figure``.

    Raises:
        ValueError: the arrays of net do not fit together, or Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the plot cannot be written.

    >>> import jax, jaxgru
    >>> figure = plot_weights(jaxgru.init(jax.random.key(0), 3, 5), figsize=(3.4, 4))
    >>> figure.get_size_inches().tolist()
    [3.4, 4.0]
    """
    check_net(net)
    if path is not None:
        check_plot(path)
    drawn = unroll(net)
    tables = [_rows(layer.params) for layer in drawn]
    if ax is not None:
        figure = _draw_into(np.ravel(np.asarray(ax, object)), tables)
    else:
        heights = [[_height(row) for row in rows] for rows in tables]
        tall = 1 + max(map(sum, heights)) + 0.4 * 3
        width, height = (7 * len(drawn), tall) if figsize is None else figsize
        figure = new_figure(width, height, dpi)
        parts = figure.subfigures(1, len(drawn), squeeze=False)[0]
        for part, layer, rows, ratios in zip(parts, drawn, tables, heights, strict=True):
            params, where = layer.params, "" if len(drawn) == 1 else f"{layer.place}, "
            title = f"GRU weights: {where}{params.input_size} inputs, {params.hidden_size} units"
            biases = ", biases b and c" if len(rows) > 2 else ""
            title += f"\nkernel W, recurrent kernel U{biases}"
            part.suptitle(title, fontsize="medium")
            _draw(part.subplots(len(rows), 3, squeeze=False, height_ratios=ratios), rows)
    if path is not None:
        save_figure(figure, path)
    return figure


_MOST_MAPPED = 64


class _Row(NamedTuple):
    """The three blocks of one array, or of both biases stacked."""

    title: str
    side: str  # the meaning of a block's rows
    labels: tuple[str, ...] | None  # names of the rows; None to count them
    blocks: list[np.ndarray]


def _draw_into(ax: np.ndarray, tables: "list[list[_Row]]") -> "Figure":
    """Draw one layer into the given axes, and return their figure."""
    count = 3 * len(tables[0])
    if len(tables) > 1 or len(ax) != count:
        raise ValueError(
            f"ax has {len(ax)} axes for {len(tables)} layers: expected {count} for one"
        )
    _draw(ax.reshape(-1, 3), tables[0])
    figure: Figure = ax[0].get_figure(root=True)
    return figure


def _draw(axes: np.ndarray, rows: "list[_Row]") -> None:
    is_large = rows[0].blocks[0].shape[-1] > _MOST_MAPPED
    for row, line in zip(rows, axes, strict=True):
        (_draw_distributions if is_large else _draw_maps)(line, row)
    for ax in axes[-1]:
        ax.set_xlabel("weight" if is_large else "unit", fontsize="small")


def _rows(params: GRUParams) -> list[_Row]:
    rows = [
        _Row("W", "input", None, _blocks(params.kernel)),
        _Row("U", "unit before", None, _blocks(params.recurrent_kernel)),
    ]
    biases = {"b": params.bias, "c": params.recurrent_bias}
    there = {label: value for label, value in biases.items() if value is not None}
    if there:
        stacked = np.stack([np.asarray(value, np.float64) for value in there.values()])
        title = ", ".join(there)
        rows.append(_Row(title, "bias", tuple(there), _blocks(stacked)))
    return rows


def _blocks(array: "jax.Array | np.ndarray") -> list[np.ndarray]:
    return np.split(np.asarray(array, np.float64), 3, axis=-1)


def _height(row: _Row) -> float:
    """Return the height of a row in inches: about square cells, within limits."""
    count, units = row.blocks[0].shape
    if units > _MOST_MAPPED:
        return 1.3
    return float(np.clip(2.6 * count / units, 0.7, 4.0))


def _draw_maps(line: "Sequence[Axes]", row: _Row) -> None:
    limits = about_zero(np.stack(row.blocks))
    for gate, block, ax in zip(GATES, row.blocks, line, strict=True):
        image = heat_map(ax, block, limits, interpolation="nearest")
        ax.set_title(f"{gate} {row.title}", fontsize="small")
        ax.tick_params(labelsize="small")
        whole_numbers(ax.xaxis, 4)
        if row.labels is None:
            whole_numbers(ax.yaxis, min(6, int(4 * _height(row))))
        else:
            ax.set_yticks(range(len(row.labels)), row.labels)
    line[0].set_ylabel(row.side, fontsize="small")
    bar = line[0].figure.colorbar(image, ax=list(line), label="weight", aspect=15, pad=0.02)
    bar.ax.tick_params(labelsize="small")


def _draw_distributions(line: "Sequence[Axes]", row: _Row) -> None:
    """Draw a histogram of each block, with a line for each of several biases."""
    low, high = about_zero(np.stack(row.blocks))
    for gate, block, ax in zip(GATES, row.blocks, line, strict=True):
        parts = [block] if row.labels is None else list(block)
        for part, label in zip(parts, row.labels or [None], strict=True):
            finite = part[np.isfinite(part)]
            ax.hist(finite, bins=60, range=(low, high), histtype="step", label=label)
            if finite.size < part.size:
                text = f"{part.size - finite.size} NaN or Inf"
                ax.text(0.02, 0.85, text, transform=ax.transAxes, color="green", fontsize="small")
        if len(parts) > 1:
            ax.legend(fontsize="small", loc="upper right")
        ax.set_title(f"{gate} {row.title}", fontsize="small")
        ax.tick_params(labelsize="small")
        tick = float(f"{0.8 * high:.1g}")
        ticks = [-tick, 0.0, tick]
        ax.set_xticks(ticks, [f"{at:g}" for at in ticks], fontsize="x-small")
        ax.set_yticks([])
    line[0].set_ylabel("count", fontsize="small")

"""Common parts of plots: a figure without a GUI, its file, and heat maps."""

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxgru._atomic import replacing
from jaxgru._optional import need

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


def check_plot(path: str | os.PathLike[str]) -> None:
    """Raise any error about the path, before a plot is drawn.

    Raises:
        ValueError: Matplotlib has no such format.
        ImportError: Matplotlib is not installed.
        OSError: the folder is missing.
    """
    need("matplotlib", "plot", "drawing")
    from matplotlib.backend_bases import FigureCanvasBase

    suffix = Path(path).suffix
    formats = sorted(FigureCanvasBase.get_supported_filetypes())
    if suffix.lower().removeprefix(".") not in formats:
        raise ValueError(
            f"{os.fspath(path)}: its suffix is {suffix!r}: expected that of an image: "
            f"{', '.join(formats)}"
        )
    if not Path(path).absolute().parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "its folder is missing", os.fspath(path))


def new_figure(width: float, height: float, dpi: float = 150) -> "Figure":
    """Return an empty Matplotlib figure; sizes are in inches."""
    need("matplotlib", "plot", "drawing")
    # Without pyplot, which would choose a GUI backend and keep a reference to the figure.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def one_axes(
    ax: "Axes | None", figsize: tuple[float, float], dpi: float
) -> tuple["Figure", "Axes"]:
    """Return axes and their figure: those given, or new ones."""
    if ax is None:
        figure = new_figure(*figsize, dpi)
        return figure, figure.subplots()
    return ax.figure, ax  # type: ignore[return-value]


def save_figure(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a figure; the suffix of the path is the format. In .pdf and .svg, text is text."""
    from matplotlib import rc_context

    # TrueType, which journals require, instead of Type 3 or outlines.
    text: Any = {"pdf.fonttype": 42, "ps.fonttype": 42, "svg.fonttype": "none"}
    with replacing(path) as temporary, rc_context(text):
        figure.savefig(temporary)


def heat_map(
    ax: "Axes", values: np.ndarray, limits: tuple[float, float], **options: Any
) -> "AxesImage":
    """Draw an array with its first axis downwards, and return the image.

    If the limits have one sign, the color map is sequential, otherwise diverging with white at
    zero. NaN and Inf are green.
    """
    from matplotlib import colormaps

    colors = colormaps["viridis" if limits[0] >= 0 else "RdBu_r"]
    return ax.imshow(
        np.ma.masked_invalid(values),
        cmap=colors.with_extremes(bad="limegreen"),
        vmin=limits[0],
        vmax=limits[1],
        aspect="auto",
        **options,
    )


def about_zero(values: np.ndarray) -> tuple[float, float]:
    """Return symmetric limits of a color scale that include all finite numbers of an array."""
    largest = float(np.max(np.abs(values), where=np.isfinite(values), initial=0)) or 1.0
    return -largest, largest


def whole_numbers(axis: "Axis", most: int) -> None:
    """Put ticks at whole numbers only, with at most ``most`` intervals."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(most, integer=True))

"""Plots of the weights of a net and of a run."""

from jaxgru.plot._figure import check_plot
from jaxgru.plot._run import plot_run
from jaxgru.plot._weights import plot_weights

__all__ = ["check_plot", "plot_run", "plot_weights"]

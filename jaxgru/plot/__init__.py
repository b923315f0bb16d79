"""Plots of the weights of a net and of a run."""

from jaxgru.plot.figure import check_plot
from jaxgru.plot.run import plot_run
from jaxgru.plot.weights import plot_weights

__all__ = ["check_plot", "plot_run", "plot_weights"]

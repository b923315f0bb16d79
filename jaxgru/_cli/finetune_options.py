"""The options for data with targets, of ``jaxgru finetune`` and ``jaxgru evaluate``."""

import argparse

from jaxgru._cli.run_arrays import add_columns


def add_data_options(group: argparse._ActionsContainer) -> None:
    """Add the options of ``read_data``."""
    add = group.add_argument
    losses = ("regression", "classification", "next-step")
    text = "squared error, cross-entropy, or squared error to the next input (default: %(default)s)"
    add("--loss", choices=losses, default="regression", help=text)
    text = "a target for every step, or for the last one (default: %(default)s)"
    add("--on", choices=("steps", "last"), default="steps", help=text)
    add("--targets", metavar="COLUMNS", help="target columns of .csv: names or numbers with commas")
    add_columns(group, "DATA, as inputs")

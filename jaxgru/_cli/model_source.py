"""The model of a subcommand: a whole model of a file, or a GRU with a linear readout."""

import argparse
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._arrayfiles import open_array
from jaxgru._checks import state_dtype
from jaxgru._cli.arguments import Input, add_equations
from jaxgru._cli.source import add_source_options, read_net, source_options
from jaxgru._net import Net
from jaxgru._weights.whole import has_model, load_model
from jaxgru.model import Dense, Model, Recurrent


class Source(NamedTuple):
    """A model, and whether it is a whole model of a file; else a GRU and perhaps a readout."""

    model: Model
    is_whole: bool


def add_model_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``read_model``."""
    add_source_options(parser)
    add = parser.add_argument
    text = "the linear readout of a bare GRU: a .npz with kernel (H, O) and bias (O,)"
    add("--readout", metavar="IN", type=Input, help=text)
    add_equations(parser, "--equations", "a bare GRU")


def read_model(arguments: argparse.Namespace, on: str = "steps") -> Source:
    """Return the whole model of a file; the GRU of --layer, or that with --readout.

    Args:
        arguments: with the options of ``add_model_options``.
        on: of a GRU with a readout, "steps" for all outputs or "last" for the last one.
    """
    path = arguments.weights
    is_bare = arguments.layer or arguments.readout is not None
    if not is_bare and has_model(path, external_data=arguments.external_data):
        if arguments.equations != "keras":
            raise ValueError(
                f"{path}: --equations is {arguments.equations!r} for a whole model: expected none"
            )
        given: Any = source_options(arguments)
        del given["external_data"]
        return Source(load_model(path, **given), True)
    net = read_net(path, arguments, arguments.equations)
    layers: dict[str, Any] = {"net": Recurrent(net, return_sequences=on == "steps")}
    if arguments.readout is not None:
        layers["readout"] = read_readout(arguments.readout, net)
    return Source(Model(layers), False)


def read_readout(path: str, net: Net) -> Dense:
    """Return the linear readout of a net in a .npz file."""
    kernel, bias = readout_arrays(path, net)
    if kernel.ndim != 2 or bias.shape != kernel.shape[1:]:
        raise ValueError(
            f"{path}: its kernel and bias have shapes {kernel.shape} and {bias.shape}: expected "
            "(H, O) and (O,)"
        )
    return Dense(kernel, bias)


def readout_arrays(path: str, net: Net) -> list[jax.Array]:
    """Return the kernel and the bias of a readout in a .npz file, in the type of the state."""
    arrays = []
    for name in ("kernel", "bias"):
        with open_array(path, name) as reader:
            arrays.append(jnp.asarray(reader.read_all().astype(state_dtype(net))))
    return arrays


def as_integers(array: np.ndarray, what: str) -> np.ndarray:
    """Return whole numbers of any type as int32; raise ValueError for others."""
    if not np.array_equal(array, np.round(array)):
        raise ValueError(f"{what} are not integers: expected whole numbers")
    limits = np.iinfo(np.int32)
    for wrong in array[(array < limits.min) | (array > limits.max)].flat[:1]:
        raise ValueError(f"{what} have {wrong}: expected numbers of 32 bits")
    return np.asarray(array, np.int32)

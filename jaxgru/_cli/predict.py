"""``jaxgru predict``: the predictions of a model, as numbers, probabilities or classes."""

import argparse
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._arrayfiles import TEXT, ArrayFileError, format_of, open_array, write_array
from jaxgru._cli.arguments import Input, Output, Subparsers, add_command, add_weights
from jaxgru._cli.model_source import add_model_options, as_integers, read_model
from jaxgru._cli.run_arrays import add_columns, choose_columns, read_optional, warn_not_finite
from jaxgru._progress import progress_bar
from jaxgru.model import Embedding, Model
from jaxgru.model._chain import end_activation

_EXAMPLES = """\
examples:
  jaxgru predict model.keras inputs.npy -o predictions.npy
      the outputs of a whole Keras model, probabilities if it ends with a softmax
  jaxgru predict model.keras inputs.npz -o classes.csv --classes
      the most probable class of each sequence, or of each step
  jaxgru predict model.pt log.csv -o position.csv --layer gru --readout readout.npz --skip t
      a GRU and a linear readout, which jaxgru finetune writes

INPUTS: as of jaxgru run: (T, I) or (..., T, I). For a model that begins with an Embedding, integers
  (T,) or (..., T); in text, one column. A .npz with several arrays has inputs and, if the sequences
  are padded, lengths (...). All of it is read into memory.
OUT: .npy, .npz (the array outputs), .csv with a header, .txt
"""

_STEPS_AT_ONCE = 2**18


def add_parser(subparsers: Subparsers) -> None:
    """Add this subcommand to the parser of the command line."""
    text = "write the predictions of a whole model, or of a GRU with a readout"
    parser = add_command(subparsers, "predict", text, _EXAMPLES, _predict)
    add_weights(parser, "MODEL")
    add = parser.add_argument
    add("inputs", metavar="INPUTS", type=Input, help="the input sequence, or a batch of them")
    text = "the file to write"
    add("-o", "--output", metavar="OUT", type=Output, required=True, help=text)
    add("--classes", action="store_true", help="write the number of the most probable class")
    text = "the predictions are logits: write their softmax, or the sigmoid of one number"
    add("--logits", action="store_true", help=text)
    text = "of a GRU with a readout: predictions at every step, or at the last (default: steps)"
    add("--on", choices=("steps", "last"), help=text)
    add_columns(parser, "INPUTS")
    add_model_options(parser)


def _predict(arguments: argparse.Namespace) -> int:
    format_of(arguments.output)  # before anything else
    model, is_whole = read_model(arguments, arguments.on or "steps")
    if is_whole and arguments.on is not None:
        raise ValueError(f"--on is {arguments.on!r} for a whole model: expected none")
    if not is_whole and arguments.readout is None:
        raise ValueError(
            f"{arguments.weights}: a GRU without a readout has no predictions: expected --readout "
            "IN, or a whole Keras model without --layer; use jaxgru run for the states"
        )
    activation = end_activation(model)
    if arguments.logits and activation in ("softmax", "log_softmax", "sigmoid"):
        raise ValueError(f"--logits is given for a model that ends with {activation}: expected no")
    inputs = _read_inputs(arguments, model)
    lengths = read_optional(arguments.inputs, "lengths")
    values = predictions(model, inputs, lengths, arguments.inputs)
    what, each = "predictions", "prediction"
    if arguments.logits:
        one = values.shape[-1] == 1
        values = np.asarray(jax.nn.sigmoid(values) if one else jax.nn.softmax(values))
    if arguments.logits or activation == "softmax":
        what, each = "probabilities", "probability"
    names = [f"{each} {i}" for i in range(values.shape[-1])]
    if arguments.classes:
        values, what, names = _classes(values, activation, arguments), "classes", ["class"]
    shape = values.shape
    if arguments.output.lower().endswith(TEXT):
        # A line for each prediction.
        values = values.reshape(-1, 1) if arguments.classes else np.atleast_2d(values)
    write_array(arguments.output, values, "outputs", names)
    print(f"{arguments.output}: {what} {shape} of {values.dtype}")
    return 0


def predictions(model: Model, inputs: np.ndarray, lengths: Any, name: str) -> np.ndarray:
    """Return the predictions of a model, with the batch axes of the inputs.

    Args:
        model: the model.
        inputs: ``(..., T, I)``, or integers ``(..., T)``.
        lengths: integers ``(...)``, or None.
        name: the file of the inputs, for errors.
    """
    batch = inputs.shape[: inputs.ndim - model.example_axes]
    rows, steps = math.prod(batch), max(1, inputs.shape[len(batch)])
    flat = inputs.reshape(rows, *inputs.shape[len(batch) :])
    each = None
    if lengths is not None:
        lengths = as_integers(lengths, f"{name}: its lengths")
        if lengths.shape != batch:
            raise ArrayFileError(f"{name}: lengths has shape {lengths.shape}: expected {batch}")
        each = lengths.reshape(rows)
    run = jax.jit(lambda model, xs, n: model(xs, lengths=n, precision="highest"))
    at_once = max(1, _STEPS_AT_ONCE // steps)
    parts = []
    with progress_bar(rows, "sequence", delay=1) as advance:
        for at in range(0, max(1, rows), at_once):
            part = slice(at, at + at_once)
            given = None if each is None else jnp.asarray(each[part])
            parts.append(np.asarray(run(model, jnp.asarray(flat[part]), given)))
            advance(min(rows, at + at_once))
    whole = np.concatenate(parts)
    return whole.reshape(*batch, *whole.shape[1:])


def _read_inputs(arguments: argparse.Namespace, model: Model) -> np.ndarray:
    name, axes = arguments.inputs, model.example_axes
    with open_array(name, "inputs") as reader:
        reader = choose_columns(reader, arguments)
        array, names = reader.read_all(), reader.names
    first = next(iter(model.layers.values()))
    if not isinstance(first, Embedding):
        dtype = jnp.result_type(float)
        with np.errstate(over="ignore"):
            array = array.astype(dtype)
        warn_not_finite(name, array)
        try:
            if array.ndim < axes:
                raise ValueError(f"it has shape {array.shape}: expected batch axes and {axes} more")
            jax.eval_shape(model, array)
        except ValueError as error:
            named = f"; its columns are {', '.join(map(repr, names))}" if names else ""
            raise ArrayFileError(
                f"{name}: {error}{named} (--columns or --skip chooses columns)"
            ) from None
        return array
    if name.lower().endswith(TEXT):
        if array.shape[-1] != 1:
            raise ArrayFileError(
                f"{name}: it has {array.shape[-1]} columns: expected one, the integers of the "
                "model's Embedding (--columns chooses)"
            )
        array = array[:, 0]
    array = as_integers(array, f"{name}: its inputs")
    count = len(first.table)
    for place in np.argwhere((array < 0) | (array >= count))[:1].tolist():
        raise ArrayFileError(
            f"{name}: its input {place} is {array[tuple(place)]}: expected 0 to {count - 1}, a row "
            "of the model's Embedding"
        )
    return array


def _classes(values: np.ndarray, activation: str, arguments: argparse.Namespace) -> np.ndarray:
    count = values.shape[-1]
    if activation == "sigmoid" and count > 1:
        raise ValueError(
            f"--classes is given for a model that ends with {count} sigmoids, as for several "
            "labels: expected a softmax, or no --classes"
        )
    if count == 1:
        if activation != "sigmoid" and not arguments.logits:
            raise ValueError(
                "--classes is given for a model with one output and no sigmoid: add --logits if "
                "the output is the logit of class 1"
            )
        return np.asarray(values[..., 0] > 0.5, np.int32)
    return np.asarray(values.argmax(-1), np.int32)

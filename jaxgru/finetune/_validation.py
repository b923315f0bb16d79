"""Checks of the data against the model and the loss, before a long run."""

import functools
from typing import Any

import jax
import numpy as np

from jaxgru._checks import shape_of
from jaxgru._net import check_net
from jaxgru.finetune._data import Sequences
from jaxgru.finetune._lora import merge
from jaxgru.finetune._losses import Loss, counted_steps, total_loss
from jaxgru.finetune._model import Model, run_model


class CheckedSequences(Sequences):
    """The result of ``checked_data``, which is not checked again."""


def checked_data(data: Sequences, model: Model, loss: Loss, where: str) -> CheckedSequences:
    """Return data as NumPy arrays.

    Raises ValueError, naming the place, unless the data is valid and fits the model and the loss.
    """
    if isinstance(data, CheckedSequences):
        return data
    if not isinstance(loss, Loss):
        raise ValueError(f"loss is a {type(loss).__name__}: expected a Loss, as regression()")
    if not isinstance(data, Sequences):
        raise ValueError(f"{where} is a {type(data).__name__}: expected Sequences")
    try:
        inputs, targets = _as_numpy("inputs", data.inputs), _as_numpy("targets", data.targets)
        lengths = None if data.lengths is None else _as_numpy("lengths", data.lengths)
        _check_inputs(inputs, model)
        _check_lengths(lengths, inputs)
        _check_targets(inputs, targets, loss)
        counted_inputs = counted_steps(lengths, inputs, "steps")
        _check_finite("inputs", inputs, counted_inputs)
        counted = counted_inputs if loss.on == "steps" else counted_steps(lengths, inputs, "last")
        _check_finite("targets", targets, counted)
        # The shapes of all predictions, without computing them.
        run = functools.partial(run_model, lengths=None, h0=None, on=loss.on)
        shapes, _ = jax.eval_shape(run, model, inputs)
        if not hasattr(shapes, "shape"):
            raise ValueError("the net has a pair of outputs: expected a readout of both")
        jax.eval_shape(functools.partial(total_loss, loss, counted=None), shapes, targets)
        if loss.check is not None:
            everything = np.ones(targets.shape[: 1 if loss.on == "last" else 2], bool)
            loss.check(shapes.shape, targets, everything if counted is None else counted)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return CheckedSequences(inputs, targets, lengths)


def _as_numpy(name: str, value: Any) -> np.ndarray:
    shape_of(name, value)  # an error for anything but an array, as in jaxgru.gru
    return np.asarray(value)


def _check_inputs(inputs: np.ndarray, model: Model) -> None:
    size, _ = check_net(jax.eval_shape(merge, model.net))
    if inputs.ndim != 3 or inputs.shape[-1] != size:
        raise ValueError(
            f"inputs has shape {inputs.shape}: expected (N, T, {size}), as the net has {size} "
            "inputs"
        )
    if not np.issubdtype(inputs.dtype, np.floating):
        raise ValueError(f"inputs has dtype {inputs.dtype}: expected a floating-point type")
    if 0 in inputs.shape[:2]:
        raise ValueError(
            f"inputs has shape {inputs.shape}: expected a sequence of one step or more"
        )


def _check_lengths(lengths: np.ndarray | None, inputs: np.ndarray) -> None:
    if lengths is None:
        return
    count, time, _ = inputs.shape
    if lengths.shape != (count,):
        raise ValueError(
            f"lengths has shape {lengths.shape}: expected ({count},), as inputs has {count} "
            "sequences"
        )
    if not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(f"lengths has dtype {lengths.dtype}: expected integers")
    for wrong in np.flatnonzero((lengths < 0) | (lengths > time))[:1]:
        raise ValueError(
            f"lengths[{wrong}] is {lengths[wrong]}: expected 0 to {time}, the number of steps of "
            "inputs"
        )
    if not lengths.any():
        raise ValueError("all lengths are 0: expected a sequence of one step or more")


def _check_targets(inputs: np.ndarray, targets: np.ndarray, loss: Loss) -> None:
    count, time, _ = inputs.shape
    axes = (count,) if loss.on == "last" else (count, time)
    if targets.shape[: len(axes)] != axes:
        shape = ", ".join(map(str, axes))
        raise ValueError(
            f"targets has shape {targets.shape}: expected ({shape}, ...), as inputs has {count} "
            f"sequences of {time} steps and the loss is on {loss.on!r}"
        )


def _check_finite(name: str, array: np.ndarray, counted: np.ndarray | None) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    bad = ~np.isfinite(array)
    if counted is not None:
        bad &= counted.reshape(counted.shape + (1,) * (array.ndim - counted.ndim))
    wrong: Any = np.argwhere(bad)
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        more = f", and {len(wrong) - 1} more are not finite" if len(wrong) > 1 else ""
        raise ValueError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}: expected a finite number"
            f"{more}"
        )

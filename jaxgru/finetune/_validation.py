"""Checks of the data against the model and the loss, before a long run."""

import functools
import warnings
from typing import Any

import jax
import numpy as np

from jaxgru._checks import shape_of
from jaxgru.finetune._data import Sequences
from jaxgru.finetune._loop import FinetuneWarning
from jaxgru.finetune._lora import merge
from jaxgru.finetune._losses import Loss, check_classes, total_loss
from jaxgru.finetune._model import has_time, run_model, takes_integers
from jaxgru.model import Conv1D, GlobalPooling1D, MaxPooling1D, Model, Recurrent, Reshape
from jaxgru.model._chain import end_activation


class CheckedSequences(Sequences):
    """Data that ``checked_data`` has returned, and that is not checked again."""


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
        _check_lengths(lengths, inputs, model)
        valid = None
        if lengths is not None:
            valid = np.arange(inputs.shape[1])[None] < lengths[:, None]
        _check_finite("inputs", inputs, valid)
        if valid is not None and not valid.all():
            # Some layers see the padding.
            inputs = np.where(_beside(valid, inputs), inputs, np.zeros((), inputs.dtype))
        _check_rows(inputs, model)
        run = functools.partial(run_model, h0=None, loss=loss)
        # The shapes of all predictions, without computing them.
        predicted = jax.eval_shape(run, model, inputs, lengths).predictions
        _check_predictions(predicted, loss, end_activation(merge(model)))
        _check_targets(inputs, targets, loss, predicted.shape)
        counted = np.asarray(jax.jit(lambda *given: run(*given).counted)(model, inputs, lengths))
        if counted.dtype != bool:  # None: all
            counted = np.ones(targets.shape[: 1 if loss.on == "last" else 2], bool)
        if not counted.any():
            raise ValueError("no step is valid in the mask of the model: expected at least one")
        _check_finite("targets", targets, counted)
        jax.eval_shape(functools.partial(total_loss, loss, counted=None), predicted, targets)
        if loss.check is not None:
            loss.check(predicted.shape, targets, counted)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    if valid is not None and (valid.any(1) & ~valid.all(1)).any():
        _warn_of_padding(model, where)
    return CheckedSequences(inputs, targets, lengths)


def _as_numpy(name: str, value: Any) -> np.ndarray:
    shape_of(name, value)  # an error for anything but an array, as in jaxgru.gru
    return np.asarray(value)


def _check_inputs(inputs: np.ndarray, model: Model) -> None:
    rows = takes_integers(model)
    axes = "(N, T)" if rows is not None else "(N, T, I)" if has_time(model) else "(N, I)"
    if inputs.ndim != model.example_axes + 1:
        raise ValueError(f"inputs has shape {inputs.shape}: expected {axes}")
    if rows is not None and not np.issubdtype(inputs.dtype, np.integer):
        raise ValueError(f"inputs has dtype {inputs.dtype}: expected integers for the Embedding")
    if rows is None and not np.issubdtype(inputs.dtype, np.floating):
        raise ValueError(f"inputs has dtype {inputs.dtype}: expected a floating-point type")
    if 0 in inputs.shape[:2]:
        raise ValueError(
            f"inputs has shape {inputs.shape}: expected a sequence of at least one step"
        )


def _check_rows(inputs: np.ndarray, model: Model) -> None:
    rows = takes_integers(model)
    if rows is None:
        return
    for place in map(tuple, np.argwhere((inputs < 0) | (inputs >= rows))[:1].tolist()):
        raise ValueError(
            f"inputs[{', '.join(map(str, place))}] is {inputs[place]}: expected 0 to {rows - 1}, a "
            "row of the Embedding"
        )


def _check_lengths(lengths: np.ndarray | None, inputs: np.ndarray, model: Model) -> None:
    if lengths is None:
        return
    if not has_time(model):
        raise ValueError(
            "lengths is given: expected None, because the input of the model is a vector"
        )
    count, time = inputs.shape[:2]
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
        raise ValueError("all lengths are 0: expected a sequence of at least one step")


def _check_predictions(predicted: Any, loss: Loss, activation: Any) -> None:
    if not hasattr(predicted, "shape"):
        raise ValueError("the net has a pair of outputs: expected a readout of both")
    if loss.on == "steps" and predicted.ndim < 3:
        raise ValueError(
            f"the predictions have shape {predicted.shape}, and the loss is on 'steps': expected a "
            "loss on 'last', because each sequence has one prediction"
        )
    if loss.check is check_classes and activation == "sigmoid" and predicted.shape[-1] > 1:
        raise ValueError(
            f"the model ends with {predicted.shape[-1]} sigmoids, as for several labels: expected "
            "a softmax or logits; docs/finetuning.md has a Loss for several labels"
        )


def _check_targets(
    inputs: np.ndarray, targets: np.ndarray, loss: Loss, predicted: tuple[int, ...]
) -> None:
    axes = predicted[: 1 if loss.on == "last" else 2]
    if targets.shape[: len(axes)] != axes:
        shape = ", ".join(map(str, axes))
        steps = "" if len(axes) == 1 else f" of {axes[1]} steps"
        raise ValueError(
            f"targets has shape {targets.shape}: expected ({shape}, ...), as inputs has "
            f"{len(inputs)} sequences{steps} and the loss is on {loss.on!r}"
        )


def _warn_of_padding(model: Model, where: str) -> None:
    """Warn if the padding affects the last state of a net or a mean."""
    for name, layer in merge(model).layers.items():
        if isinstance(layer, Recurrent) and not layer.return_sequences:
            return
        if isinstance(layer, GlobalPooling1D) and layer.kind == "average":
            return
        if isinstance(layer, Conv1D | MaxPooling1D | GlobalPooling1D | Reshape):
            warnings.warn(
                f"{where}: lengths is given, and layer {name!r} does not pass on the mask: the "
                "padding, as zeros, affects the layers after it",
                FinetuneWarning,
                stacklevel=4,
            )
            return


def _beside(flags: np.ndarray, array: np.ndarray) -> np.ndarray:
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))


def _check_finite(name: str, array: np.ndarray, counted: np.ndarray | None) -> None:
    if not np.issubdtype(array.dtype, np.floating):
        return
    bad = ~np.isfinite(array)
    if counted is not None:
        bad &= _beside(counted, array)
    wrong: Any = np.argwhere(bad)
    if len(wrong):
        place = tuple(int(i) for i in wrong[0])
        more = f", and {len(wrong) - 1} more are not finite" if len(wrong) > 1 else ""
        raise ValueError(
            f"{name}[{', '.join(map(str, place))}] is {array[place]}: expected a finite number"
            f"{more}"
        )

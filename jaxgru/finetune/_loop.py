"""The training loop: the steps, and after each round a history row, validation and callbacks."""

import dataclasses
import math
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from jaxgru.finetune._batches import Batch, Position
from jaxgru.finetune._lora import merge
from jaxgru.finetune._train_step import TrainState
from jaxgru.model import Model

NOT_FINITE = "not finite"

# Of a round: step, epoch, loss, seconds and, with validation data, validation_loss.
Row: TypeAlias = dict[str, Any]  # Any: numbers of JSON


class FinetuneWarning(UserWarning):
    """A warning that a run stopped early or did not improve the model."""


@dataclasses.dataclass(frozen=True)
class Epochs:
    """The length of a run: ``count`` epochs, at least 1. Each is a round."""

    count: int

    def __post_init__(self) -> None:
        check_sizes(epochs=self.count)

    def ends_round(self, steps: int, position: Position) -> bool:
        """Return whether a round ends after a step."""
        return (position.batch, position.window) == (0, 0)

    def reached(self, steps: int, position: Position) -> str | None:
        """Return "epochs" if the run is over, else None."""
        return "epochs" if position.epoch >= self.count else None


@dataclasses.dataclass(frozen=True)
class Steps:
    """The length of a run: ``count`` steps of the optimizer, at least 1.

    A round is ``every`` steps, or an epoch if None; the last one may be shorter.
    """

    count: int
    every: int | None = None

    def __post_init__(self) -> None:
        check_sizes(steps=self.count, every=self.every)

    def ends_round(self, steps: int, position: Position) -> bool:
        """Return whether a round ends after a step."""
        if self.every is None:
            return steps == self.count or (position.batch, position.window) == (0, 0)
        return steps == self.count or steps % self.every == 0

    def reached(self, steps: int, position: Position) -> str | None:
        """Return "steps" if the run is over, else None."""
        return "steps" if steps >= self.count else None


class Round(NamedTuple):
    """The state of a run at the end of a round, for the functions of ``on_round``.

    Args:
        model: the model, low-rank changes merged.
        history: one row per round, this one last; see ``read_history``.
        best: the step of the lowest validation loss, 0 for the start; None without validation data.
        resumed: whether the run has just resumed from this round, for which the functions were
            called before.
    """

    model: Model
    history: list[Row]
    best: int | None
    resumed: bool


OnRound: TypeAlias = Callable[[Round], str | None]


def patience(rounds: int) -> OnRound:
    """Return a stopping rule for ``fit``: a number of rounds without a lower validation loss.

    Args:
        rounds: the number, at least 1.

    Returns:
        A function of a ``Round`` that returns "patience" to stop the run, else None.

    Raises:
        ValueError: rounds is below 1; or, in the run, there is no validation data.

    >>> from jaxgru.finetune import Round, patience
    >>> rows = [{"step": 10}, {"step": 20}, {"step": 30}]
    >>> now = Round(None, rows, best=10, resumed=False)
    >>> patience(2)(now), patience(3)(now)
    ('patience', None)

    Source: Prechelt 1998, early stopping.
    """
    check_sizes(patience=rounds)

    def stop(now: Round) -> str | None:
        if now.best is None:
            raise ValueError(
                f"patience is {rounds} without validation data: expected validation data"
            )
        return "patience" if sum(row["step"] > now.best for row in now.history) >= rounds else None

    return stop


class Best(NamedTuple):
    """The model of the lowest validation loss, the loss and the step."""

    model: Model
    loss: float
    step: int


class Progress(NamedTuple):
    """The progress of a run: the content of a checkpoint.

    Args:
        state: the state of the training.
        last_finite: the last model with a finite loss.
        best: the model of the lowest validation loss, None without validation.
        initial_loss: the validation loss before the first step; None if it is not known.
        position: the position in the data.
        history: one row per round.
    """

    state: TrainState
    last_finite: Model
    best: Best | None
    initial_loss: float | None
    position: Position
    history: list[Row]

    @property
    def steps(self) -> int:
        """The number of completed steps."""
        return int(self.state.step)


def run_rounds(
    progress: Progress,
    step: Callable[[TrainState, Batch], tuple[TrainState, float]],
    stream: Iterator[tuple[Position, Batch]],
    until: Epochs | Steps,
    *,
    validate: Callable[[Model], float] | None,
    on_step: Callable[[int, Position, float], None],
    save: Callable[[Progress], None],
    on_round: Sequence[OnRound],
) -> tuple[Progress, str]:
    """Train until the length is reached, a function stops the run or a loss is not finite.

    Calls ``on_step`` after every step, with its number, the position and the loss. After every
    round, it calls ``save`` with the progress, then ``on_round``; when a run resumes, only
    ``on_round``. Returns the progress, at the end of a round or before the loss that was not
    finite, and the reason why the run stopped.
    """
    steps, position = progress.steps, progress.position
    # The seconds include the time before an interruption.
    began = time.monotonic() - (progress.history[-1]["seconds"] if progress.history else 0.0)
    stopped = None
    if progress.history:
        stopped = _reason_to_stop(on_round, progress, resumed=True)
    elif validate is not None:
        start = progress.state.model
        progress = progress._replace(initial_loss=(loss := validate(start)))
        if not math.isfinite(loss):
            _warn("the validation loss is not finite before the first step")
            return progress, NOT_FINITE
        progress = progress._replace(best=Best(start, loss, steps))
    stopped = stopped or until.reached(steps, position)
    losses: list[float] = []
    while stopped is None:
        state, last_finite = progress.state, progress.last_finite
        losses.clear()
        while not losses or not until.ends_round(steps, position):
            position, batch = next(stream)
            after, loss = step(state, batch)
            if not math.isfinite(loss):
                _warn(f"the loss is not finite at step {steps + 1}")
                return progress._replace(state=state, last_finite=last_finite), NOT_FINITE
            state, last_finite, steps = after, state.model, steps + 1
            losses.append(loss)
            on_step(steps, position, loss)
        row: Row = {
            "step": steps,
            "epoch": position.epoch,
            "loss": sum(losses) / len(losses),
            "seconds": round(time.monotonic() - began, 3),
        }
        best = progress.best
        if validate is not None:
            row["validation_loss"] = validate(state.model)
            if not math.isfinite(row["validation_loss"]):
                _warn(f"the validation loss is not finite after step {steps}")
                return progress._replace(state=state, last_finite=last_finite), NOT_FINITE
            if best is not None and row["validation_loss"] < best.loss:
                best = Best(state.model, row["validation_loss"], steps)
        history = [*progress.history, row]
        progress = Progress(state, last_finite, best, progress.initial_loss, position, history)
        save(progress)
        stopped = _reason_to_stop(on_round, progress) or until.reached(steps, position)
    return progress, stopped


def check_sizes(**sizes: int | None) -> None:
    """Raise ValueError with the name of the argument for any value below 1."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")


def _reason_to_stop(
    functions: Sequence[OnRound], progress: Progress, *, resumed: bool = False
) -> str | None:
    """Call all functions with the round, and return the first reason to stop."""
    if not functions:
        return None
    best = None if progress.best is None else progress.best.step
    now = Round(merge(progress.state.model), list(progress.history), best, resumed)
    reasons = []
    for function in functions:
        answer: object = function(now)
        if answer is not None and not (isinstance(answer, str) and answer):
            raise ValueError(
                f"on_round: {getattr(function, '__name__', function)} returned {answer!r}: "
                "expected None, or a str to stop"
            )
        reasons.append(answer)
    return next(filter(None, reasons), None)


def _warn(what: str) -> None:
    message = f"{what}: the result is the last model that had a finite loss"
    warnings.warn(message, FinetuneWarning, stacklevel=4)  # the line that called fit

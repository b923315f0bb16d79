"""The loop of a run: step after step, and at the end of each round a look at where it stands."""

import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import NamedTuple

from jaxgru.finetune.batches import Batch, Position
from jaxgru.finetune.history import Row
from jaxgru.finetune.model import Model
from jaxgru.finetune.train_step import TrainState, result_model

NOT_FINITE = "not finite"


class FinetuneWarning(UserWarning):
    """A run that ended otherwise than it was meant to."""


class Progress(NamedTuple):
    """How far a run has come: all that a checkpoint holds.

    Args:
        state: that of the training.
        good: the last model known to have a finite loss.
        best: the model of the round of the lowest validation loss, None without validation.
        position: where the data goes on.
        history: a row a round.
    """

    state: TrainState
    good: Model
    best: Model | None
    position: Position
    history: list[Row]

    @property
    def steps(self) -> int:
        """How many steps are done."""
        return int(self.state.step)


class Goal(NamedTuple):
    """When a round is over and when the run is: steps or epochs, one of them None."""

    steps: int | None
    epochs: int | None
    every: int | None  # steps of a round; an epoch if None
    patience: int | None  # rounds without a lower validation loss

    def ends_round(self, steps: int, position: Position) -> bool:
        """Return whether a round is over."""
        if steps == self.steps:
            return True
        return _is_epoch(position) if self.every is None else steps % self.every == 0

    def reached(self, progress: Progress) -> str | None:
        """Return why the run is over, None if it is not."""
        if self.patience is not None and _rounds_since_best(progress.history) >= self.patience:
            return "patience"
        if self.steps is not None and progress.steps >= self.steps:
            return "steps"
        if self.epochs is not None and progress.position.epoch >= self.epochs:
            return "epochs"
        return None


def run_rounds(
    progress: Progress,
    step: Callable[[TrainState, Batch], tuple[TrainState, float]],
    stream: Iterator[tuple[Position, Batch]],
    goal: Goal,
    *,
    mask: object,
    validate: Callable[[Model], float] | None,
    on_step: Callable[[int, Position, float], None],
    on_round: Callable[[Progress], None],
) -> tuple[Progress, str]:
    """Go on until the goal is reached or a loss is not finite.

    Args:
        progress: where to begin.
        step: does one step.
        stream: the batches from there on.
        goal: when to stop.
        mask: which weights are trained.
        validate: the validation loss of a model.
        on_step: is told the step, the position and the loss, after every step.
        on_round: is given the progress at the end of every round.

    Returns:
        The progress, at the end of a round or before the loss that was not finite, and why the run
        is over.

    Warns:
        FinetuneWarning: a loss is not finite; the step is named.
    """
    steps, seconds = progress.steps, _Seconds(progress.history)
    losses: list[float] = []
    while (stopped := goal.reached(progress)) is None:
        state, good = progress.state, progress.good
        while True:
            position, batch = next(stream)
            after, loss = step(state, batch)
            if not math.isfinite(loss):
                _warn(f"the loss is not finite at step {steps + 1}")
                return progress._replace(state=state, good=good), NOT_FINITE
            # Weights are known to be good once a loss was computed with them.
            state, good, steps = after, result_model(state, mask), steps + 1
            losses.append(loss)
            on_step(steps, position, loss)
            if goal.ends_round(steps, position):
                break
        row: Row = {
            "step": steps,
            "epoch": position.epoch,
            "loss": sum(losses) / len(losses),
            "seconds": seconds.so_far(),
        }
        losses = []
        best = progress.best
        if validate is not None:
            model = result_model(state, mask)
            row["validation_loss"] = validate(model)
            if not math.isfinite(row["validation_loss"]):
                _warn(f"the validation loss is not finite after step {steps}")
                return progress._replace(state=state, good=good), NOT_FINITE
            if best is not None and _is_lowest(row, progress.history):
                best = model
        progress = Progress(state, good, best, position, [*progress.history, row])
        on_round(progress)
    return progress, stopped


def _warn(what: str) -> None:
    # Said of the line that called fit: this is called from run_rounds, and that from fit.
    warnings.warn(
        f"{what}: the result is the last model that had a finite loss",
        FinetuneWarning,
        stacklevel=4,
    )


class _Seconds:
    """The time a run has taken, what it took before it was interrupted included."""

    def __init__(self, history: list[Row]) -> None:
        before = history[-1]["seconds"] if history else 0.0
        self._start = time.monotonic() - before

    def so_far(self) -> float:
        return round(time.monotonic() - self._start, 3)


def _is_epoch(position: Position) -> bool:
    return position.batch == 0 and position.window == 0


def _is_lowest(row: Row, history: list[Row]) -> bool:
    return all(row["validation_loss"] < other["validation_loss"] for other in history)


def _rounds_since_best(history: list[Row]) -> int:
    losses = [row["validation_loss"] for row in history]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0

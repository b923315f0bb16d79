"""A progress bar on stderr with loss, speed and time left, where there is somebody to see it."""

import contextlib
from collections.abc import Callable, Iterator

from jaxgru.finetune.batches import Position
from jaxgru.finetune.loop import Goal, Progress
from jaxgru.optional import need


@contextlib.contextmanager
def training_bar(
    goal: Goal, start: Progress, batches_of_epoch: int
) -> Iterator[Callable[[int, Position, float], None]]:
    """Give a function to call after every step, with its number, the position and the loss.

    It moves a bar if stderr is a terminal, and does nothing otherwise. The bar is of steps, or of
    the batches of all epochs: how many steps an epoch has is not known before it is over, as
    windows end with the longest sequence of a batch.

    Args:
        goal: when the run is over.
        start: where it begins.
        batches_of_epoch: how many batches an epoch has.
    """
    tqdm = need("tqdm", "finetune", "a progress bar").tqdm

    def done(steps: int, position: Position) -> int:
        if goal.epochs is None:
            return steps
        return position.epoch * batches_of_epoch + position.batch

    with tqdm(
        total=goal.steps if goal.epochs is None else goal.epochs * batches_of_epoch,
        initial=done(start.steps, start.position),
        unit="step" if goal.epochs is None else "batch",
        disable=None,  # where stderr is no terminal
        leave=False,
    ) as bar:

        def move(steps: int, position: Position, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update(done(steps, position) - bar.n)

        yield move

"""A progress bar on stderr with loss, speed and time left."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from jaxgru.finetune.batches import Position
from jaxgru.finetune.loop import Epochs, Progress, Steps


@contextlib.contextmanager
def training_bar(
    until: Epochs | Steps, start: Progress, batches_of_epoch: int, *, shown: bool
) -> Iterator[Callable[[int, Position, float], None]]:
    """Give a function to call after every step, with its number, the position and the loss.

    It moves a bar if stderr is a terminal and tqdm is installed, and does nothing otherwise. The
    bar is of steps, or of the batches of all epochs: with windows, which end with the longest
    sequence of a batch, the steps of an epoch are not known before its end.

    Args:
        until: the length of the run.
        start: where it begins.
        batches_of_epoch: how many batches an epoch has.
        shown: False for no bar at all.
    """

    def done(steps: int, position: Position) -> int:
        if isinstance(until, Steps):
            return steps
        return position.epoch * batches_of_epoch + position.batch

    with contextlib.ExitStack() as stack:
        bar: Any = None
        with contextlib.suppress(ImportError):
            from tqdm import tqdm  # type: ignore[import-untyped]

            bar = stack.enter_context(
                tqdm(
                    total=until.count * (1 if isinstance(until, Steps) else batches_of_epoch),
                    initial=done(start.steps, start.position),
                    unit="step" if isinstance(until, Steps) else "batch",
                    disable=None if shown else True,  # None: where stderr is no terminal
                    leave=False,
                )
            )

        def move(steps: int, position: Position, loss: float) -> None:
            if bar is not None:
                bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
                bar.update(done(steps, position) - bar.n)

        yield move

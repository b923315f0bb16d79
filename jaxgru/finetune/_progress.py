"""A progress bar on stderr with loss, speed and remaining time."""

import contextlib
from collections.abc import Callable, Iterator

from jaxgru.finetune._batches import Position
from jaxgru.finetune._loop import Epochs, Progress, Steps


@contextlib.contextmanager
def training_bar(
    until: Epochs | Steps, start: Progress, batches_of_epoch: int, *, shown: bool
) -> Iterator[Callable[[int, Position, float], None]]:
    """Yield a function to call after every step, with its number, the position and the loss.

    It updates a bar if ``shown``, stderr is a terminal and tqdm is installed. The bar counts steps,
    or the batches of all epochs: with windows, the number of steps of an epoch depends on the
    longest sequence of each batch and is not known in advance.
    """
    try:
        from tqdm import tqdm  # type: ignore[import-untyped]
    except ImportError:
        shown = False
    if not shown:
        yield lambda steps, position, loss: None
        return

    def done(steps: int, position: Position) -> int:
        if isinstance(until, Steps):
            return steps
        return position.epoch * batches_of_epoch + position.batch

    total, unit = until.count * batches_of_epoch, "batch"
    if isinstance(until, Steps):
        total, unit = until.count, "step"
    initial = done(start.steps, start.position)
    # disable=None: no bar unless stderr is a terminal.
    with tqdm(total=total, initial=initial, unit=unit, disable=None, leave=False) as bar:

        def move(steps: int, position: Position, loss: float) -> None:
            bar.set_postfix_str(f"loss {loss:.4g}", refresh=False)
            bar.update(done(steps, position) - bar.n)

        yield move

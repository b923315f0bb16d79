"""What a run leaves on disk while it goes on: checkpoints and a history."""

import contextlib
import os
from collections.abc import Iterator

import jax

from jaxgru.finetune.batches import Position
from jaxgru.finetune.checkpoints import Checkpoints
from jaxgru.finetune.history import HistoryWriter
from jaxgru.finetune.loop import Progress
from jaxgru.finetune.sharding import gather

StrPath = str | os.PathLike[str]


class Records:
    """The checkpoints and the history file of a run, of which there may be none.

    Args:
        begin: the run before its first step.
        checkpoints: where its checkpoints are.
        history_path: the history file. Of several processes the first alone writes it.
    """

    def __init__(
        self, begin: Progress, checkpoints: Checkpoints | None, history_path: StrPath | None
    ) -> None:
        self._checkpoints = checkpoints
        self.resumed = begin if checkpoints is None else _restored(checkpoints, begin)
        self._history = None
        if history_path is not None and jax.process_index() == 0:
            self._history = HistoryWriter(history_path, self.resumed.history)

    def add(self, progress: Progress) -> None:
        """Write the round that is just over."""
        if self._history is not None:
            self._history.append(progress.history[-1])
        if self._checkpoints is not None:
            arrays = gather((progress.state, progress.good, progress.best))
            notes = {"position": list(progress.position), "history": progress.history}
            self._checkpoints.save(progress.steps, _named(*arrays), notes)


@contextlib.contextmanager
def recording(
    begin: Progress,
    about: dict[str, str],
    checkpoint_dir: StrPath | None,
    history_path: StrPath | None,
) -> Iterator[Records]:
    """Give the records of a run, and close them at the end.

    Args:
        begin: the run before its first step.
        about: what it is of, see ``Checkpoints``.
        checkpoint_dir: the folder of its checkpoints, or None.
        history_path: its history file, or None.
    """
    if checkpoint_dir is None:
        yield Records(begin, None, history_path)
        return
    with contextlib.closing(Checkpoints(checkpoint_dir, about)) as checkpoints:
        yield Records(begin, checkpoints, history_path)


def _restored(checkpoints: Checkpoints, begin: Progress) -> Progress:
    """Return the progress of the last checkpoint, or the beginning where there is none."""
    found = checkpoints.restore(_named(begin.state, begin.good, begin.best))
    if found is None:
        return begin
    arrays, notes = found
    return Progress(**arrays, position=Position(*notes["position"]), history=notes["history"])


def _named(state: object, good: object, best: object) -> dict[str, object]:
    return {"state": state, "good": good, "best": best}

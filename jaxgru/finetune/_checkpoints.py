"""Orbax checkpoints that identify their run."""

import os
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._optional import need
from jaxgru.finetune._batches import Position
from jaxgru.finetune._loop import Best, Progress
from jaxgru.finetune._sharding import gather
from jaxgru.finetune._trainable import leaf_paths

_KEPT = 2  # the newest, and the one before it
_MOST_NAMED = 4  # differences listed in an error


class Checkpoints:
    """The checkpoints of one run in a folder.

    Orbax writes a checkpoint under a temporary name and renames it, so the last complete checkpoint
    remains after any interruption.

    Args:
        folder: the folder; created if missing. None: no checkpoints.
        inputs: pytrees of arrays that identify the run, by the name of a difference, such as
            "other data".
        settings: the other values that identify the run, by name.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None,
        inputs: dict[str, Any],
        settings: dict[str, str],
    ) -> None:
        self._manager: Any = None
        if folder is None:
            return
        self._orbax = need("orbax.checkpoint", "finetune", "writing checkpoints")
        self._folder = Path(folder).absolute()
        self._inputs = {name: _checksum(tree) for name, tree in inputs.items()}
        self._settings = settings
        self._folder.mkdir(parents=True, exist_ok=True)
        options = self._orbax.CheckpointManagerOptions(
            max_to_keep=_KEPT,
            # Synchronous, as an incomplete checkpoint is useless if the process ends.
            enable_async_checkpointing=False,
        )
        self._manager = self._orbax.CheckpointManager(self._folder, options=options)

    def save(self, progress: Progress) -> None:
        """Write the checkpoint of a round.

        Raises:
            OSError: it cannot be written. The previous checkpoint is intact.
        """
        if self._manager is None:
            return
        notes = {
            "inputs": self._inputs,
            "settings": self._settings,
            "position": list(progress.position),
            "history": progress.history,
            "best": None if progress.best is None else [progress.best.loss, progress.best.step],
            "initial_loss": progress.initial_loss,
        }
        arrays = _by_path(gather(_models_and_state(progress)))
        orbax = self._orbax.args
        args = orbax.Composite(arrays=orbax.StandardSave(arrays), notes=orbax.JsonSave(notes))
        try:
            self._manager.save(progress.steps, args=args)
        # Orbax and TensorStore have no error class for a full disk.
        except Exception as error:
            before = self._manager.latest_step()
            intact = "there is none before it" if before is None else f"that of {before} is intact"
            raise OSError(
                f"{self._folder}: the checkpoint of step {progress.steps} was not written, "
                f"{intact}: {_in_one_line(error)}"
            ) from error

    def restore(self, begin: Progress) -> Progress:
        """Return the progress of the last checkpoint, or the given start if there is none.

        Raises:
            ValueError: the checkpoint is of another run. The message lists the differences.
            OSError: it cannot be read.
        """
        step = None if self._manager is None else self._manager.latest_step()
        if step is None:
            return begin
        args = self._orbax.args
        notes = self._read(step, args.Composite(notes=args.JsonRestore())).notes
        self._refuse_other_runs(step, notes)
        like = _models_and_state(begin)
        found = self._read(step, args.Composite(arrays=args.StandardRestore(_by_path(like)))).arrays
        arrays = _like(like, found)
        best = None if notes["best"] is None else Best(arrays["best"], *notes["best"])
        return Progress(
            arrays["state"],
            arrays["good"],
            best,
            notes.get("initial_loss"),
            Position(*notes["position"]),
            notes["history"],
        )

    def close(self) -> None:
        """Release the folder."""
        if self._manager is not None:
            self._manager.close()

    def _read(self, step: int, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:
            raise OSError(
                f"{self._folder}: the checkpoint of step {step} cannot be read: "
                f"{_in_one_line(error)}"
            ) from error

    def _refuse_other_runs(self, step: int, notes: dict[str, Any]) -> None:
        inputs, settings = notes["inputs"], notes["settings"]
        here = self._settings
        differences = [name for name, checksum in self._inputs.items() if inputs[name] != checksum]
        differences += [
            f"{name} {settings.get(name, 'absent')} instead of {here.get(name, 'none')}"
            for name in settings | here
            if settings.get(name) != here.get(name)
        ]
        if len(differences) > _MOST_NAMED:
            differences[_MOST_NAMED:] = [f"{len(differences) - _MOST_NAMED} more differences"]
        if differences:
            raise ValueError(
                f"{self._folder}: its checkpoint of step {step} is of another run, with "
                f"{', '.join(differences)}: expected the same run, or an empty folder"
            )


def described(tree: Any) -> dict[str, str]:
    """Return dtype and shape of every array of a pytree, by path."""
    return {
        path: f"{leaf.dtype} {leaf.shape}"
        for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)
    }


def _models_and_state(progress: Progress) -> dict[str, Any]:
    best = None if progress.best is None else progress.best.model
    return {"state": progress.state, "good": progress.last_finite, "best": best}


def _checksum(tree: Any) -> str:
    checksum = 0
    for leaf in jax.tree.leaves(tree):
        checksum = zlib.crc32(_as_numpy(leaf).tobytes(), checksum)
    return f"{checksum:08x}"


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    return dict(zip(leaf_paths(tree), map(_as_numpy, jax.tree.leaves(tree)), strict=True))


def _like(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the arrays in the structure of a pytree, random keys as keys."""
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(arrays[path]), impl=jax.random.key_impl(leaf))
        if _is_key(leaf)
        else jnp.asarray(arrays[path])
        for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _as_numpy(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

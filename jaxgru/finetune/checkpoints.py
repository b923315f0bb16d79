"""Checkpoints by Orbax: complete or not there, and refused where they are of another run."""

import os
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.finetune.trainable import leaf_paths
from jaxgru.optional import need

_KEPT = 2  # the newest, and the one before it
_TOLD = 3  # differences that an error names


class Checkpoints:
    """The checkpoints of one run in a folder.

    Orbax writes a checkpoint aside and moves it into place, so whatever stops a process leaves
    the last complete one as it was.

    Args:
        folder: where they are; made if missing.
        about: what the run is of, by name: another run's checkpoints are refused for what differs.

    Raises:
        ImportError: Orbax is not installed.
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: str | os.PathLike[str], about: dict[str, str]) -> None:
        self._orbax = need("orbax.checkpoint", "finetune", "keeping checkpoints")
        self._folder, self._about = Path(folder).absolute(), about
        self._folder.mkdir(parents=True, exist_ok=True)
        options = self._orbax.CheckpointManagerOptions(
            max_to_keep=_KEPT,
            # The next step waits: what is not complete when the process ends is lost anyway.
            enable_async_checkpointing=False,
        )
        self._manager = self._orbax.CheckpointManager(self._folder, options=options)

    def save(self, step: int, arrays: Any, notes: dict[str, Any]) -> None:
        """Write the checkpoint of a step.

        Args:
            step: how many steps are done.
            arrays: a pytree of arrays.
            notes: what JSON can hold.

        Raises:
            OSError: it cannot be written; the checkpoint before it is as it was.
        """
        args = self._orbax.args
        try:
            self._manager.save(
                step,
                args=args.Composite(
                    arrays=args.StandardSave(_by_path(arrays)),
                    notes=args.JsonSave({"about": self._about, **notes}),
                ),
            )
        # Orbax and TensorStore have no error of their own for a disk that is full.
        except Exception as error:
            before = self._manager.latest_step()
            intact = "there is none before it" if before is None else f"that of {before} is intact"
            raise OSError(
                f"{self._folder}: the checkpoint of step {step} could not be written, {intact}: "
                f"{_in_one_line(error)}"
            ) from error

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]] | None:
        """Return the arrays and the notes of the last checkpoint, None if there is none.

        Args:
            like: a pytree of the structure, the shapes and the types of the arrays.

        Raises:
            ValueError: the checkpoint is of another run; what differs is named.
            OSError: it cannot be read.
        """
        step = self._manager.latest_step()
        if step is None:
            return None
        args = self._orbax.args
        notes = self._read(step, args.Composite(notes=args.JsonRestore())).notes
        self._refuse_other_runs(step, notes.pop("about"))
        flat = _by_path(like)
        arrays = self._read(step, args.Composite(arrays=args.StandardRestore(flat))).arrays
        return _like(like, arrays), notes

    def close(self) -> None:
        """Let go of the folder."""
        self._manager.close()

    def _read(self, step: int, args: Any) -> Any:
        try:
            return self._manager.restore(step, args=args)
        except Exception as error:
            raise OSError(
                f"{self._folder}: the checkpoint of step {step} cannot be read: "
                f"{_in_one_line(error)}"
            ) from error

    def _refuse_other_runs(self, step: int, there: dict[str, str]) -> None:
        here = self._about
        names = [name for name in (there | here) if there.get(name) != here.get(name)]
        if not names:
            return
        told = [
            f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here"
            for name in names[:_TOLD]
        ]
        more = f"; {len(names) - _TOLD} more differ" if len(names) > _TOLD else ""
        raise ValueError(
            f"{self._folder}: its checkpoint of step {step} is of another run: "
            f"{'; '.join(told)}{more}"
        )


def described(tree: Any) -> dict[str, str]:
    """Return type and shape of every array of a pytree, by its path."""
    return {
        path: f"{leaf.dtype} {leaf.shape}"
        for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)
    }


def fingerprint(tree: Any) -> str:
    """Return a checksum of the values of all arrays of a pytree."""
    checksum = 0
    for leaf in jax.tree.leaves(tree):
        checksum = zlib.crc32(_numbers(leaf).tobytes(), checksum)
    return f"{checksum:08x}"


def _by_path(tree: Any) -> dict[str, np.ndarray]:
    return dict(zip(leaf_paths(tree), map(_numbers, jax.tree.leaves(tree)), strict=True))


def _like(tree: Any, arrays: dict[str, np.ndarray]) -> Any:
    """Return the arrays in the structure of a pytree, keys as keys."""
    leaves = [
        jax.random.wrap_key_data(jnp.asarray(arrays[path]), impl=jax.random.key_impl(leaf))
        if _is_key(leaf)
        else jnp.asarray(arrays[path])
        for path, leaf in zip(leaf_paths(tree), jax.tree.leaves(tree), strict=True)
    ]
    return jax.tree.unflatten(jax.tree.structure(tree), leaves)


def _numbers(leaf: Any) -> np.ndarray:
    return np.asarray(jax.random.key_data(leaf) if _is_key(leaf) else leaf)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))


def _in_one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"

"""Files of torch.save, in both of its formats, and plain pickles."""

import argparse
import collections
import datetime
import io
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np

from fuzz.seeds.arrays import torch_names
from fuzz.seeds.repeatable import repeatable_pickles


def torch_zip() -> tuple[bytes, ...]:
    """Return checkpoints in the zip format: a state dict, and one nested among other objects."""
    return tuple(_saved(content, zipped=True) for content in _checkpoints(_tensors))


def torch_legacy() -> tuple[bytes, ...]:
    """Return the same checkpoints in the format of PyTorch 1.5 and older, a stream of pickles."""
    checkpoints = _checkpoints(_views)
    return tuple(repeatable_pickles(_saved(content, zipped=False)) for content in checkpoints)


def torch_objects() -> tuple[bytes, ...]:
    """Return checkpoints with objects of other classes, and a whole module, in other protocols."""
    import torch

    torch.manual_seed(8)
    # Names that are first set in a process are written in another way than later ones.
    for _ in range(2):
        module = torch.nn.Sequential(torch.nn.GRU(2, 3, bidirectional=True), torch.nn.Linear(6, 1))
        torch.manual_seed(8)
    beside = {
        "args": argparse.Namespace(lr=0.1, at=datetime.date(2024, 1, 1)),
        "by name": collections.defaultdict(list, {"gru": module[0].state_dict()}),
    }
    return _saved(module, zipped=True, pickle_protocol=4), _saved(beside, zipped=True)


def pickles() -> tuple[bytes, ...]:
    """Return plain pickles of a state dict, of arrays, and of arrays of JAX."""
    import jax.numpy as jnp

    rng = np.random.default_rng(11)
    arrays = torch_names(rng, "gru.", [""])
    fortran = {name: np.asfortranarray(array.astype(">f4")) for name, array in arrays.items()}
    of_jax = {name: jnp.asarray(array) for name, array in arrays.items()}
    files = [pickle.dumps(content, 2) for content in (_tensors(arrays), arrays)]
    files += [pickle.dumps(content, 5) for content in ({"a": fortran}, of_jax)]
    return tuple(map(repeatable_pickles, files))


def _checkpoints(tensors: Callable[[dict[str, Any]], dict[str, Any]]) -> tuple[Any, ...]:
    rng = np.random.default_rng(8)
    nested = {
        "epoch": 3,
        "model": tensors(torch_names(rng, "rnn.", ["", "_reverse"], dtype=np.float16)),
        "optimizer": {"state": {0: {"step": 1.0}}, "param_groups": [{"lr": 1e-3}]},
    }
    return tensors(torch_names(rng, "", [""])), nested


def _tensors(arrays: dict[str, Any]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _views(arrays: dict[str, Any]) -> dict[str, Any]:
    """Return tensors of one storage, as in cuDNN; the order of several storages varies."""
    import torch

    flat = torch.from_numpy(np.concatenate([array.ravel() for array in arrays.values()]))
    pieces = torch.split(flat, [array.size for array in arrays.values()])
    return {
        name: piece.view(array.shape)
        for (name, array), piece in zip(arrays.items(), pieces, strict=True)
    }


def _saved(content: Any, *, zipped: bool, **options: Any) -> bytes:
    import torch

    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=zipped, **options)
    return file.getvalue()

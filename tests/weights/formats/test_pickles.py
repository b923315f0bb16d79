"""Pickles of arrays and of any objects, by Python itself and joblib, against the arrays in them.

What PyTorch writes is in ``test_torch_files``, and what attacks in ``hostile.pickles``.
"""

import argparse
import collections
import datetime
import pathlib
import pickle

import golden_keras
import golden_keras_legacy
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from equal import assert_same
from hostile.sound import torch_arrays

import jaxgru
from jaxgru._weights.io import read_all

PROTOCOLS = [2, 3, 4, 5]
ARRAYS = torch_arrays()
NET = golden_keras_legacy.random_net(0, reset_after=True)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.pkl"


class Module:
    """An object that keeps arrays and others of its kind as a module of PyTorch does."""

    def __init__(self, arrays=(), **modules):
        self.training = True
        self._parameters = collections.OrderedDict(arrays)
        self._modules = modules


class Config(dict):
    """A dict of one's own, with slots beside its items."""

    __slots__ = ("parent",)


class Runs:
    """What runs a program wherever Python would let an object do so."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,), {"a": 1}, iter([1]), iter([("a", 1)])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_objects_of_any_class(path, tmp_path, protocol):
    """They are passed over, or into: none is made, and nothing is run."""
    config = Config(model=ARRAYS)
    config.parent = argparse.Namespace(config=config, itself=[config])
    content = {
        "args": argparse.Namespace(folder=pathlib.Path("runs"), at=datetime.datetime(2024, 1, 1)),
        "runs": Runs(tmp_path / "canary"),
        "by module": collections.defaultdict(list, {"gru": collections.OrderedDict(ARRAYS)}),
        "config": config,
        "others": [{1, 2}, frozenset({3}), bytearray(b"x"), 1j, Module, 10**400, np.array([None])],
        "net": Module(encoder=Module(gru=Module(ARRAYS)), head=Module({"weight": np.ones(3)})),
    }
    names = ["by module.gru", "config.model", "net.encoder.gru"]
    _assert_read(path, content, protocol, names)
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_arrays_of_every_kind(path, protocol):
    kinds = {
        "numpy": lambda array: array,
        "fortran": np.asfortranarray,
        "big-endian": lambda array: array.astype(">f4"),
        "jax": jnp.asarray,
    }
    content = {kind: {n: make(a) for n, a in ARRAYS.items()} for kind, make in kinds.items()}
    _assert_read(path, content | {"step": np.int64(3)}, protocol, list(kinds))


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float64])
def test_types(path, dtype):
    arrays = {name: array.astype(dtype) for name, array in ARRAYS.items()}
    for protocol in (2, 5):
        _assert_read(path, {"gru": arrays}, protocol, ["gru"], dtype)


@pytest.mark.live
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_files_of_joblib(path, protocol):
    joblib = pytest.importorskip("joblib")
    fortran = {name: np.asfortranarray(array) for name, array in ARRAYS.items()}
    joblib.dump({"names": ["a"], "gru": ARRAYS, "other": fortran}, path, protocol=protocol)
    _assert_gathered(path, ["gru", "other"])
    joblib.dump({"gru": ARRAYS, "names": np.array([None])}, path, protocol=protocol)
    with pytest.raises(jaxgru.WeightsError, match="an array of joblib's of no type of number"):
        jaxgru.load(path)


def _assert_read(path, content, protocol, names, dtype=np.float32):
    path.write_bytes(pickle.dumps(content, protocol))
    _assert_gathered(path, names, dtype)


def _assert_gathered(path, names, dtype=np.float32):
    """Assert that these GRUs are in a file, each with the arrays in the order z, r, n."""
    gathered = read_all(path).gathered
    assert list(gathered) == names
    for found in gathered.values():
        read = (found.net.kernel, found.net.recurrent_kernel, found.net.bias)
        for ours, array in zip((*read, found.net.recurrent_bias), ARRAYS.values(), strict=True):
            reset, update, candidate = np.split(array.astype(dtype), 3)
            expected = np.concatenate([update, reset, candidate]).T
            np.testing.assert_array_equal(ours, expected, strict=True)


def test_two_models_of_keras_in_one_pickle(path):
    """A pickled model of Keras holds its file: of two, neither is chosen."""
    arrays = {"layers/gru/cell": list(golden_keras_legacy.arrays(NET).values())}
    golden_keras.write_keras(path, [golden_keras.gru_config("g")], arrays)
    archive, other = path.read_bytes(), path.read_bytes()  # else the second refers to the first
    path.write_bytes(pickle.dumps([archive]))
    assert_same(jaxgru.load(path), NET)
    path.write_bytes(pickle.dumps([archive, other]))
    with pytest.raises(jaxgru.WeightsError, match="holds 2 models of Keras: expected one"):
        jaxgru.load(path)

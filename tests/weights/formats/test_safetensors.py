"""Our own safetensors files, beside what is in test_round_trip.py."""

from typing import NamedTuple

import cases
import jax
import nets
import numpy as np
import pytest

import jaxgru

safetensors = pytest.importorskip("safetensors.numpy")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.safetensors"


def test_a_named_tuple_comes_back_as_a_tuple(key, path):
    class Stack(NamedTuple):
        first: jaxgru.GRUParams

    jaxgru.save(Stack(cases.random_params(key, 3, 2)), path)
    assert type(jaxgru.load(path)) is tuple


def test_the_library_reads_the_same_arrays_by_the_names_of_their_places(key, path):
    net = nets.random_net(key, "backward among others")
    jaxgru.save(net, path)
    arrays = safetensors.load_file(path)
    np.testing.assert_array_equal(arrays["0.kernel"], net[0].kernel)
    np.testing.assert_array_equal(arrays["1.net.1.forward.bias"], net[1].net[1].forward.bias)
    assert len(arrays) == len(jax.tree.leaves(net))


def test_what_is_in_the_file_cannot_be_assumed(key, path):
    jaxgru.save(cases.random_params(key, 3, 2), path)
    with pytest.raises(jaxgru.WeightsError, match="assume has activation: expected nothing"):
        jaxgru.load(path, assume={"activation": "relu"})

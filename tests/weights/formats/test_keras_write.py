"""Nets written as Keras models and as their weights, read by Keras and by jaxgru.

Every variant of a layer is written and computed by Keras in test_formats_tables.py; what no file
can hold is in tests/weights/libraries/test_holders.py.
"""

import dataclasses

import cases
import jax
import live_keras
import nets
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru._weights.io import read_all

pytestmark = pytest.mark.live


@pytest.mark.parametrize("ending", [".keras", ".weights.h5"])
def test_biases_and_stacks_come_back(key, tmp_path, ending):
    pytest.importorskip("keras")
    path = tmp_path / f"model{ending}"
    zeros = np.zeros(12, np.float32)
    for biases in ("no bias", "input bias", "recurrent bias"):
        net = cases.random_params(key, 3, 4, biases=biases)
        jaxgru.save(net, path)
        # Keras has both biases or none: one that is not there comes back as zeros.
        if biases != "no bias":
            names = ("bias", "recurrent_bias")
            absent = {name: zeros for name in names if getattr(net, name) is None}
            net = dataclasses.replace(net, **absent)
        assert_same(jax.tree.map(np.asarray, _nets(path)["gru"]), jax.tree.map(np.asarray, net))

    keys = jax.random.split(key, 4)
    sizes = [(2, 3), (3, 3), (3, 4), (4, 3)]
    layers = [cases.random_params(k, *size) for k, size in zip(keys, sizes, strict=True)]
    both = nets.random_net(key, "concat")
    # A stack within a stack is no other net than one stack.
    jaxgru.save([*layers, (both,)], path)
    found = _nets(path)
    in_order = ["gru", "gru_1", "gru_2", "gru_3", "bidirectional"]
    if ending == ".keras":
        assert_same(found["gru"], (*layers, both))
    else:
        assert_same([found.pop(name) for name in in_order], [*layers, both])
        assert not found


@pytest.mark.usefixtures("default_promotion")
def test_a_model_takes_its_weights(key, tmp_path):
    keras = pytest.importorskip("keras")
    net = nets.random_net(key, "concat")
    jaxgru.save(net, tmp_path / "net.weights.h5")
    jaxgru.save(jax.tree.map(jax.numpy.zeros_like, net), tmp_path / "zeros.keras")
    model = keras.models.load_model(tmp_path / "zeros.keras")
    model.load_weights(tmp_path / "net.weights.h5")
    np.testing.assert_array_equal(live_keras.weights(model)[0], net.forward.kernel)
    # A model made anew from the same configuration is drawn as Keras draws.
    anew = keras.models.clone_model(model)
    assert np.ptp(live_keras.weights(anew)[1]) > 0


def _nets(path):
    return {name: found.net for name, found in read_all(path).gathered.items()}

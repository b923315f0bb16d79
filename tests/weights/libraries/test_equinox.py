"""Equinox's own cell, in memory and in files of its arrays, against ours; and back."""

import cases
import jax
import live_equinox
import numpy as np
import pytest

import jaxgru

eqx = pytest.importorskip("equinox")

# Equinox is written for JAX's own promotion.
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

# float32 on both sides and states within 1: each step rounds at 6e-8 and forgets what is behind
# it, so that 50 steps differ by some roundings more than one does.
_ATOL = 2e-6


@pytest.mark.parametrize("variant", live_equinox.variants())
def test_what_is_exported_is_what_was_imported(key, variant):
    cell = live_equinox.build(variant, key)
    back = jaxgru.to_equinox(jaxgru.from_equinox(cell))
    assert eqx.tree_equal(back, cell)


@pytest.mark.parametrize("variant", live_equinox.variants())
@pytest.mark.parametrize("place", ["encoder/cell/", ".encoder.cells[0].", ""])
def test_files_hold_what_memory_holds(key, tmp_path, place, variant):
    cell = live_equinox.build(variant, key)
    np.savez(tmp_path / "x.npz", **live_equinox.arrays(cell, place))
    net = jaxgru.load(tmp_path / "x.npz")
    jax.tree.map(np.testing.assert_array_equal, net, jaxgru.from_equinox(cell))


def test_leaves_without_names_are_refused_with_what_to_do(key, tmp_path):
    cell = live_equinox.build("cell", key)
    with open(tmp_path / "x.eqx", "wb") as file:
        eqx.tree_serialise_leaves(file, cell)
    with open(tmp_path / "with hyperparameters.eqx", "wb") as file:
        file.write(b'{"hidden_size": 4}\n')
        eqx.tree_serialise_leaves(file, cell)
    for path in tmp_path.iterdir():
        with pytest.raises(jaxgru.WeightsError, match=r"no names, .*jaxgru\.from_equinox"):
            jaxgru.load(path)


def test_several_are_asked_for_by_their_place(key):
    cells = [live_equinox.build("cell", jax.random.fold_in(key, i)) for i in range(2)]
    model = {"cells": cells, "readout": eqx.nn.Linear(4, 2, key=key)}
    with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: .* 'cells\.0', 'cells\.1'"):
        jaxgru.from_equinox(model)
    found = jaxgru.from_equinox(model, layer="cells.1")
    np.testing.assert_array_equal(found.bias[8:], cells[1].bias[8:])
    with pytest.raises(jaxgru.WeightsError, match=r"a list has no equinox\.nn\.GRUCell"):
        jaxgru.from_equinox([model["readout"]])


def test_cells_that_vmap_made_several_of_are_refused(key):
    several = eqx.filter_vmap(lambda key: eqx.nn.GRUCell(3, 4, key=key))(jax.random.split(key, 2))
    with pytest.raises(jaxgru.WeightsError, match=r"weight_hh has shape \(2, 12, 4\): exp"):
        jaxgru.from_equinox(several)


_REFUSED = {
    "two biases": ({"biases": "both biases"}, "both non-zero in 8 of 8 places"),
    "reset before": ({"reset_after": False}, "reset_after is False: expected True"),
    "activation": ({"activation": "relu"}, "activation is 'relu': expected 'tanh'"),
    "clip": ({"clip": 1.0}, r"clip is 1\.0: expected None"),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_equinox_cannot_hold_is_refused(key, name):
    variant, reason = _REFUSED[name]
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.to_equinox(cases.random_params(key, 3, 4, **({"biases": "input bias"} | variant)))
    params = cases.random_params(key, 3, 4, biases="recurrent bias")
    with pytest.raises(
        jaxgru.WeightsError, match="net is a Backward: expected a GRUParams, as Equinox"
    ):
        jaxgru.to_equinox(jaxgru.Backward(params))

"""Equinox's cell in memory, and files without names; its numbers are in test_formats_tables.py."""

import jax
import live_equinox
import numpy as np
import pytest
from equal import assert_same

import jaxgru

# Equinox is written for JAX's own promotion.
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]


@pytest.fixture
def eqx():
    return pytest.importorskip("equinox")


def test_there_and_back_and_by_every_name(eqx, key, tmp_path):
    for variant in live_equinox.variants():
        cell = live_equinox.build(variant, key)
        net = jaxgru.from_equinox(cell)
        assert eqx.tree_equal(jaxgru.to_equinox(net), cell)
        for place in ("encoder/cell/", ".encoder.cells[0].", ""):
            np.savez(tmp_path / "x.npz", **live_equinox.arrays(cell, place))
            assert_same(jaxgru.load(tmp_path / "x.npz"), net)


def test_several_are_asked_for_by_their_place(eqx, key):
    cells = [live_equinox.build("cell", k) for k in jax.random.split(key)]
    model = {"cells": cells, "readout": eqx.nn.Linear(4, 2, key=key)}
    with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: .* 'cells\.0', 'cells\.1'"):
        jaxgru.from_equinox(model)
    found = jaxgru.from_equinox(model, layer="cells.1")
    np.testing.assert_array_equal(found.bias[8:], cells[1].bias[8:])
    with pytest.raises(jaxgru.WeightsError, match=r"a list has no equinox\.nn\.GRUCell"):
        jaxgru.from_equinox([model["readout"]])


def test_cells_that_vmap_made_several_of_are_stacked(eqx, key):
    keys = jax.random.split(key, 2)
    several = eqx.filter_vmap(lambda key: eqx.nn.GRUCell(3, 4, key=key))(keys)
    with pytest.warns(jaxgru.WeightsWarning, match="its arrays are stacked over 2"):
        stacked = jaxgru.from_equinox(several)
    for i, own in enumerate(keys):
        one = jaxgru.from_equinox(eqx.nn.GRUCell(3, 4, key=own))
        assert_same(jax.tree.map(lambda array, i=i: array[i], stacked), one)

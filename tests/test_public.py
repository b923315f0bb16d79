"""What pickles name, and the modules of the version before, which are aliases for a release."""

import importlib
import pickle
from typing import Any, NamedTuple

import cases
import chex
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru import _public

finetune = pytest.importorskip("jaxgru.finetune")

# Protocol 2 writes the module and the name of a class as two lines, without their lengths.
_BEFORE = {
    b"cjaxgru\nGRUParams\n": b"cjaxgru.params\nGRUParams\n",
    b"cjaxgru\nBidirectional\n": b"cjaxgru.net\nBidirectional\n",
    b"cjaxgru\nBackward\n": b"cjaxgru.net\nBackward\n",
    b"cjaxgru.finetune\nLinearReadout\n": b"cjaxgru.finetune.model\nLinearReadout\n",
}


def _model(key):
    layer = jax.tree.map(np.asarray, cases.random_params(key, 3, 4))
    net = (jaxgru.Bidirectional(layer, layer, "sum"), jaxgru.Backward(layer))
    return net, finetune.LinearReadout(np.ones((4, 2)), np.ones(2))


def test_pickles_name_public_modules(key):
    content = pickle.dumps(_model(key), 2)
    assert all(name in content for name in _BEFORE)
    assert b"jaxgru._" not in content


def test_pickles_of_the_version_before_load(key):
    model = _model(key)
    content = pickle.dumps(model, 2)
    for now, before in _BEFORE.items():
        content = content.replace(now, before)
    with pytest.warns(DeprecationWarning, match="is deprecated: use jaxgru") as warned:
        loaded = pickle.loads(content)
    chex.assert_trees_all_equal(loaded, model)
    assert {str(each.message) for each in warned} >= {
        "jaxgru.params.GRUParams is deprecated: use jaxgru.GRUParams",
        "jaxgru.finetune.model.LinearReadout is deprecated: use jaxgru.finetune.LinearReadout",
    }


class _Before(NamedTuple):
    net: Any
    readout: Any = None


@pytest.mark.parametrize("place", [b"jaxgru.finetune", b"jaxgru.finetune.model"])
def test_a_model_of_the_version_before_loads_as_one_of_now(key, place):
    net, readout = _model(key)
    content = pickle.dumps(_Before(net, readout), 2)
    content = content.replace(f"c{__name__}\n_Before\n".encode(), b"c" + place + b"\nModel\n")
    with pytest.warns(DeprecationWarning, match="Model.* is deprecated") as warned:
        loaded = pickle.loads(content)
    assert "use jaxgru.model.Model(net=net, readout=readout)" in str(warned[-1].message)
    now = jaxgru.model.Model(net=net, readout=readout)
    chex.assert_trees_all_equal(loaded, now)
    chex.assert_trees_all_equal(pickle.loads(pickle.dumps(now)), now)


@pytest.mark.parametrize(
    ("module", "name", "use"),
    [
        ("jaxgru.net", "Net", "use jaxgru.Net"),
        ("jaxgru.weights", "WeightsError", "use jaxgru.WeightsError"),
        ("jaxgru.weights", "Equations", "jaxgru._weights.io is private"),
        ("jaxgru.export", "Signature", "use jaxgru.Signature"),
        ("jaxgru.finetune.fit", "Result", "use jaxgru.finetune.Result"),
    ],
)
def test_a_module_of_the_version_before(module, name, use):
    alias = importlib.import_module(module)
    with pytest.warns(
        DeprecationWarning, match=f"^{module}.{name} is deprecated: {use}$"
    ) as warned:
        getattr(alias, name)
    assert warned[0].filename == __file__


def test_every_alias_has_a_home_that_exists():
    for places in _public._MOVED.values():
        assert any(importlib.util.find_spec(place) for place in places)


def test_functions_are_not_hidden_and_other_names_are_missing():
    importlib.import_module("jaxgru.export")
    assert callable(jaxgru.export)
    assert callable(finetune.fit)
    with pytest.raises(AttributeError, match=r"jaxgru.params.no_such_name was removed"):
        _ = importlib.import_module("jaxgru.params").no_such_name
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("jaxgru.weights.no_such_module")

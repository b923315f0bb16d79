"""Flax's layers in memory and back; their numbers and files are in test_formats_tables.py."""

import dataclasses
import warnings

import cases
import jax
import jax.numpy as jnp
import live_flax
import numpy as np
import pytest
from equal import assert_same

import jaxgru

# Flax is written for JAX's own promotion.
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

# float32 on both sides and states within 1: each step rounds at 6e-8 and forgets what is before
# it, so that several steps differ by some roundings more than one does.
_ATOL = 2e-6
_INPUTS, _UNITS = live_flax.INPUTS, live_flax.UNITS


@pytest.fixture
def nnx():
    return pytest.importorskip("flax.nnx")


@pytest.mark.parametrize("variant", [v for v in live_flax.variants() if v.startswith("nnx")])
def test_a_module_of_nnx_has_itself_what_its_parameters_have_not(nnx, key, variant):
    model = live_flax.build(variant, key)
    assume = live_flax.assume(variant)
    # A merge of one's own is a function without a name of ours; the rest is known.
    merge = {name: value for name, value in assume.items() if name == "merge"}
    net = jaxgru.from_flax(model.module, assume=merge)  # without a warning
    with warnings.catch_warnings(action="ignore"):
        assert_same(net, jaxgru.from_flax(model.params, assume=assume))


@pytest.mark.parametrize("kind", ["layer", "both directions", "stack"])
@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_what_is_exported_is_loaded_strictly_and_comes_back(nnx, key, api, kind):
    net = _exportable(key, kind, candidate_bias=api == "linen")
    params = jaxgru.to_flax(net, api=api)
    # A cell takes a state and one step.
    xs = cases.random_inputs(key, (2, 1 if kind == "layer" else 5, _INPUTS))
    arguments = (jnp.zeros((2, _UNITS)), xs[:, 0]) if kind == "layer" else (xs,)
    if api == "linen":
        module = _linen_module(kind)
        needed = jax.eval_shape(module.init, jax.random.key(0), *arguments)
        assert jax.tree.structure(needed) == jax.tree.structure(params)
        found = module.apply(params, *arguments)
    else:
        module = _nnx_module(nnx, kind)
        state = nnx.state(module, nnx.Param)
        nnx.replace_by_pure_dict(state, params)  # refuses a name that the state has not
        assert jax.tree.structure(nnx.to_pure_dict(state)) == jax.tree.structure(params)
        nnx.update(module, state)
        found = module(*arguments)
    found = found[1][:, None] if kind == "layer" else found
    np.testing.assert_allclose(found, jaxgru.gru(net, xs)[0], rtol=0, atol=_ATOL)

    place = {"linen": "params/layers_1/cell", "nnx": "layers/1/cell"}[api]
    with pytest.warns(
        jaxgru.WeightsWarning, match="does not specify activation, recurrent_activation"
    ):
        back = jaxgru.from_flax(params, layer=place if kind == "stack" else None)
    assert_same(back, net[1] if kind == "stack" else net)


def test_other_cells_are_passed_over_and_functions_of_ones_own_refused(nnx):
    rngs = nnx.Rngs(0)
    for cell in (nnx.SimpleCell, nnx.OptimizedLSTMCell):
        with pytest.raises(jaxgru.WeightsError, match="has no GRU of Flax"):
            jaxgru.from_flax(nnx.state(cell(3, 4, rngs=rngs), nnx.Param))
    own = nnx.GRUCell(3, 4, rngs=rngs, activation_fn=jax.nn.gelu)
    with pytest.raises(
        jaxgru.WeightsError, match="activation_fn is 'gelu', a function that jaxgru"
    ):
        jaxgru.from_flax(own)
    assert jaxgru.from_flax(own, assume={"activation": "gelu"}).activation == "gelu"
    leaky = nnx.GRUCell(3, 4, rngs=rngs, activation_fn=jax.nn.leaky_relu)  # a slope of 0.01
    with pytest.raises(
        jaxgru.WeightsError,
        match=r"activation_fn is .*leaky_relu.*, a function that jaxgru does not know",
    ):
        jaxgru.from_flax(leaky)
    cell = nnx.GRUCell(3, 4, rngs=rngs)
    with pytest.raises(jaxgru.WeightsError, match="recurrent_activation is 'sigmoid' in the file"):
        jaxgru.from_flax(cell, assume={"recurrent_activation": "hard_sigmoid"})


def test_what_else_a_module_has_is_noted(nnx):
    half = nnx.GRUCell(3, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    with pytest.warns(jaxgru.WeightsWarning, match="computes in bfloat16: jaxgru in its parame"):
        jaxgru.from_flax(half)
    layer = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), reverse=True)
    with pytest.warns(jaxgru.WeightsWarning, match="last step first"):
        assert isinstance(jaxgru.from_flax(layer), jaxgru.Backward)


def test_several_are_asked_for_by_name(nnx, key):
    cell = live_flax.build("linen RNN", key).params["params"]["cell"]
    tree = {"params": {"gru_10": cell, "gru_2": cell}, "opt_state": {"gru_2": cell}}
    with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: .* 'params/gru_10', 'params/gru_2'"):
        jaxgru.from_flax(tree)
    with pytest.warns(jaxgru.WeightsWarning, match="is assumed|are assumed"):
        jaxgru.from_flax(tree, layer="params/gru_2")


@pytest.mark.parametrize("source", [None, 3, [1]])
def test_what_is_no_flax_is_refused(nnx, source):
    with pytest.raises(
        jaxgru.WeightsError, match=r"has no GRU of Flax: expected the variables of a"
    ):
        jaxgru.from_flax(source)


def test_an_unknown_api(key):
    with pytest.raises(ValueError, match="api is 'flax': expected 'linen' or 'nnx'"):
        jaxgru.to_flax(cases.random_params(key, 3, 4), api="flax")


def _exportable(key, kind, *, candidate_bias):
    """Return a net that Flax can hold: of the two biases of z and r one is zero."""

    def layer(number, inputs):
        params = cases.random_params(jax.random.fold_in(key, number), inputs, _UNITS)
        recurrent_bias = params.recurrent_bias.at[: 2 * _UNITS].set(0) if candidate_bias else None
        return dataclasses.replace(params, recurrent_bias=recurrent_bias)

    if kind == "layer":
        return layer(0, _INPUTS)
    both = jaxgru.Bidirectional(layer(0, _INPUTS), layer(1, _INPUTS))
    return both if kind == "both directions" else (both, layer(2, 2 * _UNITS))


def _linen_module(kind):
    from flax import linen as nn

    rnns = [nn.RNN(nn.GRUCell(_UNITS)) for _ in range(3)]
    if kind == "layer":
        return nn.GRUCell(_UNITS)
    both = nn.Bidirectional(*rnns[:2])
    return both if kind == "both directions" else nn.Sequential([both, rnns[2]])


def _nnx_module(nnx, kind):
    sizes = (_INPUTS, _INPUTS, 2 * _UNITS)
    cells = [nnx.GRUCell(size, _UNITS, rngs=nnx.Rngs(0)) for size in sizes]
    if kind == "layer":
        return cells[0]
    both = nnx.Bidirectional(nnx.RNN(cells[0]), nnx.RNN(cells[1]))
    return both if kind == "both directions" else nnx.Sequential(both, nnx.RNN(cells[2]))

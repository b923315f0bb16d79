"""Flax's own layers, in memory and through its MessagePack and npz, against ours; and back."""

import dataclasses
import warnings

import cases
import jax
import jax.numpy as jnp
import live_flax
import live_params
import numpy as np
import pytest

import jaxgru

pytest.importorskip("flax")

# Flax is written for JAX's own promotion.
pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

# float32 on both sides and states within 1 (softsign and tanh): each step rounds at 6e-8 and
# forgets what is behind it, so that 50 steps differ by some roundings more than one does.
_ATOL = 2e-6
# relu's states grow beyond 1, and the roundings with them.
_RTOL = 2e-6


@pytest.mark.parametrize("variant", [v for v in live_flax.variants() if v.startswith("nnx")])
def test_a_module_of_nnx_says_itself_what_its_parameters_do_not(key, variant):
    model = live_flax.build(variant, key)
    assume = live_flax.assume(variant)
    # A merge of one's own is a function that has no name to know it by; the rest is known.
    merge = {name: value for name, value in assume.items() if name == "merge"}
    net = jaxgru.from_flax(model.module, assume=merge)  # without a warning
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jaxgru.WeightsWarning)
        _assert_equal(net, jaxgru.from_flax(model.params, assume=assume))


@pytest.mark.parametrize("variant", ["linen cell", "linen Bidirectional", "nnx RNN"])
def test_files_hold_what_memory_holds(key, tmp_path, variant):
    params = live_flax.build(variant, key).params
    for name in ("x.msgpack", "x.npz", "x.safetensors"):
        live_params.write(params, tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jaxgru.WeightsWarning)
        net = jaxgru.from_flax(params)
        for path in tmp_path.iterdir():
            _assert_equal(jaxgru.load(path), net)


@pytest.mark.parametrize("kind", ["layer", "both directions", "stack"])
@pytest.mark.parametrize("api", ["linen", "nnx"])
def test_what_is_exported_is_loaded_strictly_and_comes_back(key, api, kind):
    net = _exportable(key, kind, candidate_bias=api == "linen")
    params = jaxgru.to_flax(net, api=api)
    # A cell takes a state and one step.
    xs = cases.random_inputs(key, (2, 1 if kind == "layer" else 5, live_flax.INPUTS))
    arguments = (jnp.zeros((2, live_flax.UNITS)), xs[:, 0]) if kind == "layer" else (xs,)
    if api == "linen":
        module = _linen_module(kind)
        needed = jax.eval_shape(module.init, jax.random.key(0), *arguments)
        assert jax.tree.structure(needed) == jax.tree.structure(params)
        found = module.apply(params, *arguments)
    else:
        from flax import nnx

        module = _nnx_module(kind)
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
    _assert_equal(back, net[1] if kind == "stack" else net)


def test_state_side_biases_of_the_gates_move_only_without_rounding(key):
    net = cases.random_params(key, 3, 4)
    with pytest.raises(jaxgru.WeightsError, match=r"both non-zero in 8 of 8 places.*Flax's GRU"):
        jaxgru.to_flax(net)
    moved = dataclasses.replace(net, bias=None)
    params = jaxgru.to_flax(moved)["params"]
    np.testing.assert_array_equal(params["iz"]["bias"], net.recurrent_bias[:4])
    np.testing.assert_array_equal(params["ir"]["bias"], net.recurrent_bias[4:8])
    np.testing.assert_array_equal(params["hn"]["bias"], net.recurrent_bias[8:])
    np.testing.assert_array_equal(params["in"]["bias"], 0)


_REFUSED = {
    "reset before": ({"reset_after": False}, "linen", "reset_after is False: expected True"),
    "activation": ({"activation": "relu"}, "linen", "activation is 'relu': expected 'tanh'"),
    "clip": ({"clip": 1.0}, "nnx", r"clip is 1\.0: expected None"),
    "bias in the reset gate": (
        {"biases": "recurrent bias"},
        "nnx",
        "the recurrent bias of the candidate is non-zero in 4 of 4 units: expected 0",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_flax_cannot_hold_is_refused(key, name):
    variant, api, reason = _REFUSED[name]
    variant = {"biases": "input bias"} | variant
    with pytest.raises(jaxgru.WeightsError, match=reason):
        jaxgru.to_flax(cases.random_params(key, 3, 4, **variant), api=api)


def test_directions_that_flax_does_not_say_are_refused(key):
    params = cases.random_params(key, 3, 4, biases="input bias")
    for net in (jaxgru.Backward(params), jaxgru.Bidirectional(params, jaxgru.Backward(params))):
        with pytest.raises(jaxgru.WeightsError, match="is a Backward: expected a GRUParams"):
            jaxgru.to_flax(net)
    with pytest.raises(jaxgru.WeightsError, match="merge of net is 'sum': expected 'concat'"):
        jaxgru.to_flax(jaxgru.Bidirectional(params, params, "sum"))
    with pytest.raises(ValueError, match="api is 'flax': expected 'linen' or 'nnx'"):
        jaxgru.to_flax(params, api="flax")


def test_other_cells_are_passed_over_and_functions_of_ones_own_refused():
    from flax import nnx

    rngs = nnx.Rngs(0)
    for cell in (nnx.SimpleCell, nnx.OptimizedLSTMCell):
        module = cell(3, 4, rngs=rngs)
        with pytest.raises(jaxgru.WeightsError, match="holds no GRU of Flax"):
            jaxgru.from_flax(nnx.state(module, nnx.Param))
    own = nnx.GRUCell(3, 4, rngs=rngs, activation_fn=jax.nn.gelu)
    with pytest.raises(jaxgru.WeightsError, match="activation_fn is 'gelu', no function that jaxg"):
        jaxgru.from_flax(own)
    assert jaxgru.from_flax(own, assume={"activation": "gelu"}).activation == "gelu"
    leaky = nnx.GRUCell(3, 4, rngs=rngs, activation_fn=jax.nn.leaky_relu)  # a slope of 0.01
    with pytest.raises(jaxgru.WeightsError, match=r"activation_fn is .*leaky_relu.*, no function"):
        jaxgru.from_flax(leaky)
    with pytest.raises(jaxgru.WeightsError, match="recurrent_activation is 'sigmoid' in the file"):
        jaxgru.from_flax(
            nnx.GRUCell(3, 4, rngs=rngs), assume={"recurrent_activation": "hard_sigmoid"}
        )


def test_what_else_a_module_says_is_told():
    from flax import nnx

    half = nnx.GRUCell(3, 4, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    with pytest.warns(jaxgru.WeightsWarning, match="computes in bfloat16: jaxgru in its parame"):
        jaxgru.from_flax(half)
    layer = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), reverse=True)
    with pytest.warns(jaxgru.WeightsWarning, match="in the order of computing"):
        assert isinstance(jaxgru.from_flax(layer), jaxgru.Backward)


def test_several_are_asked_for_by_name(key):
    cell = live_flax.build("linen RNN", key).params["params"]["cell"]
    tree = {"params": {"gru_10": cell, "gru_2": cell}, "opt_state": {"gru_2": cell}}
    with pytest.raises(jaxgru.WeightsError, match=r"2 GRUs: .* 'params/gru_10', 'params/gru_2'"):
        jaxgru.from_flax(tree)
    with pytest.warns(jaxgru.WeightsWarning, match="is assumed|are assumed"):
        jaxgru.from_flax(tree, layer="params/gru_2")


@pytest.mark.parametrize("source", [None, 3, [1]])
def test_what_is_no_flax_is_refused(source):
    with pytest.raises(jaxgru.WeightsError, match=r"source is a .*: expected the variables of a"):
        jaxgru.from_flax(source)


def _exportable(key, kind, *, candidate_bias):
    """Return a net that Flax can hold: of the two biases of z and r one is zero."""
    inputs, units = live_flax.INPUTS, live_flax.UNITS

    def layer(number, inputs):
        params = cases.random_params(jax.random.fold_in(key, number), inputs, units)
        if not candidate_bias:
            return dataclasses.replace(params, recurrent_bias=None)
        return dataclasses.replace(
            params, recurrent_bias=params.recurrent_bias.at[: 2 * units].set(0)
        )

    if kind == "layer":
        return layer(0, inputs)
    both = jaxgru.Bidirectional(layer(0, inputs), layer(1, inputs))
    return both if kind == "both directions" else (both, layer(2, 2 * units))


def _linen_module(kind):
    from flax import linen as nn

    rnns = [nn.RNN(nn.GRUCell(live_flax.UNITS)) for _ in range(3)]
    if kind == "layer":
        return nn.GRUCell(live_flax.UNITS)
    both = nn.Bidirectional(*rnns[:2])
    return both if kind == "both directions" else nn.Sequential([both, rnns[2]])


def _nnx_module(kind):
    from flax import nnx

    inputs, units = live_flax.INPUTS, live_flax.UNITS
    cells = [nnx.GRUCell(n, units, rngs=nnx.Rngs(0)) for n in (inputs, inputs, 2 * units)]
    if kind == "layer":
        return cells[0]
    both = nnx.Bidirectional(nnx.RNN(cells[0]), nnx.RNN(cells[1]))
    return both if kind == "both directions" else nnx.Sequential(both, nnx.RNN(cells[2]))


def _assert_equal(one, other):
    """Equal to the bit and in kind; a bias that is None equals zeros, as Flax has no None."""
    assert type(one) is type(other)
    if isinstance(one, jaxgru.Bidirectional):
        assert one.merge == other.merge
        _assert_equal(one.forward, other.forward)
        _assert_equal(one.backward, other.backward)
        return
    if isinstance(one, jaxgru.Backward):
        _assert_equal(one.net, other.net)
        return
    for field in dataclasses.fields(one):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, jax.Array) and isinstance(right, jax.Array):
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
        elif field.name in ("bias", "recurrent_bias"):
            assert not any(np.any(bias) for bias in (left, right) if bias is not None)
        else:
            assert left == right

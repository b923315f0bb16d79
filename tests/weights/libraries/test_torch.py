"""PyTorch's modules and state dicts to nets and back, with PyTorch itself as the oracle."""

import doctest
import sys

import cases
import chex
import jax
import jax.numpy as jnp
import live_torch
import numpy as np
import pytest
from nets import random_net

import jaxgru

torch = pytest.importorskip("torch")

pytestmark = pytest.mark.live


def test_what_comes_out_belongs_to_nobody_else(key):
    module = live_torch.build("layer", key)
    net = jaxgru.from_torch(module)
    before = np.array(net.bias)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    np.testing.assert_array_equal(net.bias, before)

    state = jaxgru.to_torch(net)
    for tensor in state.values():
        tensor.zero_()
    np.testing.assert_array_equal(net.bias, before)


def test_a_module_with_several(key):
    module = torch.nn.Module()
    module.encoder = live_torch.build("bidirectional", key)
    module.lstm = torch.nn.LSTM(3, 4)
    module.decoders = torch.nn.ModuleList(live_torch.build("cell", key) for _ in range(11))

    with pytest.raises(jaxgru.WeightsError, match=r"it holds 12 GRUs: .*'decoders.2', .*s.10'; or"):
        jaxgru.from_torch(module)
    with pytest.raises(jaxgru.WeightsError, match="layer is 'lstm': expected one of 'encoder'"):
        jaxgru.from_torch(module, layer="lstm")
    found = jaxgru.from_torch(module, layer="encoder")
    chex.assert_trees_all_equal(found, jaxgru.from_torch(module.encoder))
    found = jaxgru.from_torch(module.state_dict(), layer="decoders.10")
    chex.assert_trees_all_equal(found, jaxgru.from_torch(module.decoders[10]))


def test_views_of_one_tensor(key):
    """As after flatten_parameters on a GPU; and a transposed one, as nobody saves but may."""
    module = live_torch.build("layer", key)
    state = module.state_dict()
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    pieces = flat.split([tensor.numel() for tensor in state.values()])
    views = {name: piece.view(state[name].shape) for name, piece in zip(state, pieces, strict=True)}
    views["weight_hh_l0"] = views["weight_hh_l0"].T.contiguous().T

    chex.assert_trees_all_equal(jaxgru.from_torch(views), jaxgru.from_torch(module))


def test_zeros_stand_for_a_missing_bias(key):
    net = (
        cases.random_params(key, 3, 4, biases="input bias"),
        cases.random_params(jax.random.fold_in(key, 1), 4, 4, biases="no bias"),
    )
    state = jaxgru.to_torch(net)
    torch.nn.GRU(3, 4, 2).load_state_dict(state, strict=True)
    assert not state["bias_hh_l0"].any()
    assert not state["bias_ih_l1"].any()
    back = jaxgru.from_torch(state)
    np.testing.assert_array_equal(back[0].bias, net[0].bias)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        ("reset before", r"reset_after is False: expected True, as torch.nn.GRU holds no other"),
        ("stack", r"reset_after of net\[1\] is False: expected True"),
        ("sum", r"merge of net is 'sum': expected 'concat'"),
        ("pair", r"merge of net is None: expected 'concat'"),
        (
            "stacks in both directions",
            r"net.forward is a tuple of 2: expected a GRUParams, as torch",
        ),
        ("bidirectional stack", r"merge of net\[1\] is 'sum'"),
    ],
)
def test_nets_that_pytorch_cannot_hold(key, net, message):
    with pytest.raises(jaxgru.WeightsError, match=message):
        jaxgru.to_torch(random_net(key, net))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation": "relu"}, "activation is 'relu': expected 'tanh'"),
        (
            {"recurrent_activation": "hard_sigmoid"},
            "recurrent_activation is 'hard_sigmoid': expected",
        ),
        ({"clip": 1.0}, "clip is 1.0: expected None"),
        ({"dtype": jnp.float8_e4m3fn}, "weight_ih_l0 has dtype float8_e4m3fn: expected"),
    ],
)
def test_layers_that_pytorch_cannot_hold(key, options, message):
    with pytest.raises(jaxgru.WeightsError, match=message):
        jaxgru.to_torch(jaxgru.init(key, 3, 4, **options))


def test_other_nets_that_pytorch_cannot_hold(key):
    layer = jaxgru.init(key, 3, 4)
    wide = jaxgru.init(key, 8, 4)
    for net, message in [
        (
            jaxgru.Backward(layer),
            "net is a Backward: expected a GRUParams or a Bidirectional of two",
        ),
        ((jaxgru.Bidirectional(layer, layer), wide), r"net\[1\] has 1 directions and net\[0\] 2"),
        ((layer, jaxgru.init(key, 4, 4, dtype=jnp.bfloat16)), "expected one dtype in a GRU"),
    ]:
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.to_torch(net)
    with pytest.raises(jaxgru.WeightsError, match="net has several layers: expected one, as torch"):
        jaxgru.to_torch((layer, jaxgru.init(key, 4, 4)), cell=True)
    with pytest.raises(ValueError, match=r"net\[1\] takes 3 inputs"):
        jaxgru.to_torch((layer, layer))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.to(torch.float8_e4m3fn), "weight_hh_l0 has dtype float8_e4m3fn: expected"),
        (lambda m: m.to(torch.complex64), "weight_hh_l0 has dtype complex64: expected"),
        (lambda m: m.to("meta"), "weight_hh_l0 has dtype float32 in a Tensor of layout torch.st"),
        (
            lambda m: torch.nn.utils.parametrizations.weight_norm(m, "weight_hh_l0"),
            "weight_hh_l0 is given by weight_hh_l0_original0, as by a weight norm",
        ),
        (
            lambda m: torch.nn.utils.parametrizations.spectral_norm(m, "weight_ih_l0"),
            "weight_ih_l0 is given by weight_ih_l0_original, as by a weight norm",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_weights_that_are_no_plain_numbers(key, change, message):
    module = live_torch.build("layer", key)
    with pytest.raises(jaxgru.WeightsError, match=f"^{message}"):
        jaxgru.from_torch(change(module))


def test_sources_without_a_gru():
    with pytest.raises(jaxgru.WeightsError, match="source is a list: expected a torch"):
        jaxgru.from_torch([])
    with pytest.raises(
        jaxgru.WeightsError, match=r"no GRU is among its 4 arrays .* an LSTM called"
    ):
        jaxgru.from_torch(torch.nn.LSTM(3, 4))
    with pytest.raises(jaxgru.WeightsError, match="no GRU is among its 0 arrays"):
        jaxgru.from_torch({"model": {}, 5: torch.zeros(3)})
    message = "source has no tensor, but a ndarray at 'weight_ih_l0': expected the state dict"
    with pytest.raises(jaxgru.WeightsError, match=message):
        jaxgru.from_torch({"weight_ih_l0": np.ones((15, 3))})


@pytest.mark.parametrize("function", [jaxgru.from_torch, jaxgru.to_torch])
def test_examples_of_docstrings(function):
    """They are skipped with the rest of the docstrings, as PyTorch may not be there."""
    text = function.__doc__.replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(text, {}, function.__name__, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_without_pytorch(key, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = r'needs torch, which is not installed: pip install "jaxgru\[torch\]"'
    with pytest.raises(ImportError, match=f"from_torch {message}"):
        jaxgru.from_torch({})
    with pytest.raises(ImportError, match=f"to_torch {message}"):
        jaxgru.to_torch(jaxgru.init(key, 3, 4))

"""PyTorch's modules and state dicts to nets and back, with PyTorch itself as the oracle.

Every variant's numbers, and its files, are in test_formats_tables.py.
"""

import doctest
import sys

import cases
import jax
import live_torch
import numpy as np
import pytest
from equal import assert_same

import jaxgru

pytestmark = pytest.mark.live


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_what_comes_out_belongs_to_nobody_else(torch, key):
    module = live_torch.build("layer", key)
    net = jaxgru.from_torch(module)
    before = np.array(net.bias)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()
    for tensor in jaxgru.to_torch(net).values():
        tensor.zero_()
    np.testing.assert_array_equal(net.bias, before)


def test_a_module_with_several(torch, key):
    module = torch.nn.Module()
    module.encoder = live_torch.build("bidirectional", key)
    module.lstm = torch.nn.LSTM(3, 4)
    module.decoders = torch.nn.ModuleList(live_torch.build("cell", key) for _ in range(11))

    with pytest.raises(
        jaxgru.WeightsError, match=r"it contains 12 GRUs: .*'decoders.2', .*s.10'; or"
    ):
        jaxgru.from_torch(module)
    with pytest.raises(jaxgru.WeightsError, match="layer is 'lstm': expected one of 'encoder'"):
        jaxgru.from_torch(module, layer="lstm")
    encoder = jaxgru.from_torch(module, layer="encoder")
    assert_same(encoder, jaxgru.from_torch(module.encoder))
    decoder = jaxgru.from_torch(module.state_dict(), layer="decoders.10")
    assert_same(decoder, jaxgru.from_torch(module.decoders[10]))


def test_zeros_stand_for_a_missing_bias(torch, key):
    net = (
        cases.random_params(key, 3, 4, biases="input bias"),
        cases.random_params(jax.random.fold_in(key, 1), 4, 4, biases="no bias"),
    )
    state = jaxgru.to_torch(net)
    torch.nn.GRU(3, 4, 2).load_state_dict(state, strict=True)
    assert not state["bias_hh_l0"].any()
    assert not state["bias_ih_l1"].any()
    np.testing.assert_array_equal(jaxgru.from_torch(state)[0].bias, net[0].bias)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda torch, module: module.to(torch.complex64), "has dtype complex64: expected"),
        (lambda _, module: module.to("meta"), "has dtype float32 in a Tensor of layout torch.st"),
    ],
)
@pytest.mark.filterwarnings("ignore:Complex modules are a new feature")
def test_weights_that_are_no_plain_numbers(torch, key, change, message):
    module = change(torch, live_torch.build("layer", key))
    with pytest.raises(jaxgru.WeightsError, match=f"^weight_hh_l0 {message}"):
        jaxgru.from_torch(module)


def test_sources_without_a_gru(torch):
    for source, message in (
        ([], "source is a list: expected a torch"),
        (torch.nn.LSTM(3, 4), r"no GRU is among its 4 arrays .* an LSTM called"),
        ({"model": {}, 5: torch.zeros(3)}, "no GRU is among its 0 arrays"),
        (
            {"weight_ih_l0": np.ones((15, 3))},
            "source has no tensor, but a ndarray at 'weight_ih_l0': expected the state dict",
        ),
    ):
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.from_torch(source)


@pytest.mark.parametrize("function", [jaxgru.from_torch, jaxgru.to_torch])
def test_examples_of_docstrings(torch, function):
    """They are skipped with the rest of the docstrings, as PyTorch may not be there."""
    text = function.__doc__.replace("# doctest: +SKIP", "")
    test = doctest.DocTestParser().get_doctest(text, {}, function.__name__, None, None)
    assert doctest.DocTestRunner().run(test).failed == 0


@pytest.mark.parametrize(
    ("call", "library"),
    [
        (lambda net: jaxgru.from_torch({}), "from_torch needs torch"),
        (jaxgru.to_torch, "to_torch needs torch"),
        (jaxgru.to_keras, "to_keras needs keras"),
    ],
)
def test_without_the_library(key, monkeypatch, call, library):
    name = library.rpartition(" ")[2]
    monkeypatch.setitem(sys.modules, name, None)
    message = rf'{library}, which is not installed: pip install "jaxgru\[{name}\]"'
    with pytest.raises(ImportError, match=message):
        call(cases.random_params(key, 3, 4))

"""What no file or object of a library can hold of a net is refused: nothing is lost unseen."""

import dataclasses
import functools

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru


def _nets(key):
    """Return nets of layers that are usual but for one thing, by name."""
    layer = functools.partial(cases.random_params, key, 4, 4)
    both, one = layer(), layer(biases="input bias")
    return {
        "two biases": both,
        "inner bias": layer(biases="recurrent bias"),
        "relu": layer(activation="relu", biases="input bias"),
        "hard gates": layer(recurrent_activation="hard_sigmoid", biases="input bias"),
        "old gates": layer(recurrent_activation="hard_sigmoid_keras2"),
        "clip": layer(clip=1.0, biases="input bias"),
        "reset before": layer(reset_after=False, biases="input bias"),
        "reset before, two biases": layer(reset_after=False),
        "reset before, no bias": layer(reset_after=False, biases="no bias"),
        "bfloat16": layer(dtype=jnp.bfloat16),
        "float8": jax.tree.map(lambda array: array.astype(jnp.float8_e4m3fn), both),
        "fnuz": jax.tree.map(lambda array: array.astype(jnp.float8_e4m3b11fnuz), both),
        "two types": (both, layer(dtype=jnp.bfloat16)),
        "two types in one": dataclasses.replace(both, bias=both.bias.astype("f2")),
        "stack": (both, both),
        "stack, reset before": (both, layer(reset_after=False)),
        "unlike directions": (jaxgru.Bidirectional(both, both), cases.random_params(key, 8, 4)),
        "units": (both, cases.random_params(key, 4, 3)),
        "backward": jaxgru.Backward(one),
        "backward stack": jaxgru.Backward((both, both)),
        "backward within": (both, jaxgru.Backward(both), both),
        "backward of two": jaxgru.Bidirectional(one, jaxgru.Backward(one)),
        "stacks of two": jaxgru.Bidirectional((both, both), (both, both)),
        "sum": jaxgru.Bidirectional(one, one, "sum"),
        "pair": jaxgru.Bidirectional(one, one, None),
        "sum within": (both, jaxgru.Bidirectional(one, one, "sum")),
    }


def _save(ending, **options):
    return lambda net, folder: jaxgru.save(net, folder / f"net{ending}", **options)


_HOLDERS = {
    "npz": _save(".npz"),
    "keras": _save(".keras"),
    "h5": _save(".weights.h5"),
    "safetensors": _save(".safetensors"),
    "pt": _save(".safetensors", format="torch-safetensors"),
    "torch": lambda net, _: jaxgru.to_torch(net),
    "cell": lambda net, _: jaxgru.to_torch(net, cell=True),
    "to_keras": lambda net, _: jaxgru.to_keras(net),
    "linen": lambda net, _: jaxgru.to_flax(net),
    "nnx": lambda net, _: jaxgru.to_flax(net, api="nnx"),
    "haiku": lambda net, _: jaxgru.to_haiku(net),
    "equinox": lambda net, _: jaxgru.to_equinox(net),
}
_NEEDS = {"keras": "keras", "to_keras": "keras", "torch": "torch", "cell": "torch"}
_NEEDS |= {"equinox": "equinox"}

# Parts of the messages, by " ~ ".
_TANH = "activation is 'relu': ~ supports only 'tanh'"
_SIGMOID = "is 'hard_sigmoid': ~ supports only 'sigmoid'"
_CLIP, _AFTER = "clip is 1.0: ~ supports only None", "reset_after is False: ~ supports only True"
_BOTH = "both non-zero in"
REFUSED = {
    "npz": {
        "relu": _TANH, "hard gates": _SIGMOID, "clip": _CLIP,
        "bfloat16": "kernel has dtype bfloat16: .npz supports only float16, float32",
        "reset before, two biases": f"bias and recurrent_bias are {_BOTH} 12 of 12 places",
        "stack": "net is a tuple of 2: expected a GRUParams, as npz",
        "backward": "net is a Backward: expected a GRUParams, as npz",
    },
    "keras": {
        "clip": _CLIP, "reset before, two biases": f"{_BOTH} 12 of 12 places",
        "backward within": "net[1] is a Backward, whose outputs",
        "stacks of two": "net.forward is a tuple of 2: expected a GRUParams",
        "backward stack": "net.net is a tuple of 2: expected a GRUParams",
    },
    "h5": {
        "relu": _TANH, "sum": "merge of net is 'sum': ~ supports only 'concat'",
        "hard gates": f"recurrent_activation {_SIGMOID} ~ a weights-only",
        "backward": "net is a Backward: expected a GRUParams or a Bid",
        "reset before, no bias": "reset_after is False and there is no bias: expected a bias",
    },
    "to_keras": {
        "clip": _CLIP, "two types in one": "expected one dtype in a GRU",
        "old gates": "recurrent_activation is 'hard_sigmoid_keras2': ~ supports only",
        "reset before, two biases": f"bias and recurrent_bias are {_BOTH} 12 of 12 places",
        "stack": "net is a tuple of 2: expected one layer, as in a Keras layer",
        "backward": "net is a Backward, whose outputs are in the order of the input",
        "stacks of two": "net.forward is a tuple of 2: expected a GRUParams",
    },
    "safetensors": {"fnuz": "kernel has dtype float8_e4m3b11fnuz: expected"},
    "pt": {"reset before": f"was not written: {_AFTER}"},
    "torch": {
        "relu": _TANH, "hard gates": _SIGMOID, "clip": _CLIP,
        "reset before": "reset_after is False: torch.nn.GRU supports only True",
        "float8": "weight_ih_l0 has dtype float8_e4m3fn: expected",
        "two types": "expected one dtype in a GRU",
        "stack, reset before": "reset_after of net[1] is False: ~ supports only True",
        "sum": "merge of net is 'sum': ~ supports only 'concat'",
        "pair": "merge of net is None: ~ supports only 'concat'",
        "sum within": "merge of net[1] is 'sum'",
        "stacks of two": "net.forward is a tuple of 2: expected a GRUParams, as torch",
        "backward": "net is a Backward: expected a GRUParams or a Bidirectional of two",
        "unlike directions": "net[1] has 1 directions and net[0] 2",
        "units": "net[1] has 3 units and net[0] 4",
    },
    "cell": {"stack": "net has several layers: expected one, as torch"},
    "linen": {
        "relu": _TANH, "reset before": _AFTER,
        "two biases": f"{_BOTH} 8 of 8 places: expected one of them to be 0, because Flax",
        "sum": "merge of net is 'sum': ~ supports only 'concat'",
        "backward": "net is a Backward: expected a GRUParams",
        "backward of two": "net.backward is a Backward: expected a GRUParams",
    },
    "nnx": {
        "clip": _CLIP,
        "inner bias": "the recurrent bias of the candidate is non-zero in 4 of 4 units: expected 0",
    },
    "haiku": {
        "two biases": "reset_after is True: Haiku's GRU supports only False",
        "backward": "net is a Backward: expected a GRUParams",
        "reset before, two biases": f"{_BOTH} 12 of 12 places",
    },
    "equinox": {
        "relu": _TANH, "clip": _CLIP, "reset before": _AFTER, "two biases": f"{_BOTH} 8 of 8",
        "backward": "net is a Backward: expected a GRUParams, as Equinox",
    },
}  # fmt: skip


@pytest.mark.parametrize(
    "holder", [pytest.param(name, marks=[pytest.mark.live] * (name in _NEEDS)) for name in REFUSED]
)
def test_what_cannot_be_held_is_refused_and_the_old_file_stays(key, tmp_path, holder):
    pytest.importorskip(_NEEDS.get(holder, "numpy"))
    nets = _nets(key)
    names = {"npz": "net.npz", "keras": "net.keras", "h5": "net.weights.h5"}
    path = tmp_path / names.get(holder, "net.safetensors")
    path.write_text("old")
    for name, words in REFUSED[holder].items():
        with pytest.raises(jaxgru.WeightsError) as caught:
            _HOLDERS[holder](nets[name], tmp_path)
        assert all(part in str(caught.value) for part in words.split(" ~ ")), name
        if holder in ("npz", "keras", "h5", "safetensors", "pt"):
            assert str(caught.value).startswith(f"{path} was not written: ")
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("holder", ["torch", "linen", "haiku", "npz"])
def test_layers_that_do_not_fit(key, tmp_path, holder):
    pytest.importorskip(_NEEDS.get(holder, "numpy"))
    layer = cases.random_params(key, 3, 4)
    with pytest.raises(ValueError, match=r"net\[1\] has 3 inputs"):
        _HOLDERS[holder]((layer, layer), tmp_path)


def test_one_bias_for_both_sides_of_a_gate_is_exact(key):
    """The side that is zero takes the other's numbers, whichever it is."""
    net = cases.random_params(key, 3, 4, biases="recurrent bias")
    params = jaxgru.to_flax(net)["params"]
    np.testing.assert_array_equal(params["iz"]["bias"], net.recurrent_bias[:4])
    np.testing.assert_array_equal(params["ir"]["bias"], net.recurrent_bias[4:8])
    np.testing.assert_array_equal(params["hn"]["bias"], net.recurrent_bias[8:])
    np.testing.assert_array_equal(params["in"]["bias"], 0)
    net = cases.random_params(key, 3, 4, biases="recurrent bias", reset_after=False)
    bias = jaxgru.to_haiku(net, name="net/~/gru")["net/~/gru"]["b"]
    np.testing.assert_array_equal(bias[4:], net.recurrent_bias[4:])
    np.testing.assert_array_equal(bias[:4], -net.recurrent_bias[:4])

"""What is trained is what a pattern fits; the rest stays equal to the bit and costs no state."""

import finetuning
import jax
import nets
import numpy as np
import optax
import pytest

import jaxgru.finetune as ft


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        ("recurrent_kernel", {"0.forward.recurrent_kernel", "0.backward.recurrent_kernel",
                              "1.forward.recurrent_kernel", "1.backward.recurrent_kernel",
                              "2.recurrent_kernel"}),
        ("2.*", {"2.kernel", "2.recurrent_kernel", "2.bias", "2.recurrent_bias"}),
        ("1.forward.*kernel", {"1.forward.kernel", "1.forward.recurrent_kernel"}),
        (["2.kernel", "2.b?as"], {"2.kernel", "2.bias"}),
    ],
)  # fmt: skip
def test_patterns_fit_paths_and_their_tails(key, patterns, expected):
    net = nets.random_net(key, "bidirectional stack")
    mask = ft.trainable_mask(net, patterns)
    chosen = {
        path for path, flag in zip(ft.leaf_paths(net), jax.tree.leaves(mask), strict=True) if flag
    }
    assert chosen == expected


def test_model_has_the_net_and_the_readout_apart(key):
    model = ft.Model(finetuning.small_net(key), finetuning.small_readout(key))
    assert ft.trainable_mask(model, "net.*").readout == ft.LinearReadout(False, False)
    assert ft.trainable_mask(model, "readout.*").readout == ft.LinearReadout(True, True)
    assert not any(jax.tree.leaves(ft.trainable_mask(model, "readout.*").net))


@pytest.mark.parametrize(
    ("patterns", "message"),
    [
        (["kernel", "gamma"], "the pattern 'gamma' fits no weight: expected one of kernel, "
         "recurrent_kernel, bias, recurrent_bias, or a pattern that fits some"),
        ([], "no pattern is given: expected some that fit kernel, recurrent_kernel, bias"),
        ("ernel", "the pattern 'ernel' fits no weight"),
    ],
)  # fmt: skip
def test_pattern_that_fits_nothing_tells_what_there_is(key, patterns, message):
    with pytest.raises(ValueError, match=message):
        ft.trainable_mask(finetuning.small_net(key), patterns)


def test_frozen_weights_stay_and_have_no_optimiser_state(key):
    net, readout = finetuning.small_net(key), finetuning.small_readout(key)
    # Weight decay and momentum would move what is merely given no gradient.
    optimizer = optax.adamw(0.1, weight_decay=0.1)
    result = finetuning.tune(
        net,
        readout,
        finetuning.small_data(),
        epochs=2,
        optimizer=optimizer,
        trainable=["recurrent_kernel", "readout.bias"],
    )
    for path, before, after in zip(
        ft.leaf_paths((net, readout)),
        jax.tree.leaves((net, readout)),
        jax.tree.leaves((result.net, result.readout)),
        strict=True,
    ):
        is_trained = path in ("0.recurrent_kernel", "1.bias")
        assert finetuning.equal(before, after) != is_trained, path
    model = ft.Model(net, readout)
    mask = ft.trainable_mask(model, ["recurrent_kernel", "readout.bias"])
    state = ft.init_state(model, optimizer, mask=mask, key=key)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(state.optimizer_state))
    assert shapes == sorted([(), (2,), (2,), (4, 12), (4, 12)])  # a count, mu and nu


def test_readout_of_ones_own(key):
    readout = ft.Readout(lambda weights, ys: ys[..., :2] * weights["scale"], {"scale": 1.5})
    net = finetuning.small_net(key)
    result = finetuning.tune(net, readout, finetuning.small_data(), epochs=2, trainable="readout.*")
    assert finetuning.equal(result.net, net)
    assert result.readout.weights["scale"] != 1.5
    assert result.history[1]["loss"] < result.history[0]["loss"]


def test_weights_are_arrays(key):
    net = finetuning.small_net(key)
    with pytest.raises(ValueError, match=r"readout\.weights\.f is a builtin_function_or_method"):
        finetuning.tune(
            net, ft.Readout(lambda w, ys: ys, {"f": sum}), finetuning.small_data(), steps=1
        )


def test_integer_weights_cannot_be_trained(key):
    readout = ft.Readout(lambda weights, ys: ys[..., weights["which"]], {"which": np.array([0, 1])})
    with pytest.raises(ValueError, match="which has dtype int32: expected a floating-point type"):
        finetuning.tune(finetuning.small_net(key), readout, finetuning.small_data(), steps=1)

"""Patterns choose the trained weights; others stay bit-for-bit identical, without state."""

import equal
import finetuning
import jax
import nets
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
def test_patterns_match_paths_and_their_ends(key, patterns, expected):
    net = jax.eval_shape(lambda: nets.random_net(key, "bidirectional stack"))
    mask = ft.trainable_mask(net, patterns)
    chosen = {
        path for path, flag in zip(ft.leaf_paths(net), jax.tree.leaves(mask), strict=True) if flag
    }
    assert chosen == expected


def test_frozen_weights_stay_and_have_no_optimizer_state(key):
    model, patterns = finetuning.small_model(), ["recurrent_kernel", "readout.bias"]
    # Weight decay and momentum would move weights that merely have a gradient of zero.
    optimizer = optax.adamw(0.1, weight_decay=0.1)
    result = finetuning.tune(
        model, finetuning.small_data(), ft.Epochs(2), optimizer=optimizer, trainable=patterns
    )
    for path, before, after in zip(
        ft.leaf_paths(model), jax.tree.leaves(model), jax.tree.leaves(result.model), strict=True
    ):
        is_trained = path in ("net.recurrent_kernel", "readout.bias")
        assert equal.same(before, after) != is_trained, path
    mask = ft.trainable_mask(model, patterns)
    state = ft.init_state(model, optimizer, mask=mask, key=key)
    shapes = sorted(leaf.shape for leaf in jax.tree.leaves(state.optimizer_state))
    assert shapes == sorted([(), (2,), (2,), (4, 12), (4, 12)])  # a count, mu and nu

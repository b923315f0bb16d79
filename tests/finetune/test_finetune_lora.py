"""Low-rank changes: their rank, their training, and the merged net."""

import equal
import finetuning
import jax
import jax.numpy as jnp
import numpy as np

import jaxgru
import jaxgru.finetune as ft
from jaxgru.model import Model


def test_merged_net_has_the_outputs_of_training(key):
    # Merged outside the compiled step and within it: bit-for-bit identical.
    net = ft.low_rank(finetuning.small_model().net, key, rank=2)
    changed = jax.tree.map(lambda leaf: leaf + 0.3, net.deltas)
    net = ft.LowRank(net.net, changed)
    xs = finetuning.small_data().inputs
    within = jax.jit(lambda net, xs: ft.predict(Model(net=net), xs))(net, xs)
    merged = ft.merge(net)
    assert equal.same(within, jaxgru.gru(merged, jnp.asarray(xs))[0])
    # The oracle: the definition in float64.
    for path, kernel, original in zip(
        ft.leaf_paths(merged), jax.tree.leaves(merged), jax.tree.leaves(net.net), strict=True
    ):
        if path in net.deltas:
            left, right = (np.asarray(factor, np.float64) for factor in net.deltas[path])
            # float32: a sum of two products near 1.
            np.testing.assert_allclose(kernel, original + left @ right, rtol=1e-6, atol=1e-6)
        else:
            assert equal.same(kernel, original)


def test_fit_trains_only_the_changes_and_merges_them(key):
    net, readout = finetuning.small_model().layers.values()
    low = ft.low_rank(net, key, rank=1)
    data = finetuning.small_data()
    result = finetuning.tune(Model(net=low, readout=readout), data, ft.Epochs(3), validation=data)
    tuned = result.model
    assert isinstance(tuned.net, jaxgru.GRUParams)
    for name, is_changed in {
        "kernel": True, "recurrent_kernel": True, "bias": False, "recurrent_bias": False,
    }.items():  # fmt: skip
        before, after = getattr(net, name), getattr(tuned.net, name)
        assert equal.same(before, after) != is_changed
        if is_changed:
            singular = np.linalg.svd(np.asarray(after - before, np.float64), compute_uv=False)
            # Of rank 1, except for the rounding of float32 numbers near 1.
            assert singular[1] < 1e-6 < singular[0]
    assert not equal.same(tuned.readout, readout)
    # The row of the best round is that of the resulting weights.
    evaluated = ft.evaluate(tuned, data, ft.regression(), batch_size=4)
    assert evaluated == min(row["validation_loss"] for row in result.history)


def test_changes_begin_at_zero_and_can_be_for_one_kernel(key):
    layer = finetuning.small_model().net
    net = (jaxgru.Bidirectional(layer, layer), layer)
    low = ft.low_rank(net, key, rank=2, kernels="0.forward.recurrent_kernel")
    assert list(low.deltas) == ["0.forward.recurrent_kernel"]
    assert equal.same(ft.merge(low), net)

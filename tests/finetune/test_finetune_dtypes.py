"""Nets of half and double precision stay what they are, under strict promotion too."""

import finetuning
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxgru.finetune as ft


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("dtype", "data_dtype"), [("bfloat16", "float32"), ("float64", "float64")])
def test_weights_keep_their_type(key, tmp_path, dtype, data_dtype):
    net, readout = (
        jax.tree.map(lambda leaf: leaf.astype(jnp.dtype(dtype)), part)
        for part in finetuning.small_model()
    )
    data = finetuning.small_data(lengths=[6, 1, 4, 0, 3, 6, 2, 5])
    data = data._replace(**{
        name: getattr(data, name).astype(data_dtype) for name in ("inputs", "targets")
    })  # fmt: skip
    # All that computes with weights at once: low-rank changes, pull, average, windows, checkpoints.
    options = {
        "optimizer": optax.adam(0.02),
        "average": optax.ema(0.5),
        "pull": 0.01,
        "window": 3,
        "validation": data,
        "checkpoint_dir": tmp_path,
    }
    low = ft.low_rank(net, key, rank=1)
    result = finetuning.tune(low, readout, data, epochs=6, **options)
    again = finetuning.tune(low, readout, data, epochs=6, **options)
    assert finetuning.equal((again.net, again.readout), (result.net, result.readout))
    tuned, before = (
        jax.tree.leaves(part) for part in ((result.net, result.readout), (net, readout))
    )
    assert [leaf.dtype for leaf in tuned] == [leaf.dtype for leaf in before]
    losses = [row["validation_loss"] for row in result.history]
    assert len(losses) == 6
    assert losses[-1] < losses[0]
    assert np.isfinite(losses).all()

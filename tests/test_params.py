"""GRUParams is a plain pytree with its variant in the structure."""

import dataclasses

import cases
import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


@pytest.mark.parametrize("biases", cases.BIASES)
def test_flattening_and_back_keeps_everything(key, biases):
    params = cases.random_params(
        key, 3, 4, biases=biases, reset_after=False, activation="relu", clip=2.0
    )
    leaves, structure = jax.tree.flatten(params)
    back = jax.tree.unflatten(structure, leaves)
    assert len(leaves) == 2 + sum(cases.BIASES[biases])
    chex.assert_trees_all_equal(params, back)
    for field in dataclasses.fields(params):
        if field.name not in _ARRAYS:
            assert getattr(back, field.name) == getattr(params, field.name)


def test_leaves_have_names(key):
    paths = jax.tree_util.tree_flatten_with_path(cases.random_params(key, 3, 4))[0]
    assert tuple(path[0].name for path, _ in paths) == _ARRAYS


def test_tree_map_reaches_every_array(key):
    params = cases.random_params(key, 3, 4)
    doubled = jax.tree.map(lambda leaf: 2 * leaf, params)
    for name in _ARRAYS:
        np.testing.assert_array_equal(getattr(doubled, name), 2 * getattr(params, name))


def test_tree_map_may_put_anything_in_the_leaves(key):
    shapes = jax.tree.map(jnp.shape, cases.random_params(key, 3, 4))
    assert shapes.recurrent_kernel == (4, 12)
    assert jax.tree.map(lambda _: None, shapes, is_leaf=lambda x: type(x) is tuple).bias is None


def test_sizes_and_dtype(key):
    params = cases.random_params(key, 3, 4)
    assert (params.input_size, params.hidden_size) == (3, 4)
    assert params.dtype == jnp.float32


def test_is_frozen(key):
    params = cases.random_params(key, 3, 4)
    with pytest.raises(dataclasses.FrozenInstanceError):
        params.kernel = jnp.zeros((3, 12))


@pytest.mark.parametrize(
    "change",
    [
        {"reset_after": False},
        {"activation": "relu"},
        {"recurrent_activation": "hard_sigmoid"},
        {"clip": 1.0},
        {"bias": None},
    ],
)
def test_structure_is_hashable_and_tells_variants_apart(key, change):
    params = cases.random_params(key, 3, 4)
    structure, same, other = (
        jax.tree.structure(p)
        for p in (params, cases.random_params(key, 5, 6), dataclasses.replace(params, **change))
    )
    assert hash(structure) == hash(same)
    assert structure == same
    assert structure != other


def test_a_clip_of_any_number_type_is_one_structure(key):
    structures = {
        jax.tree.structure(cases.random_params(key, 3, 4, clip=clip))
        for clip in (2, 2.0, np.float32(2), np.float64(2), np.int32(2))
    }
    assert len(structures) == 1


@pytest.mark.parametrize(
    "clip", [0, 0.0, -1, float("nan"), float("inf"), -float("inf"), "1", True, np.ones(1)]
)
def test_a_clip_that_is_no_positive_number_is_refused(key, clip):
    with pytest.raises(
        ValueError, match=r"^clip is .*: expected None or a positive finite number$"
    ):
        cases.random_params(key, 3, 4, clip=clip)

"""GRUParams is a plain pytree with its variant in the structure."""

import dataclasses

import cases
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru

_ARRAYS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


@pytest.fixture
def params(key):
    return cases.random_params(key, 3, 4)


def test_flattening_and_back_keeps_everything(key):
    for biases, has in cases.BIASES.items():
        params = cases.random_params(
            key, 3, 4, biases=biases, reset_after=False, activation="relu", clip=2.0
        )
        paths, structure = jax.tree_util.tree_flatten_with_path(params)
        names = [name for name in _ARRAYS if getattr(params, name) is not None]
        assert [path[0].name for path, _ in paths] == names
        assert len(names) == 2 + sum(has)
        back = jax.tree.unflatten(structure, [leaf for _, leaf in paths])
        for field in dataclasses.fields(params):
            assert getattr(back, field.name) is getattr(params, field.name)


def test_tree_map_may_put_anything_in_the_leaves(params):
    shapes = jax.tree.map(jnp.shape, params)
    assert [getattr(shapes, name) for name in _ARRAYS] == [(3, 12), (4, 12), (12,), (12,)]
    assert jax.tree.map(lambda _: None, shapes, is_leaf=lambda x: type(x) is tuple).bias is None


def test_sizes_and_dtype_and_what_is_printed(params):
    assert (params.input_size, params.hidden_size, params.dtype) == (3, 4, jnp.float32)
    shown = "kernel=float32[3,12], recurrent_kernel=float32[4,12], bias=float32[12]"
    assert repr(params).startswith(
        f"GRUParams({shown}, recurrent_bias=float32[12], reset_after=True"
    )
    assert "float32[3,12]" in repr((params, jaxgru.Backward(params)))


def test_is_frozen(params):
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
def test_structure_is_hashable_and_tells_variants_apart(key, params, change):
    structure, same, other = (
        jax.tree.structure(p)
        for p in (params, cases.random_params(key, 5, 6), dataclasses.replace(params, **change))
    )
    assert hash(structure) == hash(same)
    assert structure == same
    assert structure != other


def test_a_clip_of_any_number_type_is_one_structure(params):
    clips = (2, 2.0, np.float32(2), np.float64(2), np.int32(2))
    clipped = [dataclasses.replace(params, clip=clip) for clip in clips]
    assert len({jax.tree.structure(params) for params in clipped}) == 1

"""GRUParams is a plain pytree with its variant in the structure; init draws it as Keras does.

The oracle of what is drawn is what is known of each distribution.
"""

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


# init


def test_kernel_is_glorot_uniform(key):
    kernel = np.asarray(jaxgru.init(key, 100, 50).kernel)
    limit = np.sqrt(6 / (100 + 150))
    assert kernel.shape == (100, 150)
    assert np.abs(kernel).max() <= limit
    # 15000 draws: the largest is within 0.1% of the limit but for a chance of e**-15, the mean
    # and the second moment are within five standard errors (0.8% of their scale) of theirs.
    assert np.abs(kernel).max() > 0.999 * limit
    assert abs(kernel.mean()) < 5 * limit / np.sqrt(3 * kernel.size)
    np.testing.assert_allclose(np.mean(kernel**2), limit**2 / 3, rtol=5 * 0.9 / kernel.size**0.5)


@pytest.mark.parametrize("units", [1, 6])
def test_recurrent_kernel_has_orthonormal_rows(key, units):
    rows = np.asarray(jaxgru.init(key, 4, units).recurrent_kernel)
    assert rows.shape == (units, 3 * units)
    # Products of float32 rows of norm 1.
    np.testing.assert_allclose(rows @ rows.T, np.eye(units), atol=1e-5)


@pytest.mark.parametrize(
    ("use_bias", "reset_after", "shapes"),
    [
        (True, True, ((12,), (12,))),
        (True, False, ((12,), None)),
        (False, True, (None, None)),
    ],
)
def test_biases_are_zeros_where_keras_has_them(key, use_bias, reset_after, shapes):
    options = {"reset_after": reset_after, "activation": "relu", "clip": 3.0}
    params = jaxgru.init(key, 3, 4, use_bias=use_bias, recurrent_activation="linear", **options)
    biases = params.bias, params.recurrent_bias
    assert tuple(bias if bias is None else bias.shape for bias in biases) == shapes
    assert not any(np.any(bias) for bias in biases if bias is not None)
    fields = dataclasses.asdict(params)
    assert {name: fields[name] for name in options} == options
    assert params.recurrent_activation == "linear"


def test_keys_decide(key):
    first, again = jaxgru.init(key, 3, 4), jaxgru.init(key, 3, 4)
    other = jaxgru.init(jax.random.fold_in(key, 1), 3, 4)
    for name in ("kernel", "recurrent_kernel"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
        assert np.all(getattr(first, name) != getattr(other, name))


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.bfloat16, "float32"])
def test_every_array_has_the_dtype(key, x64, dtype):
    params = jax.eval_shape(lambda: jaxgru.init(key, 3, 4, dtype=dtype))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_all_weights_can_be_donated(key):
    # Two biases in one buffer could not: XLA refuses to donate a buffer twice.
    update = jax.jit(lambda params: jax.tree.map(lambda leaf: leaf + 1, params), donate_argnums=0)
    params = jaxgru.init(key, 3, 4)
    updated = update(params)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))
    np.testing.assert_array_equal(updated.recurrent_bias, np.ones(12))

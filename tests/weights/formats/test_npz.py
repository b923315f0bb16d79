"""Weights in and out of npz: what is read, what is written, and what is refused in writing.

Hostile and damaged files are in test_npz_bad_files.py.
"""

import dataclasses
import warnings
import zipfile

import cases
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import seed

import jaxgru
from jaxgru.weights import read

_FIELDS = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")


@seed.needs_weights
@pytest.mark.parametrize(
    ("equations", "expected"), [("keras", seed.H_KERAS), ("notebook", seed.H_NOTEBOOK)]
)
def test_the_seed_gives_both_known_results(equations, expected):
    params = jaxgru.load(seed.PATH, equations=equations)
    h = jaxgru.gru_cell(params, jnp.zeros(6), jnp.array(seed.X))
    # The expected numbers have eight decimals; float32 adds about 1e-7.
    np.testing.assert_allclose(h, expected, rtol=0, atol=1e-6)


@seed.needs_weights
def test_the_seeds_own_code_reads_what_is_saved(tmp_path):
    path = tmp_path / "saved.npz"
    jaxgru.save(jaxgru.load(seed.PATH), path)
    h = seed.notebook_step(path, np.array(seed.X), np.zeros(6))
    # What the notebook prints, in eight decimals, from the same float32 weights.
    np.testing.assert_allclose(h, seed.H_NOTEBOOK, rtol=0, atol=1e-8)
    for key, array in np.load(seed.PATH).items():
        assert np.load(path)[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("sizes", [(1, 1), (3, 5), (5, 3)])
def test_what_is_loaded_is_what_was_saved_to_the_bit(key, x64, tmp_path, sizes, reset_after, dtype):
    biases = "both biases" if reset_after else "input bias"
    params = cases.random_params(key, *sizes, biases=biases, dtype=dtype, reset_after=reset_after)
    path = tmp_path / "weights.npz"
    jaxgru.save(params, path)
    loaded = jaxgru.load(path)
    assert jax.tree.structure(loaded) == jax.tree.structure(params)
    _assert_equal_to_the_bit(loaded, params)


def test_float64_survives_from_file_to_file_without_x64(key, tmp_path):
    rng = np.random.default_rng(0)
    arrays = {key: rng.normal(size=size) for key, size in _sizes(2, 3).items()}
    np.savez(tmp_path / "in.npz", **arrays)
    jaxgru.save(read(tmp_path / "in.npz"), tmp_path / "out.npz")
    for name, array in np.load(tmp_path / "out.npz").items():
        assert array.tobytes() == arrays[name].tobytes()


def test_keras_bias_forms_mean_its_two_variants(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(size=s).astype(np.float32) for k, s in _sizes(2, 3).items()}
    np.savez(tmp_path / "two.npz", **arrays)
    two = jaxgru.load(tmp_path / "two.npz")
    assert two.reset_after
    np.testing.assert_array_equal(two.bias, arrays["biases"][0])
    np.testing.assert_array_equal(two.recurrent_bias, arrays["biases"][1])
    arrays["biases"] = arrays["biases"][0]
    np.savez(tmp_path / "one.npz", **arrays)
    one = jaxgru.load(tmp_path / "one.npz")
    assert not one.reset_after
    np.testing.assert_array_equal(one.bias, arrays["biases"])
    assert one.recurrent_bias is None


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("biases", ["no bias", "input bias", "recurrent bias"])
def test_an_absent_bias_is_written_as_zeros(key, tmp_path, biases, reset_after):
    params = cases.random_params(key, 2, 3, biases=biases, reset_after=reset_after)
    jaxgru.save(params, tmp_path / "weights.npz")
    loaded = jaxgru.load(tmp_path / "weights.npz")
    x, h = jax.random.normal(key, (2,)), jax.random.normal(key, (3,))
    # Both in float64 by the oracle; where an array lies in memory may change the order of a sum.
    np.testing.assert_allclose(
        oracle.cell(loaded, h, x)["h"], oracle.cell(params, h, x)["h"], rtol=1e-14
    )


def test_half_zero_biases_of_reset_before_fit_into_one(key, tmp_path):
    params = cases.random_params(key, 2, 3, reset_after=False)
    even = jnp.arange(9) % 2 == 0
    params = dataclasses.replace(
        params,
        bias=jnp.where(even, params.bias, jnp.zeros(9)),
        recurrent_bias=jnp.where(even, jnp.zeros(9), params.recurrent_bias),
    )
    jaxgru.save(params, tmp_path / "weights.npz")
    loaded = jaxgru.load(tmp_path / "weights.npz")
    np.testing.assert_array_equal(loaded.bias, params.bias + params.recurrent_bias)


def test_notebook_equations_give_the_notebooks_step(key, tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "weights.npz"
    np.savez(path, **{k: rng.normal(size=s).astype(np.float32) for k, s in _sizes(2, 3).items()})
    params = jaxgru.load(path, equations="notebook")
    x, h = rng.normal(size=2), rng.normal(size=3)
    # Exact but for the sum of the candidate's biases, rounded in float32: 2^-24 of a few units.
    np.testing.assert_allclose(
        oracle.cell(params, h, x)["h"], seed.notebook_step(path, x, h), rtol=0, atol=5e-7
    )


def test_saved_for_the_notebook_its_code_computes_the_layer(key, tmp_path):
    params = _without_inner_bias(cases.random_params(key, 2, 3))
    path = tmp_path / "weights.npz"
    jaxgru.save(params, path, equations="notebook")
    rng = np.random.default_rng(0)
    x, h = rng.normal(size=2), rng.normal(size=3)
    # Two float64 computations of the same numbers.
    np.testing.assert_allclose(
        seed.notebook_step(path, x, h), oracle.cell(params, h, x)["h"], rtol=0, atol=1e-14
    )
    _assert_equal_to_the_bit(jaxgru.load(path, equations="notebook"), params)


_REFUSED = {
    "an activation": ({"activation": "relu"}, "activation is 'relu': expected 'tanh'"),
    "a gate's activation": (
        {"recurrent_activation": "hard_sigmoid"},
        "recurrent_activation is 'hard_sigmoid': expected 'sigmoid'",
    ),
    "clip": ({"clip": 3.0}, r"clip is 3\.0: expected None"),
    "bfloat16": ({"dtype": jnp.bfloat16}, "kernel has dtype bfloat16: expected float16, float32"),
    "two biases for one": (
        {"reset_after": False},
        "bias and recurrent_bias are both non-zero in 9 of 9 places",
    ),
}


@pytest.mark.parametrize("name", _REFUSED)
def test_what_npz_cannot_hold_is_refused_and_the_old_file_stays(key, tmp_path, name):
    variant, reason = _REFUSED[name]
    _assert_refused(tmp_path, cases.random_params(key, 2, 3, **variant), reason)


def test_what_the_notebook_cannot_hold_is_refused(key, tmp_path):
    inner = r"recurrent bias of the candidate is non-zero in 3 of 3 units: expected 0, as .*reset"
    _assert_refused(tmp_path, cases.random_params(key, 2, 3), inner, equations="notebook")
    before = cases.random_params(key, 2, 3, biases="input bias", reset_after=False)
    _assert_refused(tmp_path, before, "reset_after is False: expected True", equations="notebook")


def test_one_bias_is_refused_for_the_notebooks_equations(key, tmp_path):
    path = tmp_path / "weights.npz"
    jaxgru.save(cases.random_params(key, 2, 3, biases="input bias", reset_after=False), path)
    with pytest.raises(jaxgru.WeightsError, match=r"weights\.npz: reset_after is False"):
        jaxgru.load(path, equations="notebook")


def test_unknown_equations_are_refused(key, tmp_path):
    with pytest.raises(ValueError, match="equations is 'tf': expected 'keras' or 'notebook'"):
        jaxgru.load(tmp_path / "none.npz", equations="tf")
    with pytest.raises(ValueError, match="equations is 'tf': expected 'keras' or 'notebook'"):
        jaxgru.save(cases.random_params(key, 2, 3), tmp_path / "none.npz", equations="tf")


def test_the_format_is_that_of_the_content_or_of_the_new_name(key, tmp_path):
    params = cases.random_params(key, 2, 3)
    jaxgru.save(params, tmp_path / "weights.NPZ")
    (tmp_path / "weights.NPZ").rename(tmp_path / "weights.bin")
    _assert_equal_to_the_bit(jaxgru.load(tmp_path / "weights.bin"), params)
    with pytest.raises(jaxgru.WeightsError, match=r"its name ends in '\.bin': expected .*\.npz"):
        jaxgru.save(params, tmp_path / "weights.bin")


def test_what_is_no_layer_is_refused(key, tmp_path):
    params = cases.random_params(key, 2, 3)
    with pytest.raises(ValueError, match="net is a dict: expected a GRUParams"):
        jaxgru.save({"gru": params}, tmp_path / "weights.npz")
    with pytest.raises(
        jaxgru.WeightsError, match=r"net is a tuple of 2: expected a GRUParams, as npz"
    ):
        jaxgru.save((params, cases.random_params(key, 3, 3)), tmp_path / "weights.npz")
    with pytest.raises(ValueError, match=r"bias has shape \(8,\): expected \(9,\)"):
        jaxgru.save(dataclasses.replace(params, bias=jnp.ones(8)), tmp_path / "weights.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", ["compressed", "Fortran order", "big endian", "npy version 2"])
def test_other_ways_to_write_the_same_arrays_are_read(tmp_path, form):
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(size=s).astype(np.float32) for k, s in _sizes(2, 3).items()}
    path = tmp_path / "weights.npz"
    written = {
        "Fortran order": {k: np.asfortranarray(v) for k, v in arrays.items()},
        "big endian": {k: v.astype(">f4") for k, v in arrays.items()},
    }.get(form, arrays)
    if form == "compressed":
        np.savez_compressed(path, **written)
    elif form == "npy version 2":
        _savez_version_2(path, written)
    else:
        np.savez(path, **written)
    params = jaxgru.load(path)
    np.testing.assert_array_equal(params.kernel, arrays["wMatrix"])
    np.testing.assert_array_equal(params.recurrent_kernel, arrays["uMatrix"])
    np.testing.assert_array_equal(params.bias, arrays["biases"][0])


def test_nan_and_inf_are_loaded_with_a_warning_each(tmp_path):
    arrays = {k: np.ones(s, np.float32) for k, s in _sizes(2, 3).items()}
    arrays["uMatrix"][0, :2] = np.nan
    arrays["biases"][1, 4] = -np.inf
    np.savez(tmp_path / "weights.npz", **arrays)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params = jaxgru.load(tmp_path / "weights.npz")
    path = tmp_path / "weights.npz"
    assert [str(warning.message) for warning in caught] == [
        f"{path}: recurrent_kernel holds 2 NaN and 0 Inf among its 27 numbers",
        f"{path}: recurrent_bias holds 0 NaN and 1 Inf among its 9 numbers",
    ]
    # The warning points at the caller.
    assert {(w.category, w.filename) for w in caught} == {(jaxgru.WeightsWarning, __file__)}
    np.testing.assert_array_equal(params.recurrent_kernel, arrays["uMatrix"])


def test_float64_is_rounded_only_with_a_warning(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {k: rng.normal(size=s) for k, s in _sizes(2, 3).items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.warns(jaxgru.WeightsWarning, match=r"rounded from float64 .*jax_enable_x64"):
        params = jaxgru.load(tmp_path / "weights.npz")
    np.testing.assert_array_equal(params.kernel, arrays["wMatrix"].astype(np.float32))


def test_float64_beyond_float32_is_refused_without_x64(tmp_path):
    arrays = {k: np.full(s, 1e300) for k, s in _sizes(2, 3).items()}
    np.savez(tmp_path / "weights.npz", **arrays)
    with pytest.raises(jaxgru.WeightsError, match="kernel holds numbers beyond float32's range"):
        jaxgru.load(tmp_path / "weights.npz")


def _sizes(inputs, units):
    return {
        "wMatrix": (inputs, 3 * units),
        "uMatrix": (units, 3 * units),
        "biases": (2, 3 * units),
    }


def _without_inner_bias(params):
    """Return the weights with a zero recurrent bias of the candidate."""
    outside = jnp.arange(3 * params.hidden_size) < 2 * params.hidden_size
    inner = jnp.where(outside, params.recurrent_bias, jnp.zeros_like(params.recurrent_bias))
    return dataclasses.replace(params, recurrent_bias=inner)


def _assert_equal_to_the_bit(given, expected):
    for field in _FIELDS:
        one, other = getattr(given, field), getattr(expected, field)
        assert (one is None) == (other is None), field
        if one is not None:
            assert (one.dtype, one.shape) == (other.dtype, other.shape), field
            assert np.asarray(one).tobytes() == np.asarray(other).tobytes(), field


def _assert_refused(folder, params, reason, equations="keras"):
    path = folder / "weights.npz"
    path.write_text("old")
    with pytest.raises(jaxgru.WeightsError, match=rf"weights\.npz was not written: .*{reason}"):
        jaxgru.save(params, path, equations=equations)
    assert path.read_text() == "old"
    assert list(folder.iterdir()) == [path]


def _savez_version_2(path, arrays):
    with zipfile.ZipFile(path, "w") as archive:
        for key, array in arrays.items():
            with archive.open(f"{key}.npy", "w") as file:
                np.lib.format.write_array(file, array, version=(2, 0))

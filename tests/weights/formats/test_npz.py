"""Weights in npz: one layer as Keras' three arrays, and arrays under the names of libraries.

Oracles: the arrays themselves, the NumPy loop, and the notebook's own code.
"""

import dataclasses
import warnings
import zipfile

import cases
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
import seed
from equal import assert_same

import jaxgru
from jaxgru._weights.io import read, read_all

_HAIKU = {"w_i": (3, 6), "w_h": (2, 6), "b": (6,)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "weights.npz"


def _arrays(dtype="f4"):
    rng = np.random.default_rng(0)
    shapes = {"wMatrix": (2, 9), "uMatrix": (3, 9), "biases": (2, 9)}
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def _haiku(place=""):
    rng = np.random.default_rng(0)
    return {f"{place}{name}": rng.normal(size=s).astype("f4") for name, s in _HAIKU.items()}


@seed.needs_weights
def test_the_seed(path):
    """Its weights give both known results, and its own code reads what is saved of them."""
    for equations, expected in (("keras", seed.H_KERAS), ("notebook", seed.H_NOTEBOOK)):
        params = jaxgru.load(seed.PATH, equations=equations)
        h = jaxgru.gru_cell(params, jnp.zeros(6), jnp.array(seed.X))
        # The expected numbers have eight decimals; float32 adds about 1e-7.
        np.testing.assert_allclose(h, expected, rtol=0, atol=1e-6)
    jaxgru.save(jaxgru.load(seed.PATH), path)
    h = seed.notebook_step(path, np.array(seed.X), np.zeros(6))
    # What the notebook prints, in eight decimals, from the same float32 weights.
    np.testing.assert_allclose(h, seed.H_NOTEBOOK, rtol=0, atol=1e-8)
    for key, array in np.load(seed.PATH).items():
        assert np.load(path)[key].tobytes() == array.tobytes()


@pytest.mark.parametrize("dtype", [">f4", "f8", "Fortran order", "compressed", "npy version 2"])
def test_other_ways_to_write_the_same_arrays(path, dtype):
    """Their type stays float64 from file to file without JAX's x64 mode."""
    arrays = _arrays("f8" if dtype == "f8" else "f4")
    if dtype == "compressed":
        np.savez_compressed(path, **arrays)
    elif dtype == "npy version 2":
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w") as file:
                    np.lib.format.write_array(file, array, version=(2, 0))
    else:
        change = np.asfortranarray if dtype == "Fortran order" else np.asarray
        written = {name: change(array) for name, array in arrays.items()}
        written |= {n: a.astype(">f4") for n, a in arrays.items()} if dtype == ">f4" else {}
        np.savez(path, **written)
    params = read(path)
    biases = np.stack([params.bias, params.recurrent_bias])
    assert_same([params.kernel, params.recurrent_kernel, biases], list(arrays.values()))


@pytest.mark.parametrize("reset_after", [True, False])
@pytest.mark.parametrize("biases", ["no bias", "input bias", "recurrent bias"])
def test_an_absent_bias_is_written_as_zeros(key, path, biases, reset_after):
    params = cases.random_params(key, 2, 3, biases=biases, reset_after=reset_after)
    jaxgru.save(params, path)
    x, h = np.random.default_rng(0).normal(size=(2, 3))
    # Both in float64 by the oracle; where an array lies in memory may change the order of a sum.
    np.testing.assert_allclose(
        oracle.cell(jaxgru.load(path), h, x[:2])["h"],
        oracle.cell(params, h, x[:2])["h"],
        rtol=1e-14,
    )


def test_half_zero_biases_of_reset_before_fit_into_one(key, path):
    params = cases.random_params(key, 2, 3, reset_after=False)
    even = np.arange(9) % 2 == 0
    sides = {
        "bias": np.where(even, params.bias, np.float32(0)),
        "recurrent_bias": np.where(even, np.float32(0), params.recurrent_bias),
    }
    jaxgru.save(dataclasses.replace(params, **sides), path)
    np.testing.assert_array_equal(jaxgru.load(path).bias, sum(sides.values()))


def test_the_notebooks_equations_are_its_codes(key, path):
    """What is loaded for them computes its step, and its code computes what is saved for them."""
    np.savez(path, **_arrays())
    params = jaxgru.load(path, equations="notebook")
    x, h = np.random.default_rng(0).normal(size=(2, 3))
    # Exact but for the sum of the candidate's biases, rounded in float32: 2^-24 of a few units.
    np.testing.assert_allclose(
        oracle.cell(params, h, x[:2])["h"], seed.notebook_step(path, x[:2], h), rtol=0, atol=5e-7
    )
    params = cases.random_params(key, 2, 3)
    outside = np.arange(9) < 6  # the notebook has no recurrent bias of the candidate
    bias = np.where(outside, params.recurrent_bias, np.float32(0))
    params = dataclasses.replace(params, recurrent_bias=bias)
    jaxgru.save(params, path, equations="notebook")
    # Two float64 computations of the same numbers.
    np.testing.assert_allclose(
        seed.notebook_step(path, x[:2], h), oracle.cell(params, h, x[:2])["h"], rtol=0, atol=1e-14
    )
    assert_same(jaxgru.load(path, equations="notebook"), params)


def test_equations_that_do_not_hold_the_weights(key, path):
    params = cases.random_params(key, 2, 3)
    inner = (
        "recurrent bias of the candidate is non-zero in 3 of 3 units: expected 0, because .*reset"
    )
    with pytest.raises(jaxgru.WeightsError, match=inner):
        jaxgru.save(params, path, equations="notebook")
    before = cases.random_params(key, 2, 3, biases="input bias", reset_after=False)
    with pytest.raises(jaxgru.WeightsError, match=r"reset_after is False: .* supports only True"):
        jaxgru.save(before, path, equations="notebook")
    gates = dataclasses.replace(params, recurrent_activation="relu")
    with pytest.raises(jaxgru.WeightsError, match=r"recurrent_activation is 'relu': .* 'sigmoid'"):
        jaxgru.save(gates, path.with_suffix(".safetensors"), equations="notebook")
    jaxgru.save(before, path)
    with pytest.raises(jaxgru.WeightsError, match=r"weights\.npz: reset_after is False"):
        jaxgru.load(path, equations="notebook")
    for call in (lambda: jaxgru.load(path, equations="tf"),
                 lambda: jaxgru.save(params, path, equations="tf")):  # fmt: skip
        with pytest.raises(ValueError, match="equations is 'tf': expected 'keras' or 'notebook'"):
            call()


def test_the_format_is_that_of_the_content_or_of_the_new_name(key, tmp_path):
    params = cases.random_params(key, 2, 3)
    jaxgru.save(params, tmp_path / "weights.NPZ")
    (tmp_path / "weights.NPZ").rename(tmp_path / "weights.bin")
    assert_same(jaxgru.load(tmp_path / "weights.bin"), params)
    with pytest.raises(jaxgru.WeightsError, match=r"its suffix is '\.bin': expected .*\.npz"):
        jaxgru.save(params, tmp_path / "weights.bin")


def test_what_is_no_net_is_refused(key, tmp_path):
    params, path = cases.random_params(key, 2, 3), tmp_path / "weights.npz"
    with pytest.raises(ValueError, match="net is a dict: expected into="):
        jaxgru.save({"gru": params}, path)
    with pytest.raises(ValueError, match=r"bias has shape \(8,\): expected \(9,\)"):
        jaxgru.save(dataclasses.replace(params, bias=jnp.ones(8)), path)
    assert list(tmp_path.iterdir()) == []


def test_nan_and_inf_are_loaded_with_a_warning_each(path):
    arrays = _arrays()
    arrays["uMatrix"][0, :2] = np.nan
    arrays["biases"][1, 4] = -np.inf
    np.savez(path, **arrays)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        params = jaxgru.load(path)
    assert [str(warning.message) for warning in caught] == [
        f"{path}: recurrent_kernel has 2 NaN and 0 Inf among its 27 numbers",
        f"{path}: recurrent_bias has 0 NaN and 1 Inf among its 9 numbers",
    ]
    # The warning points at the caller.
    assert {(w.category, w.filename) for w in caught} == {(jaxgru.WeightsWarning, __file__)}
    np.testing.assert_array_equal(params.recurrent_kernel, arrays["uMatrix"])


def test_float64_is_rounded_only_with_a_warning_and_within_float32(path):
    np.savez(path, **_arrays("f8"))
    with pytest.warns(jaxgru.WeightsWarning, match=r"rounded from float64 .*jax_enable_x64"):
        params = jaxgru.load(path)
    np.testing.assert_array_equal(params.kernel, _arrays()["wMatrix"])
    np.savez(path, **{name: np.full_like(array, 1e300) for name, array in _arrays("f8").items()})
    with pytest.raises(jaxgru.WeightsError, match="kernel has numbers beyond the range of float32"):
        jaxgru.load(path)


def test_zeros_compress_well_and_are_read(path):
    np.savez_compressed(path, **{name: np.zeros_like(array) for name, array in _arrays().items()})
    assert not np.any(jaxgru.load(path).kernel)


def test_what_three_arrays_leave_out_can_be_assumed(path):
    np.savez(path, **_arrays())
    found = jaxgru.load(path, assume={"activation": "relu", "reverse": True})
    assert isinstance(found, jaxgru.Backward)
    assert found.net.activation == "relu"
    np.testing.assert_array_equal(found.net.kernel, _arrays()["wMatrix"])


class TestNamesOfLibraries:
    """Those of JAX's libraries against their own layers are in tests/weights/libraries."""

    def test_flax_names_joined_by_commas(self, path):
        rng, place = np.random.default_rng(0), "params,ScannedRNN_0,GRUCell_0"
        params = {}
        for gate in ("ir", "iz", "in", "hr", "hz", "hn"):
            rows = 3 if gate.startswith("i") else 2
            params[f"{place},{gate},kernel"] = rng.normal(size=(rows, 2))
            if gate.startswith("i") or gate == "hn":
                params[f"{place},{gate},bias"] = rng.normal(size=2)
        np.savez(path, **params)
        assume = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
        ((found, (net, *_)),) = read_all(path, assume=assume).gathered.items()
        assert found == place
        np.testing.assert_array_equal(net.kernel[:, 2:4], params[f"{place},ir,kernel"])
        np.testing.assert_array_equal(net.recurrent_bias[4:], params[f"{place},hn,bias"])

    def test_the_sign_of_every_number_is_turned_over_nan_included(self, path):
        params = _haiku()
        # A signalling NaN, of which arithmetic would make another.
        params["b"][:2] = np.array([0x7F800001, 0x80000000], np.uint32).view(np.float32)
        np.savez(path, **params)
        with pytest.warns(jaxgru.WeightsWarning, match="bias has 1 NaN"):
            bits = read(path).bias[:2].view(np.uint32)
        np.testing.assert_array_equal(bits, np.array([0xFF800001, 0], np.uint32))

    def test_what_belongs_to_no_gru_is_passed_over(self, path):
        others = {
            "step": np.array(3),
            "name": np.array("run"),
            "empty": np.zeros((0, 3)),
            "objects": np.array([{}, None], dtype=object),
            "records": np.zeros(3, [("a", "f4")]),
            "dense.kernel": np.ones((2, 3)),
            "lstm.w_i": np.ones((3, 8)),
        }
        np.savez(path, **others, **_haiku("gru."))
        assert list(jaxgru.load_all(path)) == ["gru"]

    def test_a_dict_that_numpy_pickled_is_named(self, path, tmp_path):
        np.savez(path, params=_haiku())
        message = r"'params' is a Python object that NumPy pickled.* write those by numpy\.savez"
        with pytest.raises(jaxgru.WeightsError, match=message) as caught:
            jaxgru.load(path)
        step = str(caught.value).partition("write those by ")[2]
        exec(step, {"numpy": np, "new_path": tmp_path / "new.npz", "path": path})
        expected = jaxgru.from_haiku(_haiku())
        np.testing.assert_array_equal(jaxgru.load(tmp_path / "new.npz").kernel, expected.kernel)

    @pytest.mark.parametrize("field", ["reset_after", "reverse"])
    def test_what_the_names_settle_cannot_be_assumed_otherwise(self, path, field):
        np.savez(path, **_haiku())
        with pytest.raises(jaxgru.WeightsError, match=f"{field} is False in the file"):
            jaxgru.load(path, assume={field: True})

"""npz of arrays under the names that libraries give them; JAX's own libraries' are tested live."""

import io
import zipfile

import cases
import jax
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read, read_all

_HAIKU = {"w_i": (3, 6), "w_h": (2, 6), "b": (6,)}


def _params(dtype="f4", seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in _HAIKU.items()}


def _under(place, params):
    return {f"{place}{name}": array for name, array in params.items()}


def test_several_have_their_places_for_names_in_the_order_of_numbers(tmp_path):
    arrays = {}
    for i in (10, 9, 1):
        arrays |= _under(f"net/~/gru_{i}/", _params(seed=i))
    np.savez(tmp_path / "x.npz", **arrays)
    found = jaxgru.load_all(tmp_path / "x.npz")
    assert list(found) == ["net/~/gru_1", "net/~/gru_9", "net/~/gru_10"]
    np.testing.assert_array_equal(found["net/~/gru_9"].bias[2:], _params(seed=9)["b"][2:])
    with pytest.raises(jaxgru.WeightsError, match="3 GRUs: expected layer=, one of 'net/~/gru_1'"):
        jaxgru.load(tmp_path / "x.npz")


def test_flax_names_joined_by_commas(tmp_path):
    rng = np.random.default_rng(0)
    params = {}
    for gate in ("ir", "iz", "in", "hr", "hz", "hn"):
        rows = 3 if gate.startswith("i") else 2
        params[f"params,ScannedRNN_0,GRUCell_0,{gate},kernel"] = rng.normal(size=(rows, 2))
        if gate.startswith("i") or gate == "hn":
            params[f"params,ScannedRNN_0,GRUCell_0,{gate},bias"] = rng.normal(size=2)
    np.savez(tmp_path / "x.npz", **params)
    assume = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    (found,) = read_all(tmp_path / "x.npz", assume=assume).gathered.items()
    place, (net, *_) = found
    assert place == "params,ScannedRNN_0,GRUCell_0"
    np.testing.assert_array_equal(net.kernel[:, 2:4], params[f"{place},ir,kernel"])
    np.testing.assert_array_equal(net.recurrent_bias[4:], params[f"{place},hn,bias"])


def test_paths_as_jax_writes_them_are_names(tmp_path):
    leaves, _ = jax.tree_util.tree_flatten_with_path({"encoder": {"gru": _params()}})
    np.savez(tmp_path / "x.npz", **{jax.tree_util.keystr(path): leaf for path, leaf in leaves})
    assert list(jaxgru.load_all(tmp_path / "x.npz")) == ["encoder/gru"]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", ">f4"])
def test_every_type_and_order_of_bytes_is_read_to_the_bit(tmp_path, dtype):
    params = _params(dtype)
    params["w_i"] = np.asfortranarray(params["w_i"])
    np.savez(tmp_path / "x.npz", **params)
    found = read(tmp_path / "x.npz")
    expected = params["w_i"].copy()
    expected[:, :2] *= -1
    native = expected.astype(expected.dtype.newbyteorder("="))
    assert found.kernel.dtype == native.dtype
    assert found.kernel.tobytes() == native.tobytes()


def test_the_sign_of_every_number_is_turned_over_nan_included(tmp_path):
    params = _params()
    # A signalling NaN, of which arithmetic would make another.
    params["b"][:2] = np.array([0x7F800001, 0x80000000], np.uint32).view(np.float32)
    np.savez(tmp_path / "x.npz", **params)
    with pytest.warns(jaxgru.WeightsWarning, match="bias holds 1 NaN"):
        bits = read(tmp_path / "x.npz").bias[:2].view(np.uint32)
    np.testing.assert_array_equal(bits, np.array([0xFF800001, 0], np.uint32))


def test_what_belongs_to_no_gru_is_passed_over(tmp_path):
    others = {
        "step": np.array(3),
        "name": np.array("run"),
        "empty": np.zeros((0, 3)),
        "objects": np.array([{}, None], dtype=object),
        "records": np.zeros(3, [("a", "f4")]),
        "dense.kernel": np.ones((2, 3)),
        "lstm.w_i": np.ones((3, 8)),
    }
    np.savez(tmp_path / "x.npz", **others, **_under("gru.", _params()))
    assert list(jaxgru.load_all(tmp_path / "x.npz")) == ["gru"]


def test_a_gru_that_no_net_can_hold_leaves_its_neighbours_sound(tmp_path):
    bad = _params() | {"b": np.ones(5, "f4")}
    whole = {name: np.ones(array.shape, "i4") for name, array in _params().items()}
    arrays = _under("net.a.", bad) | _under("net.b.", whole) | _under("net.c.", _params())
    np.savez(tmp_path / "x.npz", **arrays)
    assert jaxgru.load(tmp_path / "x.npz", layer="net.c").hidden_size == 2
    with pytest.raises(jaxgru.WeightsError, match=r"net\.a\.b has shape \(5,\): expected \(3H"):
        jaxgru.load(tmp_path / "x.npz", layer="net.a")
    with pytest.raises(jaxgru.WeightsError, match=r"net\.b\.w_h has dtype '<i4': expected"):
        jaxgru.load(tmp_path / "x.npz", layer="net.b")


def test_two_names_for_one_array_are_refused(tmp_path):
    content = io.BytesIO()
    np.savez(content, **{"gru/w_i": np.ones(3), "['gru']['w_i']": np.ones(3)})
    (tmp_path / "x.npz").write_bytes(content.getvalue())
    with pytest.raises(jaxgru.WeightsError, match=r"'gru/w_i' and .* are both there: expected"):
        jaxgru.load(tmp_path / "x.npz")


def test_a_tree_that_numpy_pickled_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", params={"gru": _params()})
    with pytest.raises(jaxgru.WeightsError, match="no GRU is among its 1 arrays"):
        jaxgru.load(tmp_path / "x.npz")


def test_what_the_names_settle_cannot_be_assumed_otherwise(tmp_path):
    np.savez(tmp_path / "x.npz", **_params())
    with pytest.raises(jaxgru.WeightsError, match="reset_after is False in the file"):
        jaxgru.load(tmp_path / "x.npz", assume={"reset_after": True})
    with pytest.raises(jaxgru.WeightsError, match="reverse is False in the file"):
        jaxgru.load(tmp_path / "x.npz", assume={"reverse": True})


def test_what_npz_of_one_layer_leaves_unsaid_can_be_said(key, tmp_path):
    params = cases.random_params(key, 3, 2)
    jaxgru.save(params, tmp_path / "x.npz")
    found = jaxgru.load(tmp_path / "x.npz", assume={"activation": "relu", "reverse": True})
    assert isinstance(found, jaxgru.Backward)
    assert found.net.activation == "relu"
    np.testing.assert_array_equal(found.net.kernel, params.kernel)


def test_an_archive_that_is_none_of_arrays_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "text")
    with pytest.raises(jaxgru.WeightsError, match=r"'readme\.txt' is there: expected names"):
        jaxgru.load(tmp_path / "x.npz")

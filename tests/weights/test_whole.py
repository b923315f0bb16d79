"""Whole files: all arrays by name, whole models, and tuned weights back into the file.

The oracle is Keras or PyTorch, which write the files and read them again. Predictions are compared
within 1e-5 of their scale, as both compute in float32 in other orders; weights bit for bit.
"""

import json
import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.libraries.keras.building import using_keras
from jaxgru.model import Dense, Embedding, Model

RNG = np.random.default_rng(0)


def _net(inputs=3, units=5):
    draws = jaxgru.init(jax.random.key(0), inputs, units)
    return jax.tree.map(lambda a: jnp.asarray(RNG.normal(size=a.shape), a.dtype), draws)


def _moved(tree):
    return jax.tree.map(lambda a: np.where(a == 0, a, a * np.float32(1.25) + 0.5), tree)


def _same(one, other):
    return all(map(np.array_equal, jax.tree.leaves(one), jax.tree.leaves(other)))


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".onnx"])
def test_a_net_goes_back_into_its_file(suffix, tmp_path):
    if suffix != ".npz":
        pytest.importorskip(suffix[1:])
    old, new = tmp_path / f"old{suffix}", tmp_path / f"new{suffix}"
    net = _net()
    jaxgru.save(net, old)
    before = old.read_bytes()
    jaxgru.save(_moved(net), new, into=old)
    assert _same(jaxgru.load(new), _moved(net))
    assert old.read_bytes() == before
    jaxgru.save(net, new, into=new)
    assert _same(jaxgru.load(new), net)


def test_msgpack_keeps_the_rest(tmp_path):
    msgpack = pytest.importorskip("msgpack")
    arrays = {"dense_i": {"kernel": (3, 15), "bias": (15,)}, "dense_h": {"kernel": (5, 15)}}

    def packed(shape):
        array = RNG.normal(size=shape).astype("f4")
        parts = (array.shape, "float32", array.tobytes())
        return msgpack.ExtType(1, msgpack.packb(parts, use_bin_type=True))

    cell = {part: {n: packed(s) for n, s in held.items()} for part, held in arrays.items()}
    path = tmp_path / "state.msgpack"
    path.write_bytes(msgpack.packb({"cell": cell, "step": 7, "names": ["a"]}))
    assume = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    moved = _moved(jaxgru.load(path, assume=assume))
    jaxgru.save(moved, path, into=path)
    assert _same(jaxgru.load(path, assume=assume), moved)
    rest = msgpack.unpackb(path.read_bytes())
    assert (rest["step"], rest["names"]) == (7, ["a"])


def test_what_a_file_has_no_place_for_is_refused(tmp_path):
    old, new = tmp_path / "old.npz", tmp_path / "new.npz"
    jaxgru.save(_net(), old)
    with pytest.raises(jaxgru.WeightsError, match=r"kernel has shape \(3, 12\): expected \(3, 15"):
        jaxgru.save(_net(3, 4), new, into=old)
    with pytest.raises(jaxgru.WeightsError, match=r"expected GRUParams"):
        jaxgru.save(jaxgru.Backward(_net()), new, into=old)
    wide = jax.tree.map(lambda a: np.asarray(a, np.float64) + 1e-12, _net())
    with pytest.raises(jaxgru.WeightsError, match=r'wMatrix in the file float32: .*dtype="file"'):
        jaxgru.save(wide, new, into=old)
    with pytest.raises(ValueError, match="given without into"):
        jaxgru.save(_net(), new, layer="gru")
    with pytest.raises(jaxgru.WeightsError, match="net is a Model: expected into="):
        jaxgru.save(Model(gru=_net()), new)
    assert not new.exists()
    jaxgru.save(wide, new, into=old, dtype="file")
    assert jaxgru.load(new).kernel.dtype == jnp.float32


def test_arrays_are_read_on_access(tmp_path):
    path = tmp_path / "weights.npz"
    net = _net()
    jaxgru.save(net, path)
    arrays = jaxgru.load_arrays(path)
    assert list(arrays) == ["wMatrix", "uMatrix", "biases"]
    assert (arrays.shape("biases"), arrays.dtype("biases")) == ((2, 15), "float32")
    np.testing.assert_array_equal(arrays["uMatrix"], net.recurrent_kernel)
    with pytest.raises(KeyError):
        arrays["other"]
    jaxgru.save(_net(3, 6), path)
    with pytest.raises(jaxgru.WeightsError, match="has changed since it was opened"):
        arrays["wMatrix"]
    with pytest.raises(jaxgru.WeightsError, match="of format npz, without the configuration"):
        jaxgru.load_model(path)


def _classifier(keras):
    layers = keras.layers
    return [
        layers.Embedding(50, 6, mask_zero=True, name="words"),
        layers.SpatialDropout1D(0.2),
        layers.Bidirectional(layers.GRU(5, return_sequences=True), name="both"),
        layers.GRU(4, name="summary"),
        layers.Dense(6, "relu", name="hidden"),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Dense(3, "softmax", name="out"),
    ]


@pytest.fixture
def classifier(tmp_path):
    """A Keras classifier of integers, its inputs, and its file with each suffix."""
    pytest.importorskip("keras")
    pytest.importorskip("h5py")
    with using_keras("test") as keras, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = keras.Sequential([keras.Input((None,), dtype="int32"), *_classifier(keras)])
        for weight in model.weights:
            drawn = RNG.normal(size=weight.shape, scale=0.5)
            weight.assign(np.abs(drawn) + 0.1 if "variance" in weight.name else drawn)
        ids = RNG.integers(0, 50, (4, 9))
        ids[0, 5:] = 0
        model.compile("adam", "sparse_categorical_crossentropy")
        for suffix in (".keras", ".h5"):
            model.save(tmp_path / f"model{suffix}")
        yield keras, model, ids


@pytest.mark.live
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_keras_classifier(suffix, classifier, tmp_path):
    keras, theirs, ids = classifier
    want = np.asarray(theirs(ids))
    old, new = (tmp_path / f"{name}{suffix}" for name in ("model", "tuned"))
    model = jaxgru.load_model(old)
    np.testing.assert_allclose(model(ids), want, rtol=0, atol=1e-5 * want.max())
    assert not np.array_equal(model(ids, key=jax.random.key(0)), model(ids))
    arrays = jaxgru.load_arrays(old)
    for name in ("words/embeddings", "both/backward/kernel", "summary/bias"):
        assert name in arrays
    np.testing.assert_array_equal(arrays["hidden/kernel"], theirs.get_layer("hidden").kernel)
    np.testing.assert_array_equal(arrays["summary/bias"], theirs.get_layer("summary").cell.bias)
    tuned = _moved(model)
    with (
        pytest.warns(jaxgru.WeightsWarning, match="optimizer state")
        if any("optimizer" in name for name in arrays)
        else warnings.catch_warnings()
    ):
        jaxgru.save(tuned, new, into=old)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        again = keras.models.load_model(new)
    np.testing.assert_allclose(again(ids), tuned(ids), rtol=0, atol=1e-5)
    # One layer of it: all others stay as they are.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        jaxgru.save(_moved(jaxgru.load(old, layer="summary")), new, into=old, layer="summary")
    after = jaxgru.load_arrays(new)
    floats = [name for name in arrays if arrays.dtype(name) == "float32"]
    changed = {name for name in floats if not np.array_equal(arrays[name], after[name])}
    assert changed == {f"summary/{name}" for name in ("kernel", "recurrent_kernel", "bias")}


@pytest.mark.live
def test_a_branch_is_refused_by_name(tmp_path):
    pytest.importorskip("keras")
    with using_keras("test") as keras:
        layers = keras.layers
        inputs = keras.Input((None, 3))
        states = layers.GRU(4, return_sequences=True)(inputs)
        outputs = layers.Concatenate(name="both")([states, layers.Dense(2)(states)])
        keras.Model(inputs, outputs).save(tmp_path / "branch.keras")
    with pytest.raises(jaxgru.WeightsError, match=r"layer both \(Concatenate\) has several inputs"):
        jaxgru.load_model(tmp_path / "branch.keras")


@pytest.mark.live
def test_a_state_dict_with_other_layers(tmp_path):
    torch = pytest.importorskip("torch")

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv1d(3, 3, 2)
            self.gru = torch.nn.GRU(3, 5, batch_first=True)
            self.out = torch.nn.Linear(5, 2)

        def forward(self, xs):
            return self.out(self.gru(xs)[0])

    theirs, xs = Net().eval(), RNG.normal(size=(4, 7, 3)).astype("f4")
    old, new = tmp_path / "old.pt", tmp_path / "new.pt"
    torch.save({"model": theirs.state_dict(), "epoch": 3}, old)
    net, arrays = jaxgru.load(old, layer="model.gru"), jaxgru.load_arrays(old)
    weight, bias = arrays["model.out.weight"], arrays["model.out.bias"]
    model = Model(gru=net, out=Dense(jnp.asarray(weight.T), jnp.asarray(bias)))
    want = theirs(torch.from_numpy(xs)).detach().numpy()
    np.testing.assert_allclose(model(xs), want, rtol=0, atol=1e-5 * np.abs(want).max())
    tuned = _moved(net)
    jaxgru.save(tuned, new, into=old, layer="model.gru")
    held = torch.load(new, weights_only=True)
    assert held["epoch"] == 3
    theirs.load_state_dict(held["model"])
    np.testing.assert_array_equal(held["model"]["conv.weight"], arrays["model.conv.weight"])
    want = theirs(torch.from_numpy(xs)).detach().numpy()
    got = Model(gru=tuned, out=model.out)(xs)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())


def test_models_by_hand():
    net = _net(4, 5)
    table = jnp.asarray(RNG.normal(size=(9, 4)), jnp.float32)
    model = Model(words=Embedding(table, mask_zero=True), gru=net, out=Dense(jnp.eye(5)))
    ids = np.array([[1, 2, 0], [3, 4, 5]])
    ys, states = model(ids, return_state=True)
    want, h = jaxgru.gru(net, table[ids], lengths=jnp.array([2, 3]))
    np.testing.assert_allclose(ys, want, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(states["gru"], h)
    later, _ = jaxgru.gru(net, table[ids], h, lengths=jnp.array([2, 3]))
    np.testing.assert_allclose(model(ids, h0=states), later, rtol=0, atol=1e-6)
    assert model(ids[0]).shape == (3, 5)
    assert model(ids[None], last_only=True).shape == (1, 2, 5)
    assert jax.tree.structure(jax.grad(lambda m: m(ids).sum())(model)) == jax.tree.structure(model)
    paths = [jax.tree_util.keystr(p, simple=True, separator=".") for p, _ in _leaves(model)]
    assert paths[0] == "words.table"
    assert "gru.recurrent_kernel" in paths
    for wrong, message in (
        (ids.astype("f4"), "layer 'words': its input has dtype float32"),
        (ids + 9, "layer 'words': its input has 10: expected integers from 0 to 8"),
    ):
        with pytest.raises(ValueError, match=message):
            model(wrong)
    for lengths, message in (
        ([9, 1], "9: expected 0 to 3"),
        ([1.5, 1.0], "float"),
        ([1, 2, 3], "shape"),
    ):
        with pytest.raises(ValueError, match=f"lengths.* .*{message}"):
            model(ids, lengths=np.array(lengths))
    with pytest.raises(
        ValueError, match="h0 has a state for 'other': expected only words, gru, out"
    ):
        model(ids, h0={"other": h})
    assert np.isnan(jax.jit(model)(ids + 9)).all()
    assert json.dumps(list(model.layers)) == '["words", "gru", "out"]'


def _leaves(tree):
    return jax.tree_util.tree_leaves_with_path(tree)


@pytest.mark.parametrize("kind", ["npz", "safetensors", "h5", "msgpack", "onnx", "pickle"])
def test_arrays_of_every_type_are_read_again_and_again(kind, tmp_path):
    """The oracle is NumPy, or the library that writes the file."""
    arrays = {
        "count": np.array(7),
        "flags": np.array([True, False, True]),
        "bytes": np.arange(6, dtype=np.uint8).reshape(2, 3),
        "short": np.array([-(2**15), 2**15 - 1], np.int16),
        "wide": np.array([[-(2**62)], [2**62]]),
        "halves": RNG.normal(size=(2, 3)).astype("f2"),
        "big": np.zeros((1000, 1000), "f4"),
    }
    path = tmp_path / "file"
    if kind == "npz":
        np.savez(path, **arrays)
        path = tmp_path / "file.npz"
    elif kind == "safetensors":
        pytest.importorskip("safetensors.numpy").save_file(arrays, path)
    elif kind == "h5":
        with pytest.importorskip("h5py").File(path, "w") as file:
            for name, array in arrays.items():
                file[f"layer/{name}"] = array
        arrays = {f"layer/{name}": array for name, array in arrays.items()}
    elif kind == "msgpack":
        serialization = pytest.importorskip("flax.serialization")
        path.write_bytes(serialization.msgpack_serialize(arrays))
    elif kind == "onnx":
        onnx = pytest.importorskip("onnx")
        tensors = [onnx.numpy_helper.from_array(array, n) for n, array in arrays.items()]
        graph = onnx.helper.make_graph([], "g", [], [], tensors)
        path.write_bytes(onnx.helper.make_model(graph).SerializeToString())
    else:
        path.write_bytes(pickle.dumps(arrays))
    loaded = jaxgru.load_arrays(path)
    assert set(loaded) == set(arrays)
    for name, array in arrays.items():
        assert (loaded.shape(name), loaded.dtype(name)) == (array.shape, array.dtype.name)
        for _ in range(70 if name.endswith("big") else 2):  # over what one reading may take
            got = loaded[name]
            assert got.dtype == array.dtype
            np.testing.assert_array_equal(got, array)
            got[...] = 1  # a copy: the next one is as it is in the file


def test_a_file_without_the_names_of_layers_is_warned_of(tmp_path):
    h5py = pytest.importorskip("h5py")
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as file:
        for layer in ("gru", "gru_1"):
            for i, shape in enumerate(((3, 15), (5, 15), (2, 15))):
                file[f"layers/{layer}/cell/vars/{i}"] = np.ones(shape, "f4")
    with pytest.warns(
        jaxgru.WeightsWarning, match="not contain the names of layers: 'gru', 'gru_1' are classes"
    ):
        arrays = jaxgru.load_arrays(path)
    assert "gru_1/recurrent_kernel" in arrays
    with h5py.File(path, "r+") as file:
        for layer, name in (("gru", "encoder"), ("gru_1", "decoder")):
            file[f"layers/{layer}"].create_group("vars").attrs["name"] = name
    assert "decoder/recurrent_kernel" in jaxgru.load_arrays(path)

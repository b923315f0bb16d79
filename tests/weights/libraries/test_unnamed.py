"""Names that show a library, names that show none, and the order of arrays in a file."""

import json
import pickle

import ml_dtypes
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru._weights.libraries.finding import find

ASSUME = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}


def _random(**shapes):
    random = np.random.default_rng(1)
    return {name: random.normal(size=shape).astype("f") for name, shape in shapes.items()}


KERAS = _random(kernel=(5, 15), recurrent_kernel=(5, 15), bias=(2, 15))
TORCH = _random(weight_ih=(15, 5), weight_hh=(15, 5), bias_ih=(15,), bias_hh=(15,))
MLX = _random(Wx=(15, 5), Wh=(15, 5), b=(15,), bhn=(5,))
HAIKU = _random(w_i=(5, 15), w_h=(5, 15), b=(15,))


def _net(arrays, **assume):
    [found] = find(arrays, assume).values()
    if isinstance(found, jaxgru.WeightsError):
        raise found
    return found.net


def _same(one, other):
    for field in ("kernel", "recurrent_kernel", "bias", "recurrent_bias"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))
    assert (one.reset_after, one.clip) == (other.reset_after, other.clip)


@pytest.mark.parametrize(
    ("source", "named"),
    [("keras", KERAS), ("torch", TORCH), ("mlx", MLX), ("haiku", HAIKU)],
)
@pytest.mark.parametrize("names", [("arr_0", "arr_1", "arr_2", "arr_3"), "WUb", "0123"])
def test_arrays_without_a_librarys_names_need_it(source, named, names):
    if len(names) < len(named):
        named = dict(list(named.items())[:2])
    arrays = dict(zip(names, named.values(), strict=False))
    turned = dict(reversed(arrays.items()))  # the order in the file decides nothing
    for given in (arrays, turned):
        if source != "mlx" or "bhn" in named or "b" not in named:
            _same(_net(given, source=source), _net(named))
        with pytest.raises(jaxgru.WeightsError, match=r"source': 'keras'.*GRUParams\(kernel, rec"):
            find(given, {})


def test_the_source_may_not_contradict_the_names():
    for arrays, other in ((KERAS, "torch"), (TORCH, "keras"), (MLX, "haiku"), (HAIKU, "flax")):
        with pytest.raises(jaxgru.WeightsError, match=f"source is .* which has '{other}'"):
            _net(arrays, source=other)


def test_mlx_in_its_own_equations():
    """Oracle: the equations of mlx.nn.GRU (0.32) in float64; its order of gates is r, z, n."""
    arrays = {name: array.astype("f8") for name, array in MLX.items()}
    h, x = np.random.default_rng(2).normal(size=(2, 5))
    r, z, n = np.split(arrays["Wx"] @ x + arrays["b"], 3)
    hr, hz, hn = np.split(arrays["Wh"] @ h, 3)
    r, z = 1 / (1 + np.exp(-(r + hr))), 1 / (1 + np.exp(-(z + hz)))
    n = np.tanh(n + r * (hn + arrays["bhn"]))
    expected = (1 - z) * n + z * h
    np.testing.assert_allclose(
        oracle.gru(_net(arrays), x[None], h)[0][0], expected, rtol=1e-12, atol=1e-12
    )
    early = {n: a.T if a.ndim == 2 else a for n, a in MLX.items()}
    _same(_net(early), _net(MLX))
    with pytest.raises(jaxgru.WeightsError, match="bhn is missing"):
        _net({name: array for name, array in MLX.items() if name != "bhn"})
    lstm = _random(Wx=(20, 5), Wh=(20, 5), bias=(20,))
    with pytest.raises(jaxgru.WeightsError, match="no GRU is among"):
        find(lstm, {})


def test_short_names_of_pytorch():
    short = {n.replace("weight", "w").replace("bias", "b"): a for n, a in TORCH.items()}
    _same(_net(short), _net(TORCH))
    both = {f"enc_{n}": a for n, a in short.items()} | {f"dec.{n}_l0": a for n, a in short.items()}
    assert find(both, {}).keys() == {"enc", "dec"}


@pytest.mark.parametrize("form", ["{}/gru_cell/{}:0", "{}/gru_cell_3/{}", "{}/{}:0"])
def test_names_of_keras_variables(form):
    arrays = {form.format("gru", name): array for name, array in KERAS.items()}
    _same(_net(arrays), _net(KERAS))
    one = KERAS | {"bias": KERAS["bias"][0]}
    net = _net({form.format("gru", name): array for name, array in one.items()})
    assert not net.reset_after
    assert net.recurrent_bias is None
    sides = {
        form.format(f"both/{side}_gru", name): array * sign
        for side, sign in (("backward", -1), ("forward", 1))
        for name, array in KERAS.items()
    }
    net = _net(sides)
    _same(net.forward, _net(KERAS))
    np.testing.assert_array_equal(net.backward.kernel, -KERAS["kernel"])


def test_cells_of_one_layer_are_not_put_in_an_order():
    arrays = {
        f"rnn/stacked_rnn_cells/gru_cell{number}/{name}:0": array
        for number in ("_1", "")
        for name, array in KERAS.items()
    }
    assert set(find(arrays, {})) == {
        f"rnn/stacked_rnn_cells/gru_cell{number}" for number in ("", "_1")
    }


def test_one_bias_does_not_show_the_reset_gate_outside_keras():
    arrays = KERAS | {"bias": KERAS["bias"][0]}
    with pytest.raises(jaxgru.WeightsError, match=r"bias has shape \(15,\), .* only in Keras"):
        _net(arrays)
    for assume, after in (({"source": "keras"}, False), ({"reset_after": True}, True)):
        assert _net(arrays, **assume).reset_after is after


def test_a_bias_or_a_norm_of_ones_own_is_not_passed_over():
    with pytest.raises(jaxgru.WeightsError, match="bias is beside weights without biases"):
        _net({"weight_ih": TORCH["weight_ih"], "weight_hh": TORCH["weight_hh"], "bias": np.ones(5)})
    nnx = {"dense_i/kernel": np.ones((3, 15), "f"), "dense_h/kernel": np.ones((5, 15), "f")}
    for more in ("dense_h/bias", "dense_h/lora_a"):
        with pytest.raises(
            jaxgru.WeightsError, match=f"{more} is not an array of the cell: expected dense_"
        ):
            _net(nnx | {more: np.ones(15, "f")})


def _npz(path, arrays):
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _pickle(path, arrays):
    path.write_bytes(pickle.dumps(arrays, protocol=4))


def _json(path, arrays):
    path.write_text(json.dumps({name: array.tolist() for name, array in arrays.items()}))


def _safetensors(path, arrays):
    pytest.importorskip("safetensors.numpy").save_file(arrays, path)


def _msgpack(path, arrays):
    path.write_bytes(pytest.importorskip("flax.serialization").to_bytes(arrays))


def _hdf5(path, arrays):
    with pytest.importorskip("h5py").File(path, "w", track_order=True) as file:
        for name, array in arrays.items():
            file.create_dataset(f"model/{name}", data=array)
        file.create_dataset("model/steps", data=np.arange(3))


@pytest.mark.parametrize("write", [_npz, _pickle, _json, _safetensors, _msgpack, _hdf5])
@pytest.mark.parametrize("arrays", [KERAS, TORCH, MLX, HAIKU])
def test_the_order_in_a_file_decides_nothing(tmp_path, write, arrays):
    read = []
    for i, order in enumerate((arrays, dict(reversed(arrays.items())))):
        path = tmp_path / str(i)
        write(path, order)
        read.append(jaxgru.load(path, assume=ASSUME if arrays is KERAS else None))
    _same(*read)
    _same(read[0], _net(arrays))


@pytest.mark.live
@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_mlx_itself(tmp_path, suffix):
    """Oracle: mlx.nn.GRU, and the file that it saves."""
    mx = pytest.importorskip("mlx.core")
    nn = pytest.importorskip("mlx.nn")
    layer = nn.GRU(5, 5)
    layer.update({name: mx.array(MLX[name]) for name in layer.parameters()})
    layer.save_weights(str(tmp_path / f"gru{suffix}"))
    xs = np.random.default_rng(1).normal(size=(2, 7, 5)).astype("f4")
    ys, _ = jaxgru.gru(jaxgru.load(tmp_path / f"gru{suffix}"), xs)
    np.testing.assert_allclose(ys, np.asarray(layer(mx.array(xs))), rtol=0, atol=2e-6)


def test_safetensors_of_mlx_have_null_as_text(tmp_path):
    content, header = b"", {"__metadata__": None}
    for name, array in sorted(MLX.items()):
        offsets = [len(content), len(content) + array.nbytes]
        header[name] = {"data_offsets": offsets, "dtype": "F32", "shape": array.shape}
        content += array.tobytes()
    text = json.dumps(header).encode()
    path = tmp_path / "mlx.safetensors"
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    _same(jaxgru.load(path), _net(MLX))


def test_bfloat16_as_numpy_stores_it(tmp_path):
    arrays = {name: array.astype(ml_dtypes.bfloat16) for name, array in TORCH.items()}
    np.savez(tmp_path / "half.npz", **arrays)
    net = jaxgru.load(tmp_path / "half.npz")
    assert net.dtype == ml_dtypes.bfloat16
    _same(net, _net(arrays))

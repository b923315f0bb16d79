"""Weights go back to the places that they were read from, in the layout of every library."""

import dataclasses
import io
import zipfile

import golden_keras_legacy as golden
import jax
import keras_files
import numpy as np
import pytest
from hostile import sound
from hostile import torch as torch_files

import jaxgru
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.into import arrays_with
from jaxgru._weights.libraries.finding import find
from jaxgru.model import Dense, Model

RNG = np.random.default_rng(0)


def _normal(*shape):
    return RNG.normal(size=shape).astype("f4")


LAYOUTS = {
    "torch": {
        f"encoder.{kind}_{side}_l{i}{end}": _normal(*shape)
        for i, inputs in enumerate((3, 10))
        for end in ("", "_reverse")
        for kind, side, shape in (
            ("weight", "ih", (15, inputs)),
            ("weight", "hh", (15, 5)),
            ("bias", "ih", (15,)),
            ("bias", "hh", (15,)),
        )
    },
    "haiku": {"gru/w_i": _normal(3, 15), "gru/w_h": _normal(5, 15), "gru/b": _normal(15)},
    "equinox": {
        "cell.weight_ih": _normal(15, 3),
        "cell.weight_hh": _normal(15, 5),
        "cell.bias": _normal(15),
        "cell.bias_n": _normal(5),
    },
}


def _read(arrays):
    (found,) = find(arrays, {}).values()
    if isinstance(found, WeightsError):
        raise found
    return found.net


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_arrays_that_are_read_as_a_tuned_net(layout):
    arrays = {"other": _normal(2), **LAYOUTS[layout]}
    held = {key: array for key, array in arrays.items() if key != "other"}
    old = _read(held)
    moved = jax.tree.map(lambda a: np.where(a == 0, a, a + _normal(*a.shape)), old)
    changed = arrays_with(_read, held, moved)
    assert set(changed) == set(held)
    again = _read({**arrays, **changed})
    jax.tree.map(np.testing.assert_array_equal, again, moved)
    unchanged = arrays_with(_read, held, old)
    for key, array in held.items():
        np.testing.assert_array_equal(unchanged[key], array)
        assert changed[key].dtype == array.dtype


def test_a_copy_of_another_ending_and_models_of_other_layers(tmp_path):
    path, net = tmp_path / "model.npz", _read(LAYOUTS["haiku"])
    jaxgru.save(net, path)
    with pytest.raises(WeightsError, match=r"npz, and the name of the copy ends in '.pt': expecte"):
        jaxgru.save(net, tmp_path / "model.pt", into=path)
    jaxgru.save(net, tmp_path / "model.npz.new", into=path)
    keras_files.write_regressor(tmp_path / "model.keras")
    model = jaxgru.load_model(tmp_path / "model.keras")
    other = Model(encoder=model.encoder, out=model.readout)
    wider = Dense(np.ones((4, 3), "f4"), np.ones(3, "f4"))
    silent = dataclasses.replace(model.encoder, return_sequences=False)
    for layers, message in (
        (other.layers, "the layers are encoder, out: expected masking, encoder, readout, as in "),
        ({**model.layers, "readout": wider}, r"layer 'readout': kernel has shape \(4, 3\): expec"),
        ({**model.layers, "encoder": silent}, r"layer 'encoder' is Recurrent\(.*: expected Recur"),
    ):
        with pytest.raises(WeightsError, match=message) as raised:
            jaxgru.save(Model(layers), tmp_path / "new.keras", into=tmp_path / "model.keras")
        assert "\n" not in str(raised.value)
    assert not (tmp_path / "new.keras").exists()


def test_numbers_without_a_place_and_wider_ones():
    held = LAYOUTS["haiku"]
    net = _read(held)
    with pytest.raises(WeightsError, match=r"kernel has shape \(3, 14\): expected \(3, 15\)"):
        arrays_with(_read, held, dataclasses.replace(net, kernel=net.kernel[:, 1:]))
    wide = jax.tree.map(lambda a: a.astype("f8") + 1e-12, net)
    with pytest.raises(WeightsError, match=r'kernel has dtype float64 .* float32: .*dtype="file"'):
        arrays_with(_read, held, wide)
    rounded = arrays_with(_read, held, wide, rounds=True)
    assert rounded["gru/w_i"].dtype == np.float32
    held = LAYOUTS["equinox"]
    net = _read(held)
    bias = net.recurrent_bias + np.float32(1)
    with pytest.raises(WeightsError, match=r"recurrent_bias has numbers other than 0"):
        arrays_with(_read, held, dataclasses.replace(net, recurrent_bias=bias))


def _npz(path):
    np.savez(path, a=_normal(2, 3), flags=np.array([True, False]), step=np.int64(7))


def _torch(path):
    path.write_bytes(torch_files.FILES["as it should be"][0])


def _torch_of_big_endian(path):
    """The same tensors as another machine writes them."""
    entries = []
    with zipfile.ZipFile(io.BytesIO(torch_files.FILES["as it should be"][0])) as archive:
        for name in archive.namelist():
            content = archive.read(name)
            if "/data/" in name:
                content = np.frombuffer(content, "<f4").byteswap().tobytes()
            entries.append((name, b"big" if name.endswith("byteorder") else content))
    path.write_bytes(sound.archive(entries))


WRITERS = {
    "file.npz": _npz,
    "file.pt": _torch,
    "big.pt": _torch_of_big_endian,
    "file.h5": golden.tensorflow_2,
    "file.keras": lambda path: path.write_bytes(sound.keras()),
}


@pytest.mark.parametrize("name", WRITERS)
def test_arrays_by_their_names_go_into_a_copy(name, tmp_path):
    """What is read back is what was given; every other array is as it was."""
    old, new = tmp_path / name, tmp_path / f"new_{name}"
    WRITERS[name](old)
    before = jaxgru.load_arrays(old)
    chosen = [each for each in before if before.dtype(each) == "float32"][-2:]
    given = {each: before[each] + np.float32(1) for each in chosen}
    assert given
    jaxgru.save(given, new, into=old)
    after = jaxgru.load_arrays(new)
    assert list(after) == list(before)
    for each in before:
        assert after.dtype(each) == before.dtype(each)
        np.testing.assert_array_equal(after[each], given.get(each, before[each]))


def test_arrays_without_a_place_are_refused(tmp_path):
    old, new = tmp_path / "old.npz", tmp_path / "new.npz"
    np.savez(old, a=_normal(2, 3), words=np.array(["a", "b"]))
    for given, message in (
        ({"b": np.ones(3)}, "it has no array 'b': expected one of 'a', 'words'"),
        ({"a": np.ones((3, 2), "f4")}, r"a has shape \(3, 2\): expected \(2, 3\), as in the f"),
        (
            {"a": np.full((2, 3), 1 / 3)},
            'it has dtype float64 and a in the file float32: .*dtype="fi',
        ),
        ({"words": np.ones(2)}, "'words' has dtype '<U1': expected numbers"),
    ):
        with pytest.raises(WeightsError, match=message):
            jaxgru.save(given, new, into=old)
    for options in ({"layer": "a"}, {"format": "npz"}):
        with pytest.raises(ValueError, match=r"(layer|format or equations) is given with"):
            jaxgru.save({}, new, into=old, **options)
    assert not new.exists()
    jaxgru.save({"a": np.full((2, 3), 1 / 3)}, new, into=old, dtype="file")
    np.testing.assert_array_equal(jaxgru.load_arrays(new)["a"], np.full((2, 3), 1 / 3, "f4"))

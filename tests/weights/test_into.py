"""Weights go back to the places that they were read from, in the layout of every library."""

import dataclasses

import jax
import keras_files
import numpy as np
import pytest

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
    with pytest.raises(WeightsError, match=r'kernel is float64 .* float32: .*dtype="file"'):
        arrays_with(_read, held, wide)
    rounded = arrays_with(_read, held, wide, rounds=True)
    assert rounded["gru/w_i"].dtype == np.float32
    held = LAYOUTS["equinox"]
    net = _read(held)
    bias = net.recurrent_bias + np.float32(1)
    with pytest.raises(WeightsError, match=r"recurrent_bias has other numbers than 0 in places"):
        arrays_with(_read, held, dataclasses.replace(net, recurrent_bias=bias))

"""``inspect --arrays`` and ``convert --into``; the oracle is what NumPy wrote, array by array."""

import zipfile
from pathlib import Path

import cases
import jax
import keras_files
import numpy as np
import pytest

import jaxgru


def _tuned(key, name="tuned.safetensors", inputs=3, units=4, dtype=np.float32):
    pytest.importorskip("safetensors")
    net = jax.tree.map(lambda a: np.asarray(a, dtype) / 3, cases.random_params(key, inputs, units))
    jaxgru.save(net, name)
    return net


def test_arrays_are_listed_with_type_and_shape(done):
    keras_files.write_regressor("model.keras")
    lines = done("inspect", "model.keras", "--arrays").split("\n")
    assert [line.split(maxsplit=2) for line in lines] == [
        ["model.keras:", "5", "arrays"],
        [],
        ["array", "type", "shape"],
        ["encoder/kernel", "float32", "3 x 12"],
        ["encoder/recurrent_kernel", "float32", "4 x 12"],
        ["encoder/bias", "float32", "2 x 12"],
        ["readout/kernel", "float32", "4 x 2"],
        ["readout/bias", "float32", "2"],
        [],
    ]  # fmt: skip
    np.savez("other.npz", conv=np.zeros((2, 3, 4), np.float16), step=np.float64(1))
    shown = done("inspect", "other.npz", "--arrays")  # a file without a GRU
    assert shown.startswith("other.npz: 2 arrays\n\n")
    assert "float16   2 x 3 x 4\nstep  float64   one number\n" in shown


def test_weights_go_into_a_copy_and_into_the_file_itself(key, done):
    keras_files.write_regressor("model.keras")
    net, before = _tuned(key), dict(jaxgru.load_arrays("model.keras"))
    old = Path("model.keras").read_bytes()
    output = done("convert", "tuned.safetensors", "new.keras", "--into", "model.keras")
    assert output.startswith("tuned.safetensors -> new.keras: a GRU layer: 3 inputs, 4 outputs, ")
    assert output.endswith("float32, into model.keras\n")
    assert Path("model.keras").read_bytes() == old
    done("convert", "tuned.safetensors", "model.keras", "--into", "model.keras")
    for name in ("new.keras", "model.keras"):
        after = jaxgru.load_arrays(name)
        np.testing.assert_array_equal(after["encoder/kernel"], net.kernel)
        np.testing.assert_array_equal(after["encoder/bias"], [net.bias, net.recurrent_bias])
        np.testing.assert_array_equal(after["readout/kernel"], before["readout/kernel"])
        with zipfile.ZipFile(name) as archive:
            assert b'"Masking"' in archive.read("config.json")


def test_one_of_several_and_wider_numbers(key, done, refused):
    _tuned(key, dtype=np.float64)
    arrays = {}
    for i, name in enumerate("ab"):
        shapes = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,)}
        for array, shape in (shapes | {"bias_hh_l0": (12,)}).items():
            arrays[f"{name}.{array}"] = np.full(shape, i, np.float32)
    np.savez("two.npz", **arrays, extra=np.arange(3))
    convert = "convert", "tuned.safetensors", "new.npz", "--into", "two.npz"
    assert refused(*convert).startswith(
        "two.npz: it contains 2 GRUs: expected --into-layer, one of 'a', 'b'"
    )
    assert refused(*convert, "--into-layer", "c").startswith("two.npz: --into-layer is 'c': exp")
    wide = refused(*convert, "--into-layer", "b")
    assert "expected equal dtypes, or --dtype file to round the numbers" in wide
    done(*convert, "--into-layer", "b", "--dtype", "file")
    with np.load("new.npz") as file:
        after = dict(file)
    changed = {
        name
        for name in after
        if not np.array_equal(after[name], {**arrays, "extra": [0, 1, 2]}[name])
    }
    assert changed == {name for name in arrays if name[0] == "b"}
    assert {after[name].dtype for name in changed} == {np.dtype(np.float32)}


def test_options_that_do_not_go_together(key, refused):
    _tuned(key)
    keras_files.write_regressor("model.keras")
    convert = "convert", "tuned.safetensors", "new.keras"
    for options, line in {
        ("--into-layer", "a"): "--into-layer is given without --into: expected --into FILE",
        ("--dtype", "file"): "--dtype is given without --into: expected --into FILE",
        ("--into", "model.keras", "--to", "keras"): "--to or --to-equations is given with --into:",
        ("--into", "none.keras"): "none.keras: No such file or directory",
        ("--into", "tuned.safetensors"): "tuned.safetensors: it is of format safetensors, and the "
        "name of the copy ends in '.keras': expected '.safetensors'",
        ("--into", "model.keras", "--into-layer", "x"): "model.keras: --into-layer is",
    }.items():
        assert refused(*convert, *options).startswith(line)
    over = refused("convert", "tuned.safetensors", "tuned.safetensors", "--into", "model.keras")
    assert over == "tuned.safetensors is also the input tuned.safetensors: expected another file"
    for options in (["--layer", "x"], ["--assume", "reverse=true"]):
        line = refused("inspect", "model.keras", "--arrays", *options)
        assert line == f"{options[0]} is given with --arrays, which lists all: expected none"

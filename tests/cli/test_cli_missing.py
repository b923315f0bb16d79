"""A library that is not installed: a command that needs it names the extra, and writes nothing."""

import sys
from pathlib import Path

import finetuning
import keras_files
import numpy as np
import pytest

import jaxgru

# By library: the extra, and commands that need it.
MISSING = {
    "h5py": ("hdf5", [
        "convert gru.npz new.keras --into model.keras",
        "finetune model.keras data.npz -o new.keras",
    ]),
    "onnx": ("onnx", ["inspect gru.onnx", "convert gru.npz new.onnx", "export gru.npz new.onnx"]),
    "msgpack": ("msgpack", ["inspect state.msgpack", "run state.msgpack data.npz"]),
    "safetensors": ("safetensors", ["convert gru.npz new.safetensors"]),
    "flatbuffers": ("stablehlo", ["export gru.npz new.stablehlo"]),
    "optax": ("finetune", [
        "finetune gru.npz data.npz -o new.npz --readout readout.npz",
        "evaluate gru.npz data.npz --readout readout.npz",
    ]),
    "orbax.checkpoint": ("finetune", [
        "finetune gru.npz data.npz -o new.npz --readout readout.npz --checkpoints run",
    ]),
    "matplotlib": ("plot", [
        "inspect gru.npz --plot new.png",
        "run gru.npz data.npz --plot new.png",
        "finetune gru.npz data.npz -o new.npz --readout readout.npz --plot new.png",
    ]),
}  # fmt: skip
CASES = [(library, line) for library, (_, lines) in MISSING.items() for line in lines]


@pytest.mark.parametrize(("library", "line"), CASES)
def test_a_missing_library_is_named_with_its_extra(run, library, line, monkeypatch):
    for needed in ("optax", "h5py"):
        pytest.importorskip(needed)
    net, readout = finetuning.small_model().layers.values()
    jaxgru.save(net, "gru.npz")
    np.savez("readout.npz", kernel=readout.kernel, bias=readout.bias)
    data = finetuning.small_data()
    np.savez("data.npz", inputs=data.inputs, targets=data.targets)
    keras_files.write_regressor("model.keras")
    Path("gru.onnx").write_bytes(b"\x08\x08\x12\x04test:\x00")
    Path("state.msgpack").write_bytes(b"\x81\xa4cell\x80")
    files = {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()}
    for name in [name for name in sys.modules if name.split(".")[0] == library.split(".")[0]]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)
    code, _, errors = run(*line.split())
    assert code == 2
    extra = MISSING[library][0]
    assert errors[-1].endswith(f'which is not installed: pip install "jaxgru[{extra}]"')
    assert {path: path.read_bytes() for path in Path().rglob("*") if path.is_file()} == files

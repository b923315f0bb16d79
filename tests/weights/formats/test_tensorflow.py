"""Checkpoints of TensorFlow, against its own reader: values to the bit, outputs within 1e-6."""

import shutil

import numpy as np
import pytest
import tensorflow_files

import jaxgru
from jaxgru._weights.formats.tensorflow.crc32c import crc32c

_CHECKPOINTS = [
    name
    for name in tensorflow_files.cases()
    if not name.startswith(("frozen", "tfjs", "tf1_format_v1"))
]


@pytest.mark.parametrize("name", _CHECKPOINTS)
def test_values(name, tmp_path):
    folder, expected = tensorflow_files.case(name, tmp_path)
    arrays = jaxgru.load_arrays(folder)
    held = {own: arrays[own] for own in arrays if arrays.dtype(own) in _FLOATS}
    variables = {key[2:]: value for key, value in expected.items() if key.startswith("v:")}
    variables = {key: value for key, value in variables.items() if value.dtype.kind == "f"}
    found = sorted(array.astype(np.float64).tobytes() for array in held.values())
    # bfloat16 is stored in the archive as float32, which is exact.
    assert found == sorted(value.astype(np.float64).tobytes() for value in variables.values())


_FLOATS = ("float16", "bfloat16", "float32", "float64")


@pytest.mark.parametrize(
    ("name", "layer", "assume"),
    [
        ("tf1_block", "rnn/gru_cell", {}),
        ("tf1_block_swapped", "rnn/gru_cell", {}),
        ("tf1_both", "bidirectional_rnn", {}),
        ("tf1_cudnn_compatible", "cudnn_gru/rnn/multi_rnn_cell", {}),
        ("tf1_gru_cell", "rnn/gru_cell", {}),
        ("tf1_keras", "gru", {}),
        ("tf1_keras_both", "bidirectional", {}),
        ("tf1_multi", "rnn/multi_rnn_cell", {}),
        ("tf1_names_0_12", "RNN/MultiRNNCell", {}),
        ("tf1_names_1_1", "rnn/gru_cell", {}),
        ("tf1_optimized", "rnn/gru_cell", {}),
        ("tf1_partitioned", "rnn/gru_cell", {}),
        ("tf1_relu", "encoder/gru/gru_cell", {"activation": "relu"}),
        ("tf1_saved_model", "rnn/gru_cell", {}),
        ("tf1_sharded", "rnn/gru_cell", {}),
    ],
)
def test_outputs_of_tensorflow_1(name, layer, assume, tmp_path):
    folder, expected = tensorflow_files.case(name, tmp_path)
    everything = {"activation": "tanh", "reverse": False, "merge": "concat"} | assume
    if "both" in name or name == "tf1_keras":
        everything["recurrent_activation"] = "sigmoid"
    given = everything if "block" not in name and "cudnn" not in name else {"reverse": False}
    (found,) = jaxgru.load_all(folder, assume=given).items()
    assert found[0] == layer
    ys, _ = jaxgru.gru(found[1], expected["x"].astype(np.float32))
    # The rounding of a few steps in float32.
    np.testing.assert_allclose(ys, expected["y"], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("tf1_attention", "its cell is called 'vec_att_gru_cell', which may compute anything"),
        ("tf1_cudnn_opaque", "in cuDNN's own layout, which depends on its version"),
        ("tf1_format_v1", "a checkpoint of the first format, which is one file"),
    ],
)
def test_refused(name, words, tmp_path):
    folder, _ = tensorflow_files.case(name, tmp_path)
    with pytest.raises(jaxgru.WeightsError, match=words):
        jaxgru.load(folder)


def test_the_same_names_in_npz(tmp_path):
    folder, expected = tensorflow_files.case("tf1_multi", tmp_path)
    np.savez(tmp_path / "w.npz", **{f"{k[2:]}:0": v for k, v in expected.items() if k[:2] == "v:"})
    assume = {"activation": "tanh", "reverse": False}
    one, other = (jaxgru.load(path, assume=assume) for path in (folder, tmp_path / "w.npz"))
    np.testing.assert_array_equal(one[1].kernel, other[1].kernel)


def test_paths(tmp_path):
    """A folder, the prefix that TensorFlow's users pass, and each of the files."""
    folder, expected = tensorflow_files.case("tf1_gru_cell", tmp_path)
    (index,) = folder.glob("*.index")
    (shard,) = folder.glob("*.data-*")
    paths = [folder, index.with_suffix(""), index, shard, folder / "checkpoint"]
    kernels = [jaxgru.load_arrays(path)["rnn/gru_cell/gates/kernel"] for path in paths]
    for kernel in kernels:
        np.testing.assert_array_equal(kernel, expected["v:rnn/gru_cell/gates/kernel"])
    (folder / "checkpoint").unlink()
    assert list(jaxgru.load_arrays(folder)) == list(jaxgru.load_arrays(index))
    shutil.copy(index, folder / "other.index")
    with pytest.raises(jaxgru.WeightsError, match=r"holds the checkpoints 'model\.ckpt.*such as"):
        jaxgru.load(folder)


def test_paths_that_lead_nowhere(tmp_path):
    folder, _ = tensorflow_files.case("tf1_gru_cell", tmp_path)
    (index,) = folder.glob("*.index")
    (shard,) = folder.glob("*.data-*")
    (tmp_path / "beside").mkdir()
    index.rename(tmp_path / "beside" / index.name)
    with pytest.raises(jaxgru.WeightsError, match=r"without their names: expected '.*index' besi"):
        jaxgru.load(shard)
    # The text names a path, of which the last part alone is used.
    text = f'model_checkpoint_path: "{tmp_path}/beside/{index.stem}"\n'
    (folder / "checkpoint").write_text(text, encoding="ascii")
    with pytest.raises(jaxgru.WeightsError, match="cannot be read"):
        jaxgru.load(folder)
    (folder / index.name).symlink_to(tmp_path / "beside" / index.name)
    with pytest.raises(jaxgru.WeightsError, match="is a link or no regular file"):
        jaxgru.load(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "../.."\n', encoding="ascii")
    with pytest.raises(jaxgru.WeightsError, match="expected a checkpoint in its folder"):
        jaxgru.load(folder)


def test_changed_numbers(tmp_path):
    folder, _ = tensorflow_files.case("tf1_gru_cell", tmp_path)
    (shard,) = folder.glob("*.data-*")
    content = bytearray(shard.read_bytes())
    content[10] ^= 1
    shard.write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match="has another checksum"):
        jaxgru.load(folder)
    shard.write_bytes(content[:-8])
    with pytest.raises(jaxgru.WeightsError, match=r"has bytes \d+ to \d+ of .*: expected them in"):
        jaxgru.load(folder)


@pytest.mark.parametrize("size", [0, 9, 8191, 8192, 8193, 20481])
def test_checksum(size):
    content = np.random.default_rng(size).bytes(size)
    crc = 0xFFFFFFFF
    for byte in content:  # the definition, a bit at a time
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert crc32c(content) == crc ^ 0xFFFFFFFF

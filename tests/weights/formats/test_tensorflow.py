"""Checkpoints of TensorFlow, against its own reader: values bit-for-bit, outputs within 1e-6."""

import pickle
import shutil
from pathlib import Path

import bundles
import jax
import numpy as np
import pytest
import tensorflow_files

import jaxgru
from jaxgru._weights import limits
from jaxgru._weights.dtypes import read_now
from jaxgru._weights.formats.tensorflow.bundle import read_index
from jaxgru._weights.formats.tensorflow.crc32c import crc32c
from jaxgru._weights.reading import read_all

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


def _write_h5(path, arrays):
    with pytest.importorskip("h5py").File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


_WRITERS = {
    ".npz": lambda path, arrays: np.savez(path, **arrays),
    ".npz of TensorFlow's names": lambda path, arrays: np.savez(
        path, **{f"{name}:0": array for name, array in arrays.items()}
    ),
    ".h5": _write_h5,
    ".pkl": lambda path, arrays: path.write_bytes(pickle.dumps(arrays)),
}


@pytest.mark.parametrize("kind", _WRITERS)
@pytest.mark.parametrize("name", tensorflow_files.cases("tf1_"))
def test_the_same_names_in_other_files(name, kind, tmp_path):
    """All are read, or refused, as the checkpoint of the same variables."""
    folder, _ = tensorflow_files.case(name, tmp_path)
    if name == "tf1_format_v1":
        pytest.skip("its variables are not read")
    arrays = jaxgru.load_arrays(folder)
    # Those of an optimizer are called as if within a variable.
    held = {own: arrays[own] for own in arrays if own.rpartition("/")[0] not in arrays}
    path = tmp_path / f"weights{kind.split()[0]}"
    _WRITERS[kind](path, held)
    found, expected = read_all(path).gathered, read_all(folder).gathered
    assert list(found) == list(expected)
    for own, other in zip(found.values(), expected.values(), strict=True):
        if isinstance(other, jaxgru.WeightsError):
            assert str(own).replace(":0'", "'") == str(other)
        else:
            assert jax.tree.structure(own.net) == jax.tree.structure(other.net)
            jax.tree.map(np.testing.assert_array_equal, own.net, other.net)
            assert own.notes == other.notes


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
    with pytest.raises(jaxgru.WeightsError, match="is a link or not a regular file"):
        jaxgru.load(folder)
    (folder / "checkpoint").write_text('model_checkpoint_path: "../.."\n', encoding="ascii")
    with pytest.raises(jaxgru.WeightsError, match="expected a checkpoint in its folder"):
        jaxgru.load(folder)


def test_reading_again(tmp_path, monkeypatch):
    """A variable is counted once among what a file may declare, however often it is read."""
    folder, expected = tensorflow_files.case("tf1_partitioned", tmp_path)
    monkeypatch.setattr(limits, "SMALL", 0)
    arrays = jaxgru.load_arrays(folder)
    for _ in range(100):
        for name in arrays:
            np.testing.assert_array_equal(arrays[name], expected[f"v:{name}"])


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


_ASSUMED = {"activation": "tanh", "recurrent_activation": "sigmoid"}
_CHAIN = {  # as in make_files.chain
    "encoder": {
        "activation": "tanh",
        "recurrent_activation": "hard_sigmoid_keras2",
        "reverse": False,
    },
    "both": {**_ASSUMED, "merge": "sum"},
    "last": {
        "activation": "relu",
        "recurrent_activation": "sigmoid",
        "reset_after": True,
        "reverse": False,
    },
}


def _dense(folder, prefix, xs):
    arrays = jaxgru.load_arrays(folder)
    return xs @ arrays[f"{prefix}readout/kernel"] + arrays[f"{prefix}readout/bias"]


@pytest.mark.parametrize(
    ("name", "prefix"),
    [
        ("keras2_weights_chain", ""),
        ("keras2_checkpoint_chain", "net/"),
        ("keras3_checkpoint_chain", "net/"),
    ],
)
def test_objects_without_a_configuration(name, prefix, tmp_path):
    folder, expected = tensorflow_files.case(name, tmp_path)
    hard = "hard_sigmoid" if "keras3" in name else "hard_sigmoid_keras2"
    xs = expected["x"].astype(np.float32)
    for layer, assume in _CHAIN.items():
        if layer == "encoder":
            assume = {**assume, "recurrent_activation": hard}
        net = jaxgru.load(folder, layer=f"{prefix}{layer}", assume=assume)
        xs, h = jaxgru.gru(net, xs)
    y = _dense(folder, prefix, np.asarray(h))
    np.testing.assert_allclose(y, expected["y"], rtol=0, atol=1e-6)


def test_what_is_not_in_the_file_is_assumed_with_a_warning(tmp_path):
    folder, _ = tensorflow_files.case("keras2_weights_chain", tmp_path)
    with pytest.warns(jaxgru.WeightsWarning, match="does not specify activation, recurrent_activ"):
        jaxgru.load(folder, layer="encoder")


def test_a_configuration_has_all_fields(tmp_path):
    """Without a warning, which is an error in the tests."""
    folder, expected = tensorflow_files.case("keras2_saved_chain", tmp_path)
    nets = jaxgru.load_all(folder)
    assert list(nets) == ["encoder", "both", "last"]
    assert nets["encoder"].recurrent_activation == "hard_sigmoid_keras2"
    assert (nets["both"].merge, nets["both"].forward.reset_after) == ("sum", False)
    assert (nets["last"].activation, nets["last"].bias) == ("relu", None)
    model = jaxgru.load_model(folder)
    y = model(expected["x"].astype(np.float32))
    np.testing.assert_allclose(y, expected["y"], rtol=0, atol=1e-6)
    assert "both/backward/recurrent_kernel" in jaxgru.load_arrays(folder)
    stack = jaxgru.load(folder / "saved_model.pb", layer="*")
    assert len(stack) == 3


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("keras2_saved_cells", ["stack"]),
        ("keras2_saved_subclassed", ["gru_1", "gru_2", "gru_3"]),
        ("keras2_tf_save", ["gru"]),
        ("keras2_weights_cells", ["stack"]),
        ("keras2_weights_plain", ["gru"]),
        ("keras2_weights_subclassed", ["encoder", "heads/gru_2", "table/a"]),
        ("keras2_checkpoint_subclassed", ["net/encoder", "net/heads/gru_6", "net/table/a"]),
        ("keras3_archive", ["sequential_1/gru"]),
        ("keras3_export_plain", ["sequential/gru"]),
        ("keras3_export_subclassed", ["model", "variables/4", "variables/8"]),
        # Two are in a list and a dictionary, whose layers are in the optimizer's list alone.
        (
            "keras3_checkpoint_subclassed",
            ["net/encoder", "model_1", "_trainable_variables/6"],
        ),
    ],
)
def test_outputs_of_keras(name, layers, tmp_path):
    folder, expected = tensorflow_files.case(name, tmp_path)
    has_fields = name.startswith("keras2_saved")
    assume = None if has_fields else {**_ASSUMED, "reverse": False}
    nets = jaxgru.load_all(folder, assume=assume)
    assert list(nets) == layers
    ys, _ = jaxgru.gru(tuple(nets.values()), expected["x"].astype(np.float32))
    np.testing.assert_allclose(ys, expected["y"], rtol=0, atol=1e-6)


def _graph(*nodes):
    """Return a graph of objects: the numbers of others by name, or the key of a variable."""
    held = []
    for one in nodes:
        if isinstance(one, str):
            value = bundles.message((1, b"VARIABLE_VALUE"), (2, b"net/kernel"), (3, one.encode()))
            held.append((1, bundles.message((2, value))))
        else:
            children = [(1, bundles.message((1, n), (2, name.encode()))) for name, n in one.items()]
            held.append((1, bundles.message(*children)))
    return bundles.message(*held)


@pytest.mark.parametrize("state_spec", [False, True])
def test_layers_that_keras_3_leaves_out_beside_others(tmp_path, state_spec):
    """What it writes of a model with a list of layers and a stack of cells; Keras 2 has all."""
    folder, files = _files("keras3_checkpoint_subclassed", tmp_path)
    files = {name: content for name, content in files.items() if "ckpt-3" in name}
    keys = [f"net/encoder/cell/{kind}/.ATTRIBUTES/VARIABLE_VALUE" for kind in (
        "kernel", "recurrent_kernel", "bias")]  # fmt: skip
    more = {"state_spec": 4} if state_spec else {}
    graph = _graph(
        {"net": 1}, {"encoder": 2, "stack": 3}, {"cell": 5} | more, {"cell": 4} | more, {},
        {"kernel": 6, "recurrent_kernel": 7, "bias": 8}, *keys,
    )  # fmt: skip
    for name, content in bundles.with_graph(files, graph).items():
        (folder / name).write_bytes(content)
    gathered = read_all(folder / "ckpt-3").gathered
    notes = [note for note in gathered["net/encoder"].notes if "in lists and dicts" in note]
    if state_spec:
        assert list(gathered) == ["net/encoder"]
        assert not notes
    else:
        assert 'model.save_weights("model.weights.h5") writes all' in notes[0]
        with pytest.raises(jaxgru.WeightsError, match="net/stack: it has no cells with weights"):
            jaxgru.load(folder / "ckpt-3", layer="net/stack")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float16", 2e-3), ("bfloat16", 2e-2)])
def test_half_precision(dtype, tolerance, tmp_path):
    folder, expected = tensorflow_files.case(f"keras2_weights_{dtype}", tmp_path)
    net = jaxgru.load(folder, assume={**_ASSUMED, "reverse": False})
    assert net.dtype == dtype
    ys, _ = jaxgru.gru(net, expected["x"].astype(net.dtype))
    # Of a few steps, each rounded.
    np.testing.assert_allclose(ys.astype(np.float32), expected["y"], rtol=0, atol=tolerance)


def test_cudnn_layer(tmp_path):
    folder, expected = tensorflow_files.case("keras2_weights_cudnn", tmp_path)
    net = jaxgru.load(folder, assume={"reverse": False})
    values = {
        key.split("/")[-3]: v for key, v in expected.items() if key.endswith("VARIABLE_VALUE")
    }
    expected_net = jaxgru.from_keras(
        [values[kind] for kind in ("kernel", "recurrent_kernel", "bias")], assume={"reverse": False}
    )
    np.testing.assert_array_equal(net.kernel, expected_net.kernel)
    np.testing.assert_array_equal(net.recurrent_kernel, expected_net.recurrent_kernel)


def _files(name, folder):
    folder, _ = tensorflow_files.case(name, folder)
    return folder, {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def _hostile_tables():
    size = len(bundles.records([(b"a", b"")]))
    once = bundles.varint(0) + bundles.varint(size)
    one = [(b"a", b"")]
    return {
        "block named again and again": (bundles.table(one, None, [(b"a", once)] * 10), "after the"),
        "block beyond the file": (
            bundles.table(one, None, [(b"a", bundles.varint(2**40) + once[1:])]),
            "a block has bytes",
        ),
        "endless number": (bundles.table(one, b"\xff" * 20 + b"\0\0\0\0\1\0\0\0"), "64 bits"),
        "keys in disorder": (bundles.table([(b"b", b""), (b"a", b"")]), "expected order"),
        "key beyond its record": (
            bundles.table(one, b"\0\x7f\0a" + bytes(4) + b"\1\0\0\0"),
            "a record has a key of 0",
        ),
        "restarts beyond the block": (bundles.table(one, b"\xff" * 8), "restarts: expected fewer"),
        "many shards": (bundles.table([(b"", b"\x08\xff\x7f"), (b"a", b"\x08\1")]), "16383 shards"),
        "no variables": (bundles.table([(b"", b"\x08\1")]), "expected variables"),
        "snappy": (
            bundles.table([(b"", b"\x08\1"), (b"a", b"\x08\1")]).replace(
                bundles.block(bundles.records([(b"", b"\x08\1"), (b"a", b"\x08\1")])),
                bundles.block(bundles.records([(b"", b"\x08\1"), (b"a", b"\x08\1")]), 1),
            ),
            "compressed by snappy",
        ),
    }


@pytest.mark.parametrize("name", _hostile_tables())
def test_hostile_tables(name, tmp_path):
    content, words = _hostile_tables()[name]
    (tmp_path / "a.index").write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=words):
        jaxgru.load(tmp_path / "a")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ([(1, 1), (2, bundles.message((2, b"\x08\x05"))), (5, 24)], "20 bytes: expected the 24"),
        ([(1, 1), (2, bundles.message((2, bundles.message((1, 2**40))))), (5, 4)], "has shape"),
        ([(1, 1), (2, bundles.message((2, b"\x08\x05"))), (4, 2**50), (5, 20)], "expected them in"),
        ([(1, 1), (2, bundles.message((2, b"\x08\x05"))), (3, 9), (5, 20)], "is in shard 9 of 1"),
        ([(1, 6), (2, bundles.message((2, b"\x08\x05"))), (5, 20)], "number 6 of TensorFlow"),
        ([(1, 1), (2, bundles.message(*[(2, b"\x08\1")] * 9)), (5, 4)], "expected at most 8"),
        ([(1, 1), (2, bundles.message((2, b"\x08\x05"))), (7, b"\x0a\0")], "lacks the slice"),
        (
            [(1, 1), (2, bundles.message((2, b"\x08\x05"))), (7, b"\x0a\4\x08\3\x10\x09")],
            "has a slice 3 to 12",
        ),
    ],
)
def test_hostile_entries(entry, words, tmp_path):
    folder, files = _files("tf1_gru_cell", tmp_path)
    index = next(name for name in files if name.endswith(".index"))
    held = bundles.message(*entry)
    entries = [
        (key, held if key == b"rnn/gru_cell/gates/bias" else value)
        for key, value in bundles.entries_of(files[index])
    ]
    (folder / index).write_bytes(bundles.table(entries))
    with pytest.raises(jaxgru.WeightsError, match=words):
        jaxgru.load_arrays(folder)["rnn/gru_cell/gates/bias"]


def test_objects_in_a_circle(tmp_path):
    """Each object is a child of the next, under names that get longer and longer."""
    folder, files = _files("keras2_weights_plain", tmp_path)
    count = 2000
    children = [
        bundles.message((1, bundles.message((1, (i + 1) % count), (2, b"a" * 500))))
        for i in range(count)
    ]
    graph = bundles.message(*((1, child) for child in children))
    for name, content in bundles.with_graph(files, graph).items():
        (folder / name).write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match="no GRU is among its 4 variables and 2000 objec"):
        jaxgru.load(folder)


def test_layers_that_keras_3_leaves_out(tmp_path):
    folder, files = _files("keras2_weights_plain", tmp_path)
    for name, content in bundles.with_graph(files, bundles.message((1, b""))).items():
        (folder / name).write_bytes(content)
    with pytest.raises(jaxgru.WeightsError, match=r"leaves out layers in lists .*save_weights\("):
        jaxgru.load(folder)


@pytest.mark.live
@pytest.mark.parametrize("name", _CHECKPOINTS)
def test_tensorflow_reads_the_same(name, tmp_path):
    tf = pytest.importorskip("tensorflow")
    folder, _ = tensorflow_files.case(name, tmp_path)
    prefix = str(next(folder.rglob("*.index")))[: -len(".index")]
    reader, arrays = tf.train.load_checkpoint(prefix), read_index(Path(f"{prefix}.index")).arrays
    assert set(reader.get_variable_to_shape_map()) == set(arrays)
    for own in arrays:
        if arrays[own].dtype in _FLOATS:
            assert read_now(arrays[own]).tobytes() == reader.get_tensor(own).tobytes()

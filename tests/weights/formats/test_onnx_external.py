"""Weights of an ONNX model in another file: read where that is allowed, and refused elsewhere."""

import re

import jax
import live_onnx
import numpy as np
import pytest

import jaxgru
from jaxgru.weights import read_all

onnx = pytest.importorskip("onnx")
helper = onnx.helper

_ARRAYS = live_onnx.arrays_of("usual", jax.random.key(0))


class TestExternalData:
    """Weights in another file, where that is allowed."""

    def test_read(self, tmp_path):
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "W.bin").write_bytes(b"skipped!" + _ARRAYS["W"].tobytes())
        entries = {"location": "data/W.bin", "offset": "8", "length": "144", "checksum": "0"}
        path = self._write(tmp_path, entries)
        net = jaxgru.load(path, external_data=True)
        np.testing.assert_array_equal(net.kernel, _ARRAYS["W"][0].T)

    @pytest.mark.parametrize(
        ("entries", "message"),
        [
            ({}, "has its data in '': expected a relative path"),
            ({"location": "."}, "has its data in no regular file"),
            ({"location": "missing"}, "has its data in a file that cannot be read: No such file"),
            (
                {"location": "W.bin", "length": "143"},
                "has 143 bytes of external data",
            ),
            ({"location": "W.bin", "offset": "1"}, "at bytes 1 to 145 of a file of 144"),
            (
                {"location": "W.bin", "offset": "+0"},
                r"has offset '\+0': expected a number",
            ),
            ({"location": "W.bin", "where": "x"}, "has 'where' among its external data"),
            ({"location": "C:\\W.bin"}, "expected a relative path"),
            ({"location": "a\\..\\..\\W.bin"}, "expected a relative path"),
            ({"location": "W.bin\0"}, "expected a relative path"),
        ],
    )
    def test_refused(self, tmp_path, entries, message):
        (tmp_path / "W.bin").write_bytes(_ARRAYS["W"].tobytes())
        with pytest.raises(jaxgru.WeightsError, match=message):
            jaxgru.load(self._write(tmp_path, entries), external_data=True)

    def test_one_file_many_times(self, tmp_path):
        # Each of 100 nodes reads the same 8 MiB: beyond 32 times what there is on disk.
        (tmp_path / "W.bin").write_bytes(bytes(2**23))
        model = live_onnx.model_of(_ARRAYS)
        del model.graph.initializer[0]
        for i in range(100):
            tensor = onnx.TensorProto(name=f"W{i}", data_type=1, dims=[1, 12, 2**21 // 12])
            _make_external(tensor, {"location": "W.bin"})
            model.graph.initializer.append(tensor)
            model.graph.node.append(helper.make_node("GRU", ["x", f"W{i}", "R"], [f"y{i}"]))
        live_onnx.write(model, tmp_path / "model.onnx")
        found = read_all(tmp_path / "model.onnx", external_data=True).gathered
        assert re.search("declare .* bytes: expected at most", str(found["gru_98"]))

    def _write(self, folder, entries):
        model = live_onnx.model_of(_ARRAYS)
        model.graph.initializer[0].ClearField("raw_data")
        _make_external(model.graph.initializer[0], entries)
        live_onnx.write(model, folder / "model.onnx")
        return folder / "model.onnx"


def _make_external(tensor, entries):
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)

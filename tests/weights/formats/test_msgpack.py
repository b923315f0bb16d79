"""Flax's MessagePack: what Flax writes is read as Flax reads it."""

import struct

import jax.numpy as jnp
import numpy as np
import pytest
from equal import assert_same
from hostile.messagepack import packb, params

import jaxgru
from jaxgru._weights.contract import FileProbe
from jaxgru._weights.formats import msgpack as reader


@pytest.fixture
def path(tmp_path):
    return tmp_path / "x.msgpack"


@pytest.mark.live
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_flax_writes_what_is_read_to_the_bit(path, dtype, monkeypatch):
    serialization = pytest.importorskip("flax.serialization")
    arrays = params(jnp.dtype(dtype))
    path.write_bytes(serialization.to_bytes({"net": {"~": arrays}}))
    whole = jaxgru._weights.io.read(path)
    expected = arrays["w_h"].copy()
    expected[:, :2] *= -1
    assert_same(whole.recurrent_kernel, expected)
    # Arrays in pieces are put together.
    monkeypatch.setattr(serialization, "MAX_CHUNK_SIZE", 20)  # bytes, for 2**30
    path.write_bytes(serialization.to_bytes({"net": {"~": arrays}}))
    assert b"__msgpack_chunked_array__" in path.read_bytes()
    assert_same(jaxgru._weights.io.read(path), whole)


@pytest.mark.live
def test_what_else_a_state_holds_is_passed_over(path):
    serialization = pytest.importorskip("flax.serialization")
    state = {
        "step": 3,
        "rate": np.float32(0.1),
        "phase": 1 + 2j,
        "name": "run",
        "best": None,
        "flags": {"0": True, "1": b"\0"},
        "rng": np.array([1, 2], np.uint32),
        "counts": np.zeros((3, 4), np.int8),
        "params": {"gru": params()},
        "opt_state": {"0": {"mu": {"gru": params()}}},
    }
    path.write_bytes(serialization.to_bytes(state))
    assert list(jaxgru.load_all(path)) == ["params/gru"]


@pytest.mark.parametrize("others", [0, 20, 70_000])  # heads of 4, 16 and 32 bits
def test_maps_of_every_length_are_recognised(path, others):
    path.write_bytes(packb({f"x{i}": 0 for i in range(others)} | {"gru": params()}))
    assert jaxgru.load(path).input_size == 3


def test_lists_have_positions_for_names(path):
    path.write_bytes(packb({"layers": [1, {"gru": params()}]}))
    assert list(jaxgru.load_all(path)) == ["layers/1/gru"]


@pytest.mark.parametrize(
    "content",
    [
        b"\x80",  # an empty map
        b"\x80\x04\x95\x00\x00",  # a pickle
        b"\x81\x01\x02",  # a map whose key is a number
        b"\x08\x0a\x12\x07pytorch",  # ONNX
        "ހއ".encode(),  # text whose first byte is a map's
        b"\xdf" + struct.pack(">I", 2**31) + b"\xa1a",  # a map of more than the file has
    ],
)
def test_what_is_no_map_of_names_is_not_recognised(content):
    assert not reader.recognizes(FileProbe(content, None, len(content)))

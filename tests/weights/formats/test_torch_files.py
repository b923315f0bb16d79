"""Files of torch.save, in both of its formats, and pickles, against what PyTorch makes of them."""

import argparse
import collections
import datetime
import io
import pathlib
import pickle
import sys
import types
import zipfile

import cases
import jax
import live_torch
import numpy as np
import pytest
from equal import assert_same

import jaxgru

pytestmark = pytest.mark.live

legacy_or_not = pytest.mark.parametrize("legacy", [False, True])
every_dtype = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
every_protocol = pytest.mark.parametrize("protocol", [2, 3, 4, 5])


@pytest.fixture(autouse=True)
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    # A checkpoint of either format may be called .tar; what it is follows from its content.
    return tmp_path / "checkpoint.pth.tar"


@legacy_or_not
def test_a_checkpoint_with_all_that_people_put_into_one(torch, key, path, legacy):
    module = torch.nn.Module()
    module.encoder = live_torch.build("bidirectional", key)
    module.head = torch.nn.BatchNorm1d(4)
    module.decoders = torch.nn.ModuleList(live_torch.build("cell", key) for _ in range(11))
    optimizer = torch.optim.Adam(module.parameters())
    module.encoder(torch.ones(2, 3))[0].sum().backward()
    optimizer.step()
    content = {
        "model": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "random": [torch.get_rng_state(), (1, 2.5, None, True, b"bytes", 2**70)],
        "about": {"dtype": torch.float16, "size": torch.Size([3]), "at": torch.device("cpu")},
        "parameters": list(module.parameters()),
        "names": [{"a", "b"}, frozenset({3}), bytearray(b"x"), 1j, torch.nn.GRU, 10**400],
        "args": argparse.Namespace(folder=pathlib.Path("runs"), at=datetime.datetime(2024, 1, 1)),
        "counts": collections.Counter("aab"),
        "numpy": [np.float64(0.5), np.arange(3.0), np.dtype("f4")],
        ("no", "name"): module.head.state_dict(),
        5: {"gru": live_torch.build("no bias", key).state_dict()},
        "half": torch.ones(3, dtype=torch.uint16),
        "conjugate": torch.ones(3, dtype=torch.complex64).conj(),
        "nothing": torch.zeros(0, 3),
    }
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)

    found = jaxgru.load_all(path)

    decoders = [f"model.decoders.{i}" for i in range(11)]
    assert list(found) == ["model.encoder", *decoders, "5.gru"]
    assert_same(found["model.encoder"], jaxgru.from_torch(module.encoder))
    assert_same(found[decoders[-1]], jaxgru.from_torch(module.decoders[-1]))
    assert found["5.gru"].bias is None


@legacy_or_not
def test_views_of_one_storage(torch, key, path, legacy):
    """As GPUs have a GRU's weights in one piece; with strides, and the GRU twice."""
    state = live_torch.build("stack", key).state_dict()
    flat = torch.cat([tensor.flatten() for tensor in state.values()])
    pieces = flat.split([tensor.numel() for tensor in state.values()])
    views = {k: piece.view(state[k].shape) for k, piece in zip(state, pieces, strict=True)}
    views["weight_hh_l1"] = views["weight_hh_l1"].T.contiguous().T
    views["bias_hh_l1"] = torch.stack([views["bias_hh_l1"], torch.ones(12)], 1)[:, 0]
    content = [views, (views, {"again": dict(views)})]
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    # The same container is read where it is met first.
    expected = jaxgru.from_torch(state)
    assert_same(jaxgru.load_all(path), dict.fromkeys(("0", "1.1.again"), expected))


@legacy_or_not
def test_saved_on_a_gpu(key, path, legacy):
    """The place that a storage was at is a word in the file; there is no GPU to try it on."""
    module = live_torch.build("layer", key)
    live_torch.write(module, path, legacy=legacy)
    cpu, gpu = (b"X" + len(word).to_bytes(4, "little") + word for word in (b"cpu", b"cuda:0"))
    if legacy:
        path.write_bytes(path.read_bytes().replace(cpu, gpu))
    else:
        _change(path, "data.pkl", lambda pickle: pickle.replace(cpu, gpu))
    assert_same(jaxgru.load(path), jaxgru.from_torch(module))


class OfPython2(collections.OrderedDict):
    """Pickled as an OrderedDict of Python 2: with a list of its items, each a list of two."""

    def __reduce__(self):
        return collections.OrderedDict, ([[name, value] for name, value in self.items()],)


@legacy_or_not
def test_state_dicts_of_python_2_and_of_tensors_of_ones_own_class(
    torch, key, path, monkeypatch, legacy
):
    state = live_torch.build("layer", key).state_dict()
    own = type("Own", (torch.Tensor,), {"__module__": "mine"})
    for saved in (OfPython2(state), {name: t.as_subclass(own) for name, t in state.items()}):
        with monkeypatch.context() as patch:  # the class has to be there to be written, not read
            patch.setitem(sys.modules, "mine", types.SimpleNamespace(Own=own))
            torch.save(saved, path, _use_new_zipfile_serialization=not legacy)
        assert_same(jaxgru.load(path), jaxgru.from_torch(state))


@every_dtype
def test_saved_on_a_big_endian_machine(torch, key, x64, path, dtype):
    module = live_torch.build("layer", key, dtype)
    live_torch.write(module, path)
    kind = f"u{module.weight_ih_l0.element_size()}"
    _change(path, "/data/", lambda numbers: np.frombuffer(numbers, kind).byteswap().tobytes())
    _change(path, "byteorder", lambda _: b"big")
    # PyTorch agrees that this is how such a file looks.
    assert torch.equal(torch.load(path)["weight_ih_l0"], module.weight_ih_l0)
    assert_same(jaxgru.load(path), jaxgru.from_torch(module))


@every_protocol
def test_whole_modules(torch, key, path, protocol):
    net = torch.nn.Module()  # as people pickle one whole, with what else it was given
    net.options = argparse.Namespace(folder=pathlib.Path("runs"), at=datetime.date(2024, 1, 1))
    net.encoder = torch.nn.Sequential(live_torch.build("bidirectional", key))
    net.register_buffer("steps", torch.zeros(1))
    net.cells = torch.nn.ModuleDict({"first": live_torch.build("cell, no bias", key)})
    options = {"pickle_protocol": protocol}
    for write in (
        lambda: torch.save(net, path, **options),
        lambda: torch.save(net, path, **options, _use_new_zipfile_serialization=False),
        lambda: path.write_bytes(pickle.dumps(net, protocol)),
        lambda: path.write_bytes(pickle.dumps(torch.nn.DataParallel(net).module, protocol)),
    ):
        write()
        found = jaxgru.load_all(path)
        assert list(found) == ["encoder.0", "cells.first"]
        assert_same(found["encoder.0"], jaxgru.from_torch(net.encoder[0]))
        assert_same(found["cells.first"], jaxgru.from_torch(net.cells["first"]))
    torch.save(net.encoder[0], path, **options)
    assert_same(jaxgru.load(path), jaxgru.from_torch(net.encoder[0]))


@every_dtype
def test_plain_pickles(key, x64, path, dtype):
    """``pickle.dump`` of a state dict: each tensor's numbers are a stream within the pickle."""
    module = live_torch.build("layer", key, dtype)
    for state in (module.state_dict(), dict(module.named_parameters())):
        for protocol in (2, 5):
            path.write_bytes(pickle.dumps({"params": state, "step": 3}, protocol))
            assert_same(jaxgru.load(path), jaxgru.from_torch(module))


@pytest.mark.parametrize("variant", ["bidirectional stack, no bias", "stack"])
def test_safetensors_that_pytorch_loads(key, tmp_path, variant):
    safetensors = pytest.importorskip("safetensors.torch")
    module, other = (live_torch.build(variant, k) for k in jax.random.split(key))
    net, path = jaxgru.from_torch(module), tmp_path / "weights.safetensors"
    jaxgru.save(net, path, format="torch-safetensors")
    other.load_state_dict(safetensors.load_file(path), strict=True)
    assert_same(jaxgru.load(path), net)
    assert_same(jaxgru.from_torch(other), net)
    halves = cases.random_params(key, 3, 4, dtype="bfloat16")
    jaxgru.save(halves, path, format="torch-safetensors")
    assert_same(jaxgru.load(path), halves)


def _change(path, ending, change):
    """Change the entries of an archive whose names have something in them."""
    file = io.BytesIO()
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(file, "w") as changed:
        for name in archive.namelist():
            content = archive.read(name)
            changed.writestr(name, change(content) if ending in name else content)
    path.write_bytes(file.getvalue())

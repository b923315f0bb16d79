"""Exported nets, run without jaxgru, by ``jax.export.deserialize``.

The oracle is the float64 loop over nets. States are within 1 or so; what float32 rounds adds up to
3e-7 here. ONNX Runtime runs the page below, and the models of weights/formats/test_onnx_write.py.
"""

import re
import shlex
import sys

import fresh
import jax
import jax.export
import net_oracle
import nets
import numpy as np
import pages
import pytest

import jaxgru
from jaxgru._cli import command as cli

_TOLERANCE = {"rtol": 0, "atol": 2e-6}
pytest.importorskip("flatbuffers")


def test_stablehlo_computes_what_gru_does(tmp_path):
    # Every option at once, and both placements of the reset gate.
    net = _net("stack")
    options = {"streaming": True, "lengths": True, "time_major": True}
    jaxgru.export(net, tmp_path / "net.stablehlo", **options)
    exported = jax.export.deserialize((tmp_path / "net.stablehlo").read_bytes())
    xs = _normal((3, 5, 3))
    h0 = _state(net, 3)
    lengths = np.array([5, 1, 3], np.int32)
    valid = np.arange(5) < lengths[:, None]
    ys, h = net_oracle.run(net, xs, h0, valid=valid)
    found = exported.call(xs.swapaxes(0, 1), lengths, *h0)
    _assert_close(found, (np.where(valid[..., None], ys, 0).swapaxes(0, 1), h))


@pytest.mark.parametrize("name", ["pair", "backward"])
def test_stablehlo_of_directions_whole_and_in_chunks(tmp_path, name):
    net, path = _net(name), tmp_path / "net"
    xs, zeros = _normal((2, 6, 3)), jax.tree.map(np.zeros_like, _state(_net(name), 2))
    expected = net_oracle.run(net, xs, zeros)
    signature = jaxgru.export(net, path, format="stablehlo")
    found = jax.export.deserialize(path.read_bytes()).call(xs)
    assert len(found) == len(signature.outputs)
    _assert_close(found, expected)
    if name == "backward":  # so the chunks go from the last to the first
        jaxgru.export(net, path, format="stablehlo", streaming=True)
        step = jax.jit(jax.export.deserialize(path.read_bytes()).call)
        second, *h = step(xs[:, 3:], *jax.tree.leaves(zeros))
        first, *h = step(xs[:, :3], *h)
        _assert_close((np.concatenate([first, second], axis=1), h), expected)


def test_double_precision_needs_no_mode_to_export(tmp_path):
    net = jax.tree.map(lambda x: np.asarray(x, np.float64), _net("layer"))
    signature = jaxgru.export(net, tmp_path / "net.stablehlo")
    assert signature.dtype == np.float64
    exported = jax.export.deserialize((tmp_path / "net.stablehlo").read_bytes())
    xs = np.random.default_rng(0).normal(size=(2, 5, 3))
    with jax.enable_x64(True):
        found = exported.call(xs)
    # Sums of a few numbers within 1, in float64.
    for one, other in zip(found, net_oracle.run(net, xs, np.zeros((2, 4))), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-14)


def test_platforms_that_are_not_there(tmp_path):
    net = jax.tree.map(lambda x: x.astype(jax.numpy.bfloat16), _net("layer"))
    jaxgru.export(net, tmp_path / "net.stablehlo", platforms=("cuda", "tpu", "tpu"))
    exported = jax.export.deserialize((tmp_path / "net.stablehlo").read_bytes())
    assert exported.platforms == ("cuda", "tpu")
    # Half precision is a way to store weights: all else is float32, as in gru.
    assert {str(aval.dtype) for aval in (*exported.in_avals, *exported.out_avals)} == {"float32"}
    # All products in full precision, none left to the platform.
    module = exported.mlir_module()
    products = module.count("stablehlo.dot_general ")
    assert module.count("precision = [HIGHEST, HIGHEST]") == products > 0
    with pytest.raises(ValueError, match="cuda"):
        exported.call(np.ones((1, 2, 3), np.float32))


@pytest.mark.parametrize("name", ["bidirectional stack", "pair", "stack"])
def test_the_signature_is_that_of_either_file(tmp_path, name):
    onnx = pytest.importorskip("onnx")
    net = _net(name)
    options = {"lengths": True, "streaming": name == "stack"}
    signature = jaxgru.export(net, tmp_path / "net.onnx", **options)
    assert jaxgru.export(net, tmp_path / "net.stablehlo", **options) == signature
    graph = onnx.load(tmp_path / "net.onnx").graph
    exported = jax.export.deserialize((tmp_path / "net.stablehlo").read_bytes())
    for side, values, avals in (
        (signature.inputs, graph.input, exported.in_avals),
        (signature.outputs, graph.output, exported.out_avals),
    ):
        shapes = [list(map(str, shape)) for shape in side.values()]
        dims = [v.type.tensor_type.shape.dim for v in values]
        assert list(side) == [value.name for value in values]
        assert shapes == [[d.dim_param or str(d.dim_value) for d in shape] for shape in dims]
        assert shapes == [list(map(str, aval.shape)) for aval in avals]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("net.onnx", {"streaming": True}, "streaming is True for a bidirectional net"),
        ("net", {"format": "hlo"}, "format is 'hlo': expected onnx or stablehlo"),
        ("net.stablehlo", {"platforms": ()}, r"platforms are \(\): expected some of cpu, cuda"),
        ("net.stablehlo", {"precision": "best"}, "precision is 'best'"),
        ("net.onnx", {"precision": None}, "precision is None for an ONNX model"),
    ],
)
# More is refused in cli/test_cli_errors.py.
def test_what_is_refused_leaves_the_old_file(tmp_path, name, options, message):
    (tmp_path / name).write_text("old")
    net = _net("layer")
    net = jaxgru.Bidirectional(net, net) if "streaming" in options else net
    with pytest.raises(ValueError, match=message):
        jaxgru.export(net, tmp_path / name, **options)
    assert (tmp_path / name).read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_without_flatbuffers_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "flatbuffers", None)
    with pytest.raises(ImportError, match=r'flatbuffers.*pip install "jaxgru\[stablehlo\]"'):
        jaxgru.export(_net("layer"), tmp_path / "net.stablehlo")


@pytest.mark.slow
@pytest.mark.live
def test_the_page_runs_as_shown(tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    (tmp_path / "examples").symlink_to(pages.ROOT / "examples")
    monkeypatch.chdir(tmp_path)
    page = pages.read("docs/deployment.md")
    (commands,), (shown,) = (pages.blocks(page, language) for language in ("sh", "text"))
    for command in commands.splitlines():
        assert cli.main(shlex.split(command.removeprefix("jaxgru "))) == 0
    assert capsys.readouterr().out.strip() == shown
    onnx_whole, onnx_chunks, deserialized, refined = pages.blocks(page, "python")
    # A process of their own for each way, in which jaxgru cannot be imported.
    for program in (f"{onnx_whole}\n{onnx_chunks}", deserialized, refined):
        fresh.python("-c", f"import sys\nsys.modules['jaxgru'] = None\n{program}", PYTHONPATH="")
    # The C++ program is not run: it must at least name what is there.
    (source,) = pages.blocks(page, "cpp")
    step = jaxgru.export(jaxgru.load("examples/data/gru.npz"), "step.onnx", streaming=True)
    for side, names in (("inputs", step.inputs), ("outputs", step.outputs)):
        (given,) = re.findall(rf"{side}{{(.*)}};", source)
        assert re.findall(r'"(\w+)"', given) == list(names)
    assert (tmp_path / "step.mlirbc").read_bytes().startswith(b"ML\xefR")


def _net(name):
    return nets.random_net(jax.random.key(0), name)


def _state(net, batch):
    return jax.tree.map(np.asarray, nets.random_state(jax.random.key(1), net, (batch,)))


def _normal(shape):
    return np.random.default_rng(2).normal(size=shape).astype(np.float32)


def _assert_close(found, expected):
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, **_TOLERANCE)

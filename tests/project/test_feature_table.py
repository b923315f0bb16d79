"""Each cell of the README's feature table, checked against the library in its column.

The oracles are the libraries' own names, arguments and results. Where the reset gate acts, a
conversion to jaxgru says, whose own test compares the outputs.
"""

import inspect
import re

import jax
import jax.numpy as jnp
import pages
import pytest

import jaxgru

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

PACKAGES = {
    "Flax": "flax",
    "Equinox": "equinox",
    "Haiku": "dm-haiku",
    "Keras": "keras",
    "PyTorch": "torch",
    "ONNX Runtime": "onnxruntime",
}


@pytest.fixture
def table():
    lines = re.findall(r"^\| .*\|$", pages.read("README.md"), flags=re.MULTILINE)
    head, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    assert head[1] == "jaxgru"
    return [name.rsplit(" ", 1) for name in head[2:]], {row[0]: row[1:] for row in rows}


def test_versions_are_those_of_the_constraints(table):
    versions, _ = table
    # PyTorch's is that of another environment.
    pinned = pages.read("constraints.txt").split() + re.findall(
        r'"(torch==[\d.]+)"', pages.read("pyproject.toml")
    )
    assert [name for name, _ in versions] == list(PACKAGES)
    for name, version in versions:
        assert f"{PACKAGES[name]}=={version}" in pinned


def test_cells_of_jaxgru(table):
    _, rows = table
    options = inspect.signature(jaxgru.gru).parameters
    assert {"lengths", "mask", "resets"} <= set(options)
    params = jaxgru.init(jax.random.key(0), 3, 4, reset_after=False, activation="relu")
    net = jaxgru.Bidirectional(params, params)
    jax.vmap(lambda xs: jaxgru.gru(net, xs)[0])(jnp.ones((2, 5, 3)))
    assert [cells[0] for cells in rows.values()] == ["both", *["yes"] * 6]


def test_cells_of_flax(table):
    nnx = pytest.importorskip("flax.nnx")
    options = _options(nnx.GRUCell)
    assert {"gate_fn", "activation_fn"} <= options
    assert "reset_after" not in options
    assert hasattr(nnx, "Bidirectional")
    assert not _resets(nnx.RNN.__call__)
    rnn, xs = nnx.RNN(nnx.GRUCell(3, 4, rngs=nnx.Rngs(0))), jnp.ones((1, 5, 3))
    assert jaxgru.from_flax(rnn).reset_after
    carry, ys = rnn(xs, seq_lengths=jnp.array([2]), return_carry=True)
    assert jnp.array_equal(carry[0], ys[0, 1])
    assert not jnp.array_equal(ys[0, 2], ys[0, 1])  # goes on beyond: the last state alone
    assert ys[0, 2].any()
    linen = pytest.importorskip("flax.linen")
    module = linen.RNN(linen.GRUCell(4))
    variables = module.init(jax.random.key(0), xs[0])
    _map_gradient(lambda xs: module.apply(variables, xs))
    expected = ["after", "yes", "last state", "yes", "no", "yes", "yes"]
    assert _column(table, "Flax") == expected


def test_cells_of_equinox(table):
    eqx = pytest.importorskip("equinox")
    cell = eqx.nn.GRUCell(3, 4, key=jax.random.key(0))
    assert [name for name in dir(eqx.nn) if re.search("GRU|RNN|irect|Reset", name)] == ["GRUCell"]
    assert list(inspect.signature(cell).parameters) == ["input", "hidden", "key"]
    assert not {"activation", "reset_after"} & set(_options(eqx.nn.GRUCell))

    def run(xs):
        return jax.lax.scan(lambda h, x: (cell(x, h),) * 2, jnp.zeros(4), xs)[1]

    _map_gradient(run)
    assert jaxgru.from_equinox(cell).reset_after
    assert _column(table, "Equinox") == ["after", "no", "no", "no", "no", "yes", "yes"]


def test_cells_of_haiku(table):
    hk = pytest.importorskip("haiku")
    assert not [name for name in dir(hk) if "irect" in name]
    assert hasattr(hk, "ResetCore")
    assert not {"activation", "reset_after"} & set(_options(hk.GRU))
    assert not {"lengths", "mask"} & set(inspect.signature(hk.dynamic_unroll).parameters)
    pure = hk.without_apply_rng(
        hk.transform(lambda xs: hk.dynamic_unroll(gru := hk.GRU(4), xs, gru.initial_state(None))[0])
    )
    xs = jnp.ones((5, 3))
    variables = pure.init(jax.random.key(0), xs)
    _map_gradient(lambda xs: pure.apply(variables, xs))
    assert not jaxgru.from_haiku(variables).reset_after
    assert _column(table, "Haiku") == ["before", "no", "no", "no", "yes", "yes", "yes"]


def test_cells_of_keras(table):
    keras = pytest.importorskip("keras")
    options = _options(keras.layers.GRU)
    assert {"activation", "recurrent_activation", "reset_after"} <= options
    assert "mask" in inspect.signature(keras.layers.GRU.call).parameters
    assert hasattr(keras.layers, "Bidirectional")
    assert not _resets(keras.layers.GRU.call)
    layer = keras.layers.GRU(4, return_sequences=True)
    layer.build((None, 5, 3))
    assert jaxgru.from_keras(layer).reset_after
    trainable, rest = ([v.value for v in vs] for vs in (layer.variables[:3], layer.variables[3:]))
    _map_gradient(lambda xs: layer.stateless_call(trainable, rest, xs[None])[0])
    expected = ["both", "yes", "yes", "yes", "no", "yes", "yes (on JAX)"]
    assert _column(table, "Keras") == expected


def test_cells_of_torch(table):
    torch = pytest.importorskip("torch")
    assert hasattr(torch.nn.utils.rnn, "pack_padded_sequence")
    assert not _resets(torch.nn.GRU.forward)
    for option in ("activation", "nonlinearity", "reset_after"):
        with pytest.raises(TypeError, match="unexpected keyword"):
            torch.nn.GRU(3, 4, **{option: "relu"})
    layer = torch.nn.GRU(3, 4, batch_first=True, bidirectional=False)
    xs = torch.ones(2, 5, 3, requires_grad=True)
    ys, _ = layer(xs)
    ys.sum().backward()
    assert jaxgru.from_torch(layer).reset_after
    with pytest.raises(RuntimeError, match="Batching rule not implemented"):
        torch.func.vmap(lambda xs: layer(xs)[0])(xs)
    assert torch.nn.GRU(3, 4, bidirectional=True).bidirectional
    assert _column(table, "PyTorch") == ["after", "no", "yes", "yes", "no", "yes", "no"]


def test_cells_of_onnxruntime(table):
    onnx = pytest.importorskip("onnx")
    schema = onnx.defs.get_schema("GRU")
    assert {"activations", "direction", "linear_before_reset"} <= set(schema.attributes)
    names = [value.name for value in schema.inputs]
    assert names == ["X", "W", "R", "B", "sequence_lens", "initial_h"]
    params = jaxgru.init(jax.random.key(0), 3, 4, reset_after=False)
    assert not jaxgru.from_onnx(jaxgru.to_onnx(params)).reset_after
    expected = ["both", "yes", "yes", "yes", "no", "no", "no"]
    assert _column(table, "ONNX Runtime") == expected


def _column(table, name):
    versions, rows = table
    place = 1 + [library for library, _ in versions].index(name)
    return [cells[place] for cells in rows.values()]


def _map_gradient(layer):
    """Map the gradient of a layer of sequences over two of them."""
    jax.vmap(jax.grad(lambda xs: layer(xs).sum()))(jnp.ones((2, 5, 3)))


def _options(layer):
    return set(inspect.signature(layer.__init__).parameters)


def _resets(function):
    return [name for name in inspect.signature(function).parameters if "reset" in name.lower()
            and name != "reset_after"]  # fmt: skip

"""Nets stacked along a leading axis, in every library's layout: each one is that of its arrays."""

import functools

import jax
import numpy as np
import pytest

import jaxgru
from jaxgru._weights.libraries.finding import find

COUNT, INPUTS, UNITS = 4, 3, 5
SHAPES = {
    "torch": {
        f"g.{name}{side}": shape
        for side in ("", "_reverse")
        for name, shape in {
            "weight_ih_l0": (15, 3), "weight_hh_l0": (15, 5), "bias_ih_l0": (15,),
            "bias_hh_l0": (15,),
        }.items()
    },
    "linen": {f"i{g}/kernel": (3, 5) for g in "rzn"} | {f"h{g}/kernel": (5, 5) for g in "rzn"}
    | {f"{g}/bias": (5,) for g in ("ir", "iz", "in", "hn")},
    "nnx": {"dense_i/kernel": (3, 15), "dense_i/bias": (15,), "dense_h/kernel": (5, 15)},
    "haiku": {"w_i": (3, 15), "w_h": (5, 15), "b": (15,)},
    "equinox": {"weight_ih": (15, 3), "weight_hh": (15, 5), "bias": (15,), "bias_n": (5,)},
    "mlx": {"Wx": (15, 3), "Wh": (15, 5), "b": (15,), "bhn": (5,)},
    "mlx, early": {"Wx": (3, 15), "Wh": (5, 15), "b": (15,), "bhn": (5,)},
    "fields": {
        "kernel": (3, 15), "recurrent_kernel": (5, 15), "bias": (15,), "recurrent_bias": (15,)
    },
}  # fmt: skip


def _arrays(library, axes=(COUNT,)):
    random = np.random.default_rng(0)
    return {n: random.normal(size=axes + s).astype("f") for n, s in SHAPES[library].items()}


def _only(arrays):
    [found] = find(arrays, {}).values()
    if isinstance(found, jaxgru.WeightsError):
        raise found
    return found


@pytest.mark.parametrize("axes", [(COUNT,), (2, 3), (1,)])
@pytest.mark.parametrize("library", SHAPES)
def test_each_is_the_net_of_its_arrays(library, axes):
    arrays = _arrays(library, axes)
    found = _only(arrays)
    assert f"stacked over {' x '.join(map(str, axes))}" in " ".join(found.notes)
    for index in np.ndindex(axes):
        one = _only({name: array[index] for name, array in arrays.items()})
        assert "stacked" not in " ".join(one.notes)
        taken = jax.tree.map(lambda array, index=index: array[index], found.net)
        jax.tree.map(np.testing.assert_array_equal, taken, one.net)


@pytest.mark.parametrize("library", SHAPES)
def test_a_wrong_shape_is_no_stack(library):
    arrays = _arrays(library)
    for name in arrays:
        for wrong in (arrays[name][0], arrays[name][:2], arrays[name][..., None]):
            try:
                found = find(arrays | {name: wrong}, {})
            except jaxgru.WeightsError:  # no weights of a GRU at all
                continue
            assert all(isinstance(one, jaxgru.WeightsError) for one in found.values()), name


def test_layers_and_directions_are_stacked_alike():
    arrays = {
        f"{side}_rnn/cell/{name}": array
        for side, count in (("forward", 4), ("backward", 3))
        for name, array in _arrays("nnx", (count,)).items()
    }
    with pytest.raises(jaxgru.WeightsError, match=r"forward: the arrays have the leading axes 4"):
        _only(arrays)


@pytest.fixture
def ensemble(key):
    params = jax.vmap(lambda key: jaxgru.init(key, INPUTS, UNITS))(jax.random.split(key, COUNT))
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, x.shape) for k, x in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(treedef, drawn)


@pytest.mark.parametrize("equations", ["keras", "notebook"])
def test_files_of_jaxgru_hold_them(tmp_path, ensemble, equations):
    path = tmp_path / "ensemble.safetensors"
    net = (ensemble,)
    if equations == "notebook":  # which have no recurrent bias of the candidate
        zeroed = ensemble.recurrent_bias.at[..., 2 * UNITS :].set(0)
        net = (jaxgru.GRUParams(ensemble.kernel, ensemble.recurrent_kernel, ensemble.bias, zeroed),)
    jaxgru.save(net, path, equations=equations)
    loaded = jaxgru.load(path, equations=equations)
    jax.tree.map(np.testing.assert_array_equal, loaded, net)
    first = jax.tree.map(lambda array: array[0], net)
    jaxgru.save(first, path, equations=equations)
    one = jaxgru.load(path, equations=equations)
    taken = jax.tree.map(lambda array: array[0], loaded)
    jax.tree.map(np.testing.assert_array_equal, one, taken)


@pytest.mark.parametrize("suffix", [".npz", ".onnx", "torch-safetensors"])
def test_other_formats_say_that_they_are_stacked(tmp_path, ensemble, suffix):
    path = tmp_path / f"net{suffix if '.' in suffix else ''}"
    format_ = None if "." in suffix else suffix
    with pytest.raises(ValueError, match=r"leading axes 4: .* take one, as jax.tree.map"):
        jaxgru.save(ensemble, path, format=format_)
    assert not path.exists()


def test_gru_says_so_and_vmap_runs_each(ensemble):
    xs = np.ones((2, 6, INPUTS), "f")
    with pytest.raises(ValueError, match=r"leading axes 4: .* run all with jax.vmap"):
        jaxgru.gru(ensemble, xs)
    ys, _ = jax.vmap(lambda net: jaxgru.gru(net, xs))(ensemble)
    for i in range(COUNT):
        one, _ = jaxgru.gru(jax.tree.map(lambda array, i=i: array[i], ensemble), xs)
        # One product of four nets may add in another order than four products.
        np.testing.assert_allclose(ys[i], one, rtol=0, atol=1e-6)


@pytest.mark.live
def test_an_ensemble_of_nnx_and_a_layer_beside_it(key):
    nnx = pytest.importorskip("flax.nnx")
    cells = nnx.vmap(lambda key: nnx.GRUCell(3, 5, rngs=nnx.Rngs(key)))(jax.random.split(key, 4))

    class Both(nnx.Module):
        def __init__(self):
            self.ensemble, self.one = cells, nnx.GRUCell(3, 5, rngs=nnx.Rngs(0))

    both = Both()
    assert jaxgru.from_flax(both, layer="one").kernel.shape == (3, 15)
    with pytest.warns(jaxgru.WeightsWarning, match="stacked over 4"):
        net = jaxgru.from_flax(both, layer="ensemble")
    for map_ in (jax.vmap, nnx.vmap):
        jax.tree.map(np.testing.assert_array_equal, map_(jaxgru.from_flax)(cells), net)
    xs = np.ones((2, 3), "f")
    ours = jax.vmap(lambda net: jaxgru.gru_cell(net, np.zeros((2, 5), "f"), xs))(net)
    call = functools.partial(nnx.vmap, in_axes=(0, None, None))
    theirs, _ = call(lambda cell, h, x: cell(h, x))(cells, np.zeros((2, 5), "f"), xs)
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)  # float32, states within 1

"""Whole models in HDF5 list the weights to train first: whatever is frozen, each net has its own.

Every part is frozen in turn. The oracle of the live tests is Keras: its own arrays of each cell.
"""

import golden_keras_legacy as golden
import live_keras
import numpy as np
import pytest
from equal import assert_same

import jaxgru
from jaxgru._weights.io import read_all
from jaxgru._weights.libraries.keras.config import model_of
from jaxgru._weights.libraries.keras.names import Place
from jaxgru._weights.libraries.keras.order import assign

pytest.importorskip("h5py")
_UNITS = golden.UNITS
_SIDES = ("forward", "backward")
_FIELDS = {
    "units": _UNITS,
    "activation": "tanh",
    "recurrent_activation": "sigmoid",
    "reset_after": True,
    "use_bias": True,
}
_ASSUMED = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.h5"


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("frozen", [(), (0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)])
def test_cells_of_a_stack(path, frozen, named):
    """By names where they tell; else, as with the numbered arrays of Keras 2.1, by the order."""
    nets = [golden.random_net(i, reset_after=True, inputs=_UNITS) for i in range(3)]
    cells = [
        golden.layer("GRUCell", f"c{i}", **_FIELDS | {"trainable": i not in frozen})
        for i in range(3)
    ]
    stack = golden.layer("StackedRNNCells", "stack", cells=cells)
    held = {}
    for count, i in enumerate(sorted(range(3), key=lambda i: i in frozen)):
        for name, array in golden.arrays(nets[i]).items():
            number = f"_{count}" if count else ""
            held[f"rnn/stack/c{i}/{name}:0" if named else f"rnn/{name}{number}:0"] = array
    model = golden.layer("Sequential", "model", layers=[golden.layer("RNN", "rnn", cell=stack)])
    golden.write(path, {"rnn": held}, model=model, version="2.15.0")
    assert_same(read_all(path).gathered["rnn"].net, tuple(nets))


@pytest.mark.parametrize(
    "frozen",
    [(), ("a",), ("b",), ("inner",), ("inner", "a"), ("inner", "b"), ("outer",), ("outer", "a")],
)
@pytest.mark.parametrize("version", ["2.15.0", "3.3.3"])
def test_layers_by_order(path, frozen, version):
    """Names that no configuration has: the order is that of Keras' loader, of each version."""
    nets = {name: golden.random_net(i, reset_after=True) for i, name in enumerate("abc")}

    def layer(class_name, name, **config):
        return golden.layer(class_name, name, **config | {"trainable": name not in frozen})

    grus = {name: layer("GRU", name, **_FIELDS) for name in "abc"}
    inner = layer("Custom>Model", "inner", layers=[grus["a"], grus["b"]])
    outer = layer("Sequential", "outer", layers=[inner, grus["c"]])
    order = {
        (): "abc",
        ("a",): "bca",
        ("b",): "acb",
        # In Keras 2, what is in a frozen layer is frozen; in Keras 3, each layer says it.
        ("inner",): "cab" if version[0] == "2" else "abc",
        ("inner", "a"): "cba" if version[0] == "2" else "bca",
        ("inner", "b"): "cab" if version[0] == "2" else "acb",
        ("outer",): "abc",
        ("outer", "a"): "bca" if version[0] == "2" else "abc",
    }[frozen]
    held = {}
    for i, name in enumerate(order):
        held |= golden.weights(f"x{i}", nets[name])
    golden.write(path, {"outer": held}, model=golden.layer("Sequential", "m", layers=[outer]),
                 version=version)  # fmt: skip
    found = read_all(path).gathered
    assert list(found) == ["outer/inner/a", "outer/inner/b", "outer/c"]
    for one, net in zip(found.values(), nets.values(), strict=True):
        assert_same(one.net, net)


def test_directions_that_keras_2_freezes_without_a_word(path):
    """Their names tell, also where Keras has put the prefix before a name that had it."""
    forward, backward = (golden.random_net(i, reset_after=True) for i in range(2))
    gru = golden.layer("GRU", "forward_gru", **_FIELDS)
    both = golden.layer("Bidirectional", "both", layer=gru, merge_mode="concat")
    held = golden.weights("both/backward_forward_gru/gru_cell", backward)
    held |= golden.weights("both/forward_forward_gru/gru_cell", forward)
    model = golden.layer("Sequential", "model", layers=[both])
    golden.write(path, {"both": held}, model=model, version="2.15.0")
    expected = jaxgru.Bidirectional(forward, backward, "concat")
    assert_same(read_all(path).gathered["both"].net, expected)


def test_directions_that_had_their_prefix(path):
    """A layer called forward_gru is that in some versions, and forward_forward_gru in others."""
    nets = {side: golden.random_net(i, reset_after=True) for i, side in enumerate(_SIDES)}
    gru = {
        side: golden.layer("GRU", f"{side}_gru", **_FIELDS, go_backwards=side == "backward")
        for side in _SIDES
    }
    both = golden.layer("Bidirectional", "both", layer=gru["forward"], merge_mode="concat",
                        backward_layer=gru["backward"])  # fmt: skip
    held = {}
    for side in reversed(_SIDES):
        held |= golden.weights(f"both/{side}_gru/gru_cell", nets[side])
    model = golden.layer("Sequential", "model", layers=[both])
    golden.write(path, {"both": held}, model=model, version="2.15.0")
    expected = jaxgru.Bidirectional(*nets.values(), "concat")
    assert_same(read_all(path).gathered["both"].net, expected)


@pytest.mark.parametrize(
    ("frozen", "places"),
    [
        # A name of two layers is that of neither: the order, b first, shows both.
        ("one", ["g/gru_cell", "other/gru_cell"]),
        # Two places by the name of one layer: the order decides too.
        ("one", ["one/g/gru_cell", "one/g/gru_cell_1"]),
    ],
)
def test_names_that_tell_nothing(path, frozen, places):
    nets = {name: golden.random_net(i, reset_after=True) for i, name in enumerate(("one", "two"))}
    inner = [
        golden.layer("Model", name, layers=[golden.layer("GRU", "g", **_FIELDS)],
                     trainable=name != frozen)
        for name in nets
    ]  # fmt: skip
    model = golden.layer("Sequential", "m", layers=[golden.layer("Model", "in", layers=inner)])
    held = golden.weights(places[0], nets["two"]) | golden.weights(places[1], nets["one"])
    golden.write(path, {"in": held}, model=model, version="2.15.0")
    found = read_all(path).gathered
    for name, net in nets.items():
        assert_same(found[f"in/{name}/g"].net, net)


@pytest.mark.parametrize("frozen", [False, True])
def test_order_without_a_version(frozen):
    """Of what is frozen it is that of a version: without one it shows nothing."""
    gru = golden.layer("GRU", "a", **_FIELDS)
    gru["config"]["trainable"] = not frozen
    model = model_of(golden.layer("Sequential", "model", layers=[gru]))
    places = [Place("x", ("x/kernel", "x/recurrent_kernel"))]
    assert list(assign(model, places, None).values()) == ([] if frozen else [places])


def test_neither_names_nor_order(path):
    nets = [golden.random_net(i, reset_after=True) for i in range(3)]
    grus = [golden.layer("GRU", name, **_FIELDS) for name in "ab"]
    model = golden.layer("Sequential", "model", layers=[golden.layer("Model", "in", layers=grus)])
    held = {}
    for i, net in enumerate(nets):
        held |= golden.weights(f"x{i}", net)
    golden.write(path, {"in": held}, model=model, version="2.15.0")
    with pytest.raises(jaxgru.WeightsError, match="of 0 cells for it, by name or by order: exp"):
        jaxgru.load(path, layer="in/a")


class TestWeightsAlone:
    def _write(self, path, order, sizes=((_UNITS, _UNITS),) * 2):
        nets, held = [], {}
        for i, (inputs, _) in enumerate(sizes):
            nets.append(golden.random_net(i, reset_after=True, inputs=inputs))
        for i in order:
            cell = f"gru_cell_{i}" if i else "gru_cell"
            held |= golden.weights(f"rnn/stacked_rnn_cells/{cell}", nets[i])
        golden.write(path, {"rnn": held}, root="", version="2.15.0")
        return tuple(nets)

    def test_numbers_in_the_order_of_the_file(self, path):
        """The same file is written for cells made last one first, of which the last is frozen."""
        nets = self._write(path, (0, 1))
        order = "order 'rnn/stacked_rnn_cells/gru_cell', 'rnn/stacked_rnn_cells/gru_cell_1', the"
        with pytest.warns(jaxgru.WeightsWarning, match=order):
            net = jaxgru.load(path, assume=_ASSUMED)
        assert_same(net, nets)

    def test_shapes_tell(self, path):
        nets = self._write(path, (1, 0), ((golden.INPUTS, _UNITS), (_UNITS, _UNITS)))
        assert_same(jaxgru.load(path, assume=_ASSUMED), nets)

    def test_two_readings_differ(self, path):
        self._write(path, (1, 0))
        with pytest.raises(
            jaxgru.WeightsError, match=r"'rnn/stacked_rnn_cells/gru_cell_1', .* not known"
        ):
            jaxgru.load(path)

    def test_cells_side_by_side(self, path):
        """In a layer of a user's own they are no stack."""
        nets = [golden.random_net(i, reset_after=True, inputs=_UNITS) for i in range(2)]
        held = golden.weights("mine/gru_cell", nets[0]) | golden.weights("mine/gru_cell_1", nets[1])
        golden.write(path, {"mine": held}, root="", version="2.15.0")
        found = read_all(path).gathered
        assert list(found) == ["mine/gru_cell", "mine/gru_cell_1"]
        for one, net in zip(found.values(), nets, strict=True):
            assert_same(one.net, net)


def _cells(layer):
    """Return the cells of a layer and of those in it, in the order of the layers."""
    keras = pytest.importorskip("keras")
    if isinstance(layer, keras.layers.GRUCell):
        return [layer]
    if isinstance(layer, keras.layers.Bidirectional):
        return _cells(layer.forward_layer) + _cells(layer.backward_layer)
    if isinstance(layer, keras.layers.RNN):
        return _cells(layer.cell)
    inner = getattr(layer, "cells", None) or getattr(layer, "layers", ())
    return [cell for each in inner for cell in _cells(each)]


def _parts(layer):
    """Yield every part of a layer that can be frozen."""
    keras = pytest.importorskip("keras")
    yield layer
    if isinstance(layer, keras.layers.Bidirectional):
        inner = [layer.forward_layer, layer.backward_layer]
    elif isinstance(layer, keras.layers.RNN):
        inner = [layer.cell]
    else:
        inner = getattr(layer, "cells", None) or getattr(layer, "layers", ())
    for each in inner:
        yield from _parts(each)


@pytest.mark.live
@pytest.mark.slow
@pytest.mark.usefixtures("default_promotion")
@pytest.mark.parametrize("suffix", [".h5", ".keras", ".weights.h5"])
@pytest.mark.parametrize("thawed", [False, True])
def test_every_part_in_turn(key, tmp_path, suffix, thawed):
    """Each part is frozen alone, or alone left to be trained in a frozen model."""
    keras = pytest.importorskip("keras")
    layers, gru = keras.layers, live_keras.gru

    def stack(count=2):
        return layers.RNN([layers.GRUCell(4) for _ in range(count)], return_sequences=True)

    deep = keras.Sequential([keras.Input((None, 4)), gru(name="g"), stack()], name="deep")
    same = keras.Sequential([keras.Input((None, 4)), gru(name="g")], name="same")
    inner = keras.Sequential(
        [keras.Input((None, 4)), gru(name="g"), deep, layers.Bidirectional(gru(), "sum"), same],
        name="inner",
    )
    both = layers.Bidirectional(stack(), "ave")
    model = live_keras.model_of(stack(3), both, inner, layers.Bidirectional(gru(), "sum"))
    live_keras.randomise(model, key)
    expected = [live_keras.weights(cell)[0] for cell in _cells(model)]
    path = tmp_path / f"model{suffix}"
    for part in list(_parts(model)):
        model.trainable = not thawed
        part.trainable = thawed
        live_keras.write(model, path)
        gathered = read_all(path).gathered
        nets = [found.net for found in gathered.values()]
        kernels = [layer.kernel for layer in _leaves(nets)]
        if suffix == ".weights.h5":  # in the order of classes
            kernels = sorted(kernels, key=lambda kernel: kernel[0, 0])
            expected = sorted(expected, key=lambda kernel: float(kernel[0, 0]))
        for one, other in zip(kernels, expected, strict=True):
            np.testing.assert_array_equal(one, other)


def _leaves(net):
    if isinstance(net, jaxgru.GRUParams):
        return [net]
    parts = (net.forward, net.backward) if isinstance(net, jaxgru.Bidirectional) else net
    return [leaf for part in parts for leaf in _leaves(part)]

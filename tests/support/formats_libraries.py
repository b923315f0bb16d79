"""The libraries whose formats are read and written: what there is to measure of each.

A layer of the library's own, with random weights and biases, is written to files, which we load;
then the net goes back into a new layer. PyTorch, Keras and the others are imported by the function
that measures them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cases
import jax
import live_equinox
import live_flax
import live_haiku
import live_keras
import live_onnx
import live_params
import live_torch
import nets
import numpy as np
from equal import same
from formats_row import Row, compare, exact_types, load_same, quietly, there_and_back

import jaxgru

STEPS = 50
# What HDF5 files of weights alone have in their arrays, the rest being as usual.
_SHOWN_BY_WEIGHTS = ("usual", "no bias", "concat")
_JAX_FILES = (".npz", ".msgpack", ".safetensors")


class Library(NamedTuple):
    """A library, or a format of our own."""

    name: str
    needs: tuple[str, ...]  # what must be installed
    variants: Callable[[], list[str]]
    measure: Callable[[str, jax.Array, Path], Row]  # a variant, a key, an empty folder


def measure_torch(variant: str, key: jax.Array, folder: Path) -> Row:
    """PyTorch's GRU and GRUCell: its files, and its state dict."""
    is_cell = variant.startswith("cell")
    module, xs = live_torch.build(variant, key), _inputs(key)
    live_torch.write(module, folder / "zip.pt")
    live_torch.write(module, folder / "stream.pt", legacy=True)
    # PyTorch's tensors as NumPy's: what safetensors writes of either is the same.
    arrays = {name: tensor.numpy() for name, tensor in module.state_dict().items()}
    live_params.write(arrays, folder / "names.safetensors")

    def outputs(net):
        other = live_torch.build(variant, jax.random.fold_in(key, 1))
        other.load_state_dict(jaxgru.to_torch(net, cell=is_cell), strict=True)
        return live_torch.outputs(other, xs)

    def round_trip(net):
        return jaxgru.from_torch(jaxgru.to_torch(net, cell=is_cell))

    files = (".pt", ".pt before 1.6", ".safetensors")
    expected = live_torch.outputs(module, xs)
    return compare(variant, files, load_same(folder), xs, expected, outputs, round_trip)


def measure_keras(variant: str, key: jax.Array, folder: Path) -> Row:
    """Keras' GRU, GRUCell and Bidirectional: a model's file, written by either side."""
    import keras
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

    layer, xs = live_keras.build(variant, key), live_keras.inputs(key)
    if variant in live_keras.ACTIVATIONS:
        # Small enough that states stay bounded with most gates that are not.
        layer.set_weights([0.4 * weight for weight in live_keras.weights(layer)])
    model = live_keras.model_of(layer)
    files = [".keras", ".h5", *[".weights.h5"] * (variant in _SHOWN_BY_WEIGHTS)]
    for ending in files:
        if ending == ".h5":
            with quietly():
                save_model_to_hdf5(model, folder / "model.h5")
        else:
            live_keras.write(model, folder / f"model{ending}")

    def outputs(net):
        jaxgru.save(net, folder / "ours.keras")
        ys = keras.models.load_model(folder / "ours.keras")(xs)
        return tuple(map(np.asarray, ys)) if isinstance(ys, list | tuple) else np.asarray(ys)

    net, expected = load_same(folder), live_keras.outputs(layer, xs)
    trip = _through(folder / "trip.keras")
    return compare(variant, tuple(files), net, xs, expected, outputs, trip)


def measure_onnx(variant: str, key: jax.Array, folder: Path) -> Row:
    """ONNX's GRU node as ONNX Runtime computes it."""
    model, xs = live_onnx.build(variant, key), _inputs(key)
    live_onnx.write(model, folder / "model.onnx")

    def outputs(net):
        return live_onnx.run(jaxgru.to_onnx(net), {"x": xs})[0]

    net, expected = load_same(folder), live_onnx.outputs(model, xs)
    trip = _through(folder / "trip.onnx")
    return compare(variant, (".onnx",), net, xs, expected, outputs, trip)


def measure_flax(variant: str, key: jax.Array, folder: Path) -> Row:
    """Flax's GRUCell, RNN and Bidirectional: files of their parameters, and the parameters."""
    model, xs = live_flax.build(variant, key), _inputs(key)
    api, assume = variant.split()[0], live_flax.assume(variant)
    _write(model.params, folder, _JAX_FILES)

    def outputs(net):
        params = _like(model.params, jaxgru.to_flax(net, api=api))
        if api == "nnx":
            from flax import nnx

            nnx.update(model.module, params)
        return live_flax.outputs(model._replace(params=params), xs)

    def round_trip(net):
        return jaxgru.from_flax(jaxgru.to_flax(net, api=api), assume=assume)

    net, expected = load_same(folder, assume), np.asarray(live_flax.outputs(model, xs))
    return compare(variant, _JAX_FILES, net, xs, expected, outputs, round_trip)


def measure_haiku(variant: str, key: jax.Array, folder: Path) -> Row:
    """Haiku's GRU: files of its parameters, and the parameters."""
    model, xs = live_haiku.build(variant, key), _inputs(key)
    _write(model.params, folder, _JAX_FILES)
    with quietly():  # Haiku's GRUs are one by one in its parameters
        found = [tuple(jaxgru.load_all(path).values()) for path in sorted(folder.iterdir())]
    assert all(same(layers, found[0]) for layers in found)
    net = found[0] if len(found[0]) > 1 else found[0][0]

    def outputs(net):
        params = _like(model.params, jaxgru.to_haiku(net))
        return live_haiku.outputs(model._replace(params=params), xs)

    def round_trip(net):
        params = jaxgru.to_haiku(net)
        layers = tuple(jaxgru.from_haiku(params, layer=name) for name in params)
        return layers if isinstance(net, tuple) else layers[0]

    expected = np.asarray(live_haiku.outputs(model, xs))
    return compare(variant, _JAX_FILES, net, xs, expected, outputs, round_trip)


def measure_equinox(variant: str, key: jax.Array, folder: Path) -> Row:
    """Equinox's GRUCell: files of its arrays by their names, and the cell."""
    cell, xs = live_equinox.build(variant, key), _inputs(key)
    files = (".npz", ".safetensors")
    _write(live_equinox.arrays(cell), folder, files)

    def outputs(net):
        return live_equinox.outputs(jaxgru.to_equinox(net), xs)

    def round_trip(net):
        return jaxgru.from_equinox(jaxgru.to_equinox(net))

    net, expected = load_same(folder), np.asarray(live_equinox.outputs(cell, xs))
    return compare(variant, files, net, xs, expected, outputs, round_trip)


def measure_npz(variant: str, key: jax.Array, folder: Path) -> Row:
    """Our npz: the arrays of ``get_weights`` of a Keras layer under three names."""
    layer, xs = live_keras.build(variant, key), live_keras.inputs(key)
    names = ("wMatrix", "uMatrix", "biases")
    np.savez(folder / "a.npz", **dict(zip(names, live_keras.weights(layer), strict=True)))
    net, expected = load_same(folder), live_keras.outputs(layer, xs)

    def outputs(net):
        jaxgru.save(net, folder / "ours.npz")
        with np.load(folder / "ours.npz") as arrays:
            layer.set_weights([arrays[name] for name in names])
        return live_keras.outputs(layer, xs)

    trip = _through(folder / "trip.npz")
    return compare(variant, (".npz",), net, xs, expected, outputs, trip)


def measure_ours(variant: str, key: jax.Array, folder: Path) -> Row:
    """Our safetensors: nets of any structure; no other library computes with it."""
    exact = exact_types(nets.random_net(key, variant), _through(folder / "trip.safetensors"))
    return Row(variant, (".safetensors",), 0, 0.0, 0.0, 0.0, exact)


def _inputs(key):
    return np.array(cases.random_inputs(key, (2, STEPS, live_torch.INPUTS)))


def _write(params: Any, folder: Path, endings: tuple[str, ...]) -> None:
    for ending in endings:
        live_params.write(params, folder / f"params{ending}")


def _through(path: Path) -> Callable[[Any], Any]:
    return lambda net: there_and_back(net, path)


def _like(params: Any, other: Any) -> Any:
    """Return parameters in the structure that a module has: its own names about the same arrays."""
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(other))


def _onnx_variants() -> list[str]:
    return [variant for variants in live_onnx.variants() for variant in variants]


LIBRARIES = (
    Library("PyTorch", ("torch",), live_torch.variants, measure_torch),
    Library("Keras 3", ("keras",), live_keras.variants, measure_keras),
    Library("ONNX Runtime", ("onnx", "onnxruntime"), _onnx_variants, measure_onnx),
    Library("Flax", ("flax",), live_flax.variants, measure_flax),
    Library("Haiku", ("haiku", "flax"), live_haiku.variants, measure_haiku),
    Library("Equinox", ("equinox",), live_equinox.variants, measure_equinox),
    Library("npz of Keras' weights", ("keras",), lambda: ["usual", "reset before"], measure_npz),
    Library("jaxgru's safetensors", (), lambda: list(nets.NAMES), measure_ours),
)

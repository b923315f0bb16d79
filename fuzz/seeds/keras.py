"""Files of Keras 3: its two formats, and the two formats of Keras 1 and 2."""

import io
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fuzz.mutations.hdf5 import without_times
from fuzz.seeds.repeatable import repeatable_keras


def keras_archive() -> tuple[bytes, ...]:
    """Return .keras archives."""
    return tuple(
        repeatable_keras(content)
        for content in _written("net.keras", lambda model, path: model.save(path))
    )


def keras_weights() -> tuple[bytes, ...]:
    """Return .weights.h5 files."""
    return _written("net.weights.h5", lambda model, path: model.save_weights(path))


def keras_weights_newer() -> tuple[bytes, ...]:
    """Return .weights.h5 files in the layouts of newer versions of HDF5, with options of h5py."""
    return tuple(
        _rewritten(content, libver, tracked)
        for content in keras_weights()
        for libver, tracked in (("v108", False), ("v110", True))
    )


def keras_legacy() -> tuple[bytes, ...]:
    """Return .h5 files of whole models, with their configuration in an attribute."""
    return _written("net.h5", _save_legacy)


def keras_legacy_weights() -> tuple[bytes, ...]:
    """Return .h5 files with weights only, in the layout of Keras 1 and 2."""
    return _written("net.h5", _save_legacy_weights)


def _rewritten(content: bytes, libver: str, tracked: bool) -> bytes:
    """Return a file with rewritten objects, and more of them than fit in a header."""
    options: list[dict[str, Any]] = [
        {},
        {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
        {"chunks": (1, 2), "maxshape": (None, 99), "compression": "lzf"},
        {"chunks": (1, 1), "maxshape": (None, None)},
        {"chunks": (2, 1)},
    ]
    image = io.BytesIO()
    with (
        h5py.File(io.BytesIO(content)) as old,
        h5py.File(image, "w", libver=(libver, "v110"), track_order=tracked) as new,
    ):

        def copy(name: str, item: Any) -> None:
            if isinstance(item, h5py.Dataset):
                chosen = options[len(name) % 5] if len(item.shape) == 2 else {}
                new.create_dataset(name, data=item[()], **chosen)
            else:
                new.require_group(name)
            new[name].attrs.update(item.attrs)

        old.visititems(copy)
        new.attrs.update(old.attrs)
        for number in range(10):
            new.attrs[f"about {number}"] = "x" * number
            new.create_group(f"more/{number}")
    return without_times(image.getvalue())


def _written(name: str, write: Callable[[Any, Path], None]) -> tuple[bytes, ...]:
    files = []
    # Keras uses deprecated features of NumPy.
    with warnings.catch_warnings(action="ignore"), tempfile.TemporaryDirectory() as folder:
        for model in _models():
            path = Path(folder, name)
            write(model, path)
            files.append(path.read_bytes())
    return tuple(files)


def _models() -> tuple[Any, ...]:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import keras

    # The default names in Keras are numbered within a process: reset the numbers.
    keras.utils.clear_session(free_memory=False)
    layers = keras.layers
    one = keras.Sequential(
        [keras.Input((None, 2), name="x"), layers.GRU(3, name="gru")], name="one"
    )
    inner = layers.GRU(3, reset_after=False, recurrent_activation="hard_sigmoid", name="inner")
    both = layers.Bidirectional(inner, merge_mode="sum", name="both")
    back = layers.GRU(3, activation="relu", use_bias=False, go_backwards=True, name="back")
    inputs = keras.Input((None, 2), name="x")
    two = keras.Model(inputs, [both(inputs), back(inputs)], name="two")
    rng = np.random.default_rng(9)
    for model in (one, two):
        model.set_weights([rng.normal(size=array.shape) for array in model.get_weights()])
    return one, two


def _save_legacy(model: Any, path: Path) -> None:
    # As in model.save for this suffix, without its warning.
    from keras.src.legacy.saving.legacy_h5_format import save_model_to_hdf5

    save_model_to_hdf5(model, path)


def _save_legacy_weights(model: Any, path: Path) -> None:
    from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

    with h5py.File(path, "w") as file:
        save_weights_to_hdf5_group(file, model)

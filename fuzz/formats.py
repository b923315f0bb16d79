"""The fuzzed formats: their real files, and the mutations for each."""

import importlib.util
from collections.abc import Callable
from typing import NamedTuple

from fuzz.mutations import Mutation, hdf5, messagepack, pickles, protobuf, safetensors, trees, zips
from fuzz.seeds import arrays, keras, onnx, torch


class Format(NamedTuple):
    """A format to fuzz."""

    name: str
    needs: tuple[str, ...]  # libraries for the real files and the reader
    make_files: Callable[[], tuple[bytes, ...]]
    mutations: tuple[Mutation, ...]

    def missing(self) -> tuple[str, ...]:
        """Return the missing libraries."""
        return tuple(name for name in self.needs if importlib.util.find_spec(name) is None)


_JAX_LIBRARIES = ("flax", "haiku", "equinox")
_ZIP = (zips.mutate_entry, zips.mutate_entry, zips.mutate_listing)

FORMATS = (
    Format("npz", (), arrays.npz_of_the_seed, _ZIP),
    Format("npz-jax", _JAX_LIBRARIES, arrays.npz_of_jax_libraries, _ZIP),
    Format("msgpack", _JAX_LIBRARIES, arrays.msgpack_of_jax_libraries, (messagepack.mutate,)),
    Format("safetensors", (), arrays.safetensors_of_ours, (safetensors.mutate,)),
    Format("safetensors-torch", (), arrays.safetensors_of_torch_names, (safetensors.mutate,)),
    Format("keras", ("keras",), keras.keras_archive, _ZIP),
    Format("keras-weights", ("keras",), keras.keras_weights, (hdf5.mutate,)),
    Format("keras-weights-newer", ("keras",), keras.keras_weights_newer, (hdf5.mutate,)),
    Format("keras-legacy", ("keras",), keras.keras_legacy, (hdf5.mutate,)),
    Format("keras-legacy-weights", ("keras",), keras.keras_legacy_weights, (hdf5.mutate,)),
    Format("torch", ("torch",), torch.torch_zip, _ZIP),
    Format("torch-legacy", ("torch",), torch.torch_legacy, (pickles.mutate,)),
    Format("torch-objects", ("torch",), torch.torch_objects, _ZIP),
    Format("pickle", ("torch",), torch.pickles, (pickles.mutate,)),
    Format("json", (), arrays.named_json, (trees.mutate_json,)),
    Format("onnx", ("onnx",), onnx.onnx_models, (protobuf.mutate,)),
)
NAMES = tuple(known.name for known in FORMATS)

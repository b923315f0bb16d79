"""Files of named arrays: npz, safetensors and MessagePack."""

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxgru
from fuzz.seeds.repeatable import repeatable_safetensors

INPUTS, UNITS = 2, 3


def npz_of_the_seed() -> tuple[bytes, ...]:
    """Return npz files with wMatrix, uMatrix and biases: both reset positions, two dtypes."""
    after = jaxgru.init(jax.random.key(0), INPUTS, UNITS)
    before = jaxgru.init(jax.random.key(1), INPUTS, UNITS, reset_after=False, dtype=jnp.float16)
    deflated = io.BytesIO()
    np.savez_compressed(deflated, **_seed_arrays(after))
    return _npz(_seed_arrays(after)), _npz(_seed_arrays(before)), deflated.getvalue()


def npz_of_jax_libraries() -> tuple[bytes, ...]:
    """Return npz files with the parameters of Flax, Haiku and Equinox."""
    return tuple(_npz(_flat(params)) for params in (_linen(), _nnx(), _haiku(), _equinox()))


def msgpack_of_jax_libraries() -> tuple[bytes, ...]:
    """Return the parameters of Flax and Haiku, serialized by Flax."""
    from flax import serialization

    return tuple(serialization.msgpack_serialize(params) for params in (_linen(), _nnx(), _haiku()))


def safetensors_of_ours() -> tuple[bytes, ...]:
    """Return files by jaxgru.save, of one layer and of a bidirectional stack."""
    keys = jax.random.split(jax.random.key(2), 4)
    sides = [jaxgru.init(key, INPUTS, UNITS, activation="relu") for key in keys[:2]]
    last = jaxgru.init(keys[2], 2 * UNITS, UNITS, reset_after=False, dtype=jnp.bfloat16)
    nets = (jaxgru.init(keys[3], INPUTS, UNITS), (jaxgru.Bidirectional(sides[0], sides[1]), last))
    files = []
    with tempfile.TemporaryDirectory() as folder:
        for net in nets:
            path = Path(folder, "net.safetensors")
            jaxgru.save(net, path)
            files.append(repeatable_safetensors(path.read_bytes()))
    return tuple(files)


def safetensors_of_torch_names() -> tuple[bytes, ...]:
    """Return safetensors files with the names of PyTorch, written without PyTorch."""
    from safetensors.numpy import save

    rng = np.random.default_rng(3)
    one = torch_names(rng, "", [""])
    nested = torch_names(rng, "encoder.lstm.", ["", "_reverse"], layers=2, dtype=np.float16)
    several = {"head.weight": np.ones((2, 3), np.float32), **nested}
    return repeatable_safetensors(save(one)), repeatable_safetensors(save(several))


def named_json() -> tuple[bytes, ...]:
    """Return JSON in the layout of RTNeural for Keras models, and with the names of PyTorch."""
    rng = np.random.default_rng(12)
    arrays = torch_names(rng, "rec.", [""])
    names = {name: array.tolist() for name, array in arrays.items()}
    params = jaxgru.init(jax.random.key(13), INPUTS, UNITS)
    weights: Any = [params.kernel, params.recurrent_kernel]
    weights = [*(array.tolist() for array in weights), [[0.5] * 9, [0.25] * 9]]
    layers = [
        {"type": "gru", "activation": "tanh", "shape": [None, None, UNITS], "weights": weights},
        {"type": "gru", "activation": "", "name": "b", "weights": [*weights[:2], [0.5] * 9]},
        {"type": "dense", "activation": "", "weights": [[[1.0]], [0.0]]},
    ]
    trees = ({"in_shape": [None, None, INPUTS], "layers": layers}, {"state_dict": names})
    return tuple(json.dumps(tree).encode() for tree in trees)


def torch_names(
    rng: np.random.Generator, prefix: str, directions: list[str], layers: int = 1, dtype: Any = "f4"
) -> dict[str, Any]:
    """Return random weights of a torch.nn.GRU by the names of its state dict."""
    arrays = {}
    for layer in range(layers):
        inputs = UNITS * len(directions) if layer else INPUTS
        for direction in directions:
            end = f"l{layer}{direction}"
            shapes: dict[str, tuple[int, ...]] = {
                "weight_ih": (3 * UNITS, inputs),
                "weight_hh": (3 * UNITS, UNITS),
            }
            shapes |= dict.fromkeys(("bias_ih", "bias_hh"), (3 * UNITS,))
            for name, shape in shapes.items():
                arrays[f"{prefix}{name}_{end}"] = rng.normal(size=shape).astype(dtype)
    return arrays


def _seed_arrays(params: jaxgru.GRUParams) -> dict[str, Any]:
    biases: Any = params.bias
    if params.reset_after:
        biases = np.stack([params.bias, params.recurrent_bias])
    return {"wMatrix": params.kernel, "uMatrix": params.recurrent_kernel, "biases": biases}


def _npz(arrays: Mapping[str, Any]) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def _flat(tree: Any, prefix: str = "") -> dict[str, Any]:
    """Return the arrays of nested dictionaries with their paths joined by slashes."""
    if not isinstance(tree, Mapping):
        return {prefix: np.asarray(tree)}
    flat: dict[str, Any] = {}
    for name, inner in tree.items():
        flat |= _flat(inner, f"{prefix}/{name}" if prefix else name)
    return flat


def _linen() -> Any:
    from flax import linen

    rnn = linen.RNN(linen.GRUCell(UNITS))
    return rnn.init(jax.random.key(4), jnp.zeros((1, 1, INPUTS)))["params"]


def _nnx() -> Any:
    from flax import nnx

    rnn = nnx.RNN(nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(5)))
    return nnx.to_pure_dict(nnx.state(rnn, nnx.Param))


def _haiku() -> Any:
    import haiku

    network = haiku.transform(
        lambda xs: haiku.dynamic_unroll(haiku.GRU(UNITS), xs, jnp.zeros(UNITS))
    )
    return network.init(jax.random.key(6), jnp.zeros((1, INPUTS)))


def _equinox() -> Any:
    import equinox

    cell = equinox.nn.GRUCell(INPUTS, UNITS, key=jax.random.key(7))
    names = ("weight_ih", "weight_hh", "bias", "bias_n")
    return {"cell": {name: getattr(cell, name) for name in names}}

"""The GRU of Haiku.

============  ============  =================================================================
name          shape         meaning
============  ============  =================================================================
``w_i``       ``(I, 3H)``   kernel, blocks z, r, a
``w_h``       ``(H, 3H)``   recurrent kernel, likewise
``b``         ``(3H,)``     bias, likewise
============  ============  =================================================================

``hk.GRU`` computes ``h' = (1 - z) * h + z * a``, so its update gate is the complement of that of
``GRUParams``. Because ``1 - sigmoid(x) = sigmoid(-x)``, the conversion negates the z blocks, which
is exact. The reset gate is applied before the product, and the activations are always tanh and
sigmoid.

Source: ``haiku/_src/recurrent.py``.
"""

from collections.abc import Mapping
from typing import Any, cast

import jax

from jaxgru._net import Net
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import USUAL, Capabilities, both_biases, negate_update, one_bias
from jaxgru._weights.defaults import TANH_SIGMOID, Fields
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries import names
from jaxgru._weights.results import GRUsByName, pick, to_jax_and_warn

LOOKED_FOR = "w_i (I, 3H), w_h (H, 3H) and b of Haiku"
_NAMES = ("w_i", "w_h", "b")
_SHAPES: names.Shapes = {"w_h": ("H", "3H"), "w_i": ("I", "3H"), "b": ("3H",)}
_CAPABILITIES = Capabilities("Haiku's GRU", {**USUAL, "reset_after": (False,)}, has_stacks=True)


def from_haiku(params: Mapping[str, object], *, layer: str | None = None) -> GRUParams:
    """Return the layer of a Haiku GRU.

    The update gate of Haiku is the complement, so the weights of z are negated, which is exact.

    Args:
        params: the parameters returned by ``init`` of a transformed function, or any tree that
            contains them: for each module a dict of its arrays, ``w_i`` ``(I, 3H)``, ``w_h``
            ``(H, 3H)`` and ``b`` ``(3H,)``. They may be stacked along leading axes, and may be
            traced by ``jax.jit`` and ``jax.grad``.
        layer: the name of the module, required if there are several GRUs, see ``jaxgru.load``.

    Returns:
        The layer, with ``reset_after=False`` and JAX arrays.

    Raises:
        WeightsError: there is no GRU, there are several and ``layer`` is not given, or its arrays
            do not fit together.

    >>> import jax.numpy as jnp, jaxgru
    >>> params = {"gru": {"w_i": jnp.ones((3, 15)), "w_h": jnp.ones((5, 15)), "b": jnp.ones(15)}}
    >>> jaxgru.from_haiku(params).kernel.shape
    (3, 15)

    Source: ``haiku.GRU``.
    """
    gathered = find(names.named_arrays(params), {})
    if not gathered:
        kind = type(params).__name__
        raise WeightsError(f"a {kind} has no GRU of Haiku: expected a module with w_i, w_h and b")
    return cast("GRUParams", to_jax_and_warn(pick(gathered, layer), "params", stacklevel=2))


def to_haiku(net: Net, *, name: str = "gru") -> dict[str, dict[str, jax.Array]]:
    """Return a net as the parameters of Haiku's GRUs.

    Args:
        net: a ``GRUParams``, or a tuple or list of them for the GRUs of a ``haiku.DeepRNN``, with
            ``reset_after=False``, tanh and sigmoid, and no clip. Haiku has a single bias, so for
            each of its elements the bias or the recurrent bias must be zero. (Traced arrays cannot
            be checked and are added.)
        name: the name of the module; the names of further modules end with ``_1``, ``_2`` and so
            on, as in Haiku.

    Returns:
        The parameters by module, with new JAX arrays, for ``apply`` of a transformed function with
        these modules.

    Raises:
        WeightsError: Haiku cannot represent the net.
        ValueError: the layers of the net do not fit together.

    >>> import jax, jaxgru
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, reset_after=False)
    >>> {key: array.shape for key, array in jaxgru.to_haiku(net)["gru"].items()}
    {'b': (15,), 'w_h': (5, 15), 'w_i': (3, 15)}

    Source: ``haiku.GRU``.
    """
    arrays = {}
    for i, (_, params) in enumerate(_CAPABILITIES.layers(net)):
        bias = one_bias(*both_biases(params), "Haiku")
        held = map(negate_update, (params.kernel, params.recurrent_kernel, bias))
        arrays[f"{name}_{i}" if i else name] = dict(zip(_NAMES, held, strict=True))
    tree: dict[str, dict[str, jax.Array]] = names.jax_tree(arrays, stacklevel=2)
    return tree


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRUs of Haiku among named arrays, by the name of their module."""
    modules = names.holding(arrays, _NAMES)
    return names.build_all(names.cells(arrays, modules, _SHAPES, _params), assume, "haiku")


def _params(weights: dict[str, Any], fields: Fields) -> GRUParams:
    kernel, recurrent_kernel, bias = (negate_update(weights[name]) for name in _NAMES)
    fields.resolve("reverse", False)  # a cell has no direction
    return fields.params(kernel, recurrent_kernel, bias, reset_after=False, **TANH_SIGMOID)

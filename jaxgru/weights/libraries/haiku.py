"""Haiku's GRUs in memory, to nets and back."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from jaxgru.net import Net, check_net
from jaxgru.params import GRUParams
from jaxgru.weights.biases import both_biases, one_bias
from jaxgru.weights.delivery import deliver
from jaxgru.weights.equations import negate_update
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.found import pick
from jaxgru.weights.libraries.trees import jax_tree, named_arrays
from jaxgru.weights.named.haiku import NAMES, find
from jaxgru.weights.variants import check_variant


def from_haiku(params: Mapping[str, Any], *, layer: str | None = None) -> GRUParams:
    """Return the layer of a Haiku GRU.

    With a Haiku GRU's update gate ``z`` ours is ``1 - z``, which its weights negated give exactly.

    Args:
        params: the parameters that ``init`` of a transformed function gives, for each module
            a dict of its arrays: ``w_i`` ``(I, 3H)``, ``w_h`` ``(H, 3H)`` and ``b`` ``(3H,)``.
        layer: the name of the module, needed if there are several GRUs.

    Returns:
        The layer, with ``reset_after=False`` and JAX arrays.

    Raises:
        WeightsError: there is no GRU, several and ``layer`` does not say which, or its arrays do
            not fit together.

    >>> import jax.numpy as jnp, jaxgru
    >>> params = {"gru": {"w_i": jnp.ones((3, 15)), "w_h": jnp.ones((5, 15)), "b": jnp.ones(15)}}
    >>> jaxgru.from_haiku(params).kernel.shape
    (3, 15)

    Source: ``haiku.GRU``.
    """
    if not isinstance(params, Mapping):
        raise WeightsError(f"params is a {type(params).__name__}: expected a dict of modules")
    gathered = find(named_arrays(params), {})
    if not gathered:
        raise WeightsError("params holds no GRU: expected a module with w_i, w_h and b")
    net: GRUParams = deliver(pick(gathered, layer), "params", stacklevel=2)
    return net


def to_haiku(net: Net, *, name: str = "gru") -> dict[str, dict[str, jax.Array]]:
    """Return a net as the parameters of Haiku's GRUs.

    Args:
        net: a ``GRUParams``, or a tuple or list of them for as many GRUs in a ``haiku.DeepRNN``:
            with ``reset_after=False``, tanh and sigmoid, and no clip. Of the two biases Haiku
            holds the sum, which must need no rounding: of each two numbers one must be zero.
        name: the name of the module; those after the first have ``_1``, ``_2`` and so on behind
            it, as Haiku names them.

    Returns:
        The parameters by module, with new JAX arrays: what ``apply`` of a transformed function
        with these modules takes as it is.

    Raises:
        WeightsError: Haiku cannot hold the net.
        ValueError: the layers of the net do not fit together.

    >>> import jax, jaxgru
    >>> net = jaxgru.init(jax.random.key(0), 3, 5, reset_after=False)
    >>> {key: array.shape for key, array in jaxgru.to_haiku(net)["gru"].items()}
    {'b': (15,), 'w_h': (5, 15), 'w_i': (3, 15)}

    Source: ``haiku.GRU``.
    """
    check_net(net)
    layers = net if isinstance(net, tuple | list) else (net,)
    arrays = {
        f"{name}_{i}" if i else name: _arrays(jax.tree.map(np.asarray, layer))
        for i, layer in enumerate(layers)
    }
    tree: dict[str, dict[str, jax.Array]] = jax_tree(arrays, stacklevel=2)
    return tree


def _arrays(params: Any) -> dict[str, Any]:
    if not isinstance(params, GRUParams):
        raise WeightsError(
            f"net has a {type(params).__name__}: expected a GRUParams, or a tuple of them, as "
            "Haiku's modules go from the first step to the last"
        )
    check_variant(params, "Haiku's GRU", reset_after=False)
    bias = one_bias(*both_biases(params), "Haiku")
    arrays = (params.kernel, params.recurrent_kernel, bias)
    return dict(zip(NAMES, map(negate_update, arrays), strict=True))

"""Equinox's GRU cells in memory, to nets and back."""

import functools
from typing import Any

import jax
import numpy as np
from jax.tree_util import keystr, tree_flatten_with_path

from jaxgru.net import Net, check_net
from jaxgru.optional import need
from jaxgru.params import GRUParams
from jaxgru.weights.biases import one_gate_bias
from jaxgru.weights.delivery import deliver
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.found import Gathered, pick
from jaxgru.weights.libraries.trees import jax_tree, read_array
from jaxgru.weights.named.build import attempt, from_rzn
from jaxgru.weights.named.equinox import BIASES, KERNELS, params_of
from jaxgru.weights.named.places import called
from jaxgru.weights.single import only_layer
from jaxgru.weights.variants import check_variant


def from_equinox(module: Any, *, layer: str | None = None) -> GRUParams:
    """Return the layer of an Equinox GRU cell.

    Args:
        module: an ``equinox.nn.GRUCell``, or a module or any other pytree that holds some.
        layer: the cell's place in it, such as ``"encoder.cells.0"``, needed if there are several.

    Returns:
        The layer, with ``reset_after=True`` and JAX arrays; both biases are None if the cell was
        made with ``use_bias=False``.

    Raises:
        WeightsError: there is no cell, several and ``layer`` does not say which, or its arrays do
            not fit together, as those of a cell that ``vmap`` made several of.
        ImportError: Equinox is not installed.

    >>> import jax, jaxgru
    >>> import equinox as eqx  # doctest: +SKIP
    >>> cell = eqx.nn.GRUCell(3, 5, key=jax.random.key(0))  # doctest: +SKIP
    >>> jaxgru.from_equinox(cell).kernel.shape  # doctest: +SKIP
    (3, 15)

    Source: ``equinox.nn.GRUCell``.
    """
    eqx = need("equinox", "equinox", "from_equinox")
    nodes, _ = tree_flatten_with_path(module, is_leaf=lambda x: isinstance(x, eqx.nn.GRUCell))
    gathered: Gathered = {}
    for path, node in nodes:
        if isinstance(node, eqx.nn.GRUCell):
            place = keystr(path, simple=True, separator=".")
            held = {name: getattr(node, name) for name in (*KERNELS, *BIASES)}
            arrays = {n: read_array(array) for n, array in held.items() if array is not None}
            gathered[called(place)] = attempt(functools.partial(params_of, arrays, place), {})
    if not gathered:
        raise WeightsError(f"a {type(module).__name__} has no equinox.nn.GRUCell: expected one")
    net: GRUParams = deliver(pick(gathered, layer), "module", stacklevel=2)
    return net


def to_equinox(net: Net) -> Any:
    """Return a net of one layer as an Equinox GRU cell.

    Args:
        net: a ``GRUParams`` with ``reset_after=True``, tanh and sigmoid, and no clip. Equinox has
            one bias for both sides of z and r, the sum of the two, which must need no rounding:
            of each two numbers one must be zero.

    Returns:
        An ``equinox.nn.GRUCell`` with new JAX arrays, made with ``use_bias=False`` if both biases
        are None.

    Raises:
        WeightsError: Equinox's cell cannot hold the net.
        ValueError: the arrays of the net do not fit together.
        ImportError: Equinox is not installed.

    >>> import jax, jaxgru
    >>> jaxgru.to_equinox(jaxgru.init(jax.random.key(0), 3, 5)).hidden_size  # doctest: +SKIP
    5

    Source: ``equinox.nn.GRUCell``.
    """
    eqx = need("equinox", "equinox", "to_equinox")
    check_net(net)
    params: GRUParams = jax.tree.map(np.asarray, only_layer(net, "Equinox's cell"))
    check_variant(params, "Equinox's cell", reset_after=True)
    arrays: dict[str, Any] = {
        "weight_ih": from_rzn(params.kernel.T, 0),
        "weight_hh": from_rzn(params.recurrent_kernel.T, 0),
    }
    has_biases = params.bias is not None or params.recurrent_bias is not None
    if has_biases:
        bias, candidate = one_gate_bias(params, "Equinox's cell")
        arrays |= {"bias": from_rzn(bias), "bias_n": candidate}
    # Its own arrays, which are drawn, are all replaced.
    cell = eqx.nn.GRUCell(
        params.input_size, params.hidden_size, use_bias=has_biases, key=jax.random.key(0)
    )
    new = jax_tree(arrays, stacklevel=2)
    return eqx.tree_at(lambda cell: [getattr(cell, name) for name in new], cell, list(new.values()))

"""Equinox's GRU cell.

==============  ============  ===============================================================
name            shape         meaning
==============  ============  ===============================================================
``weight_ih``   ``(3H, I)``   kernel transposed, blocks r, z, n
``weight_hh``   ``(3H, H)``   recurrent kernel, likewise
``bias``        ``(3H,)``     input-side bias, likewise
``bias_n``      ``(H,)``      state-side bias of the candidate; z and r have none
==============  ============  ===============================================================

``eqx.nn.GRUCell`` applies the reset gate after the product, and its activations are always tanh and
sigmoid. Without biases, its names and equations are those of ``torch.nn.GRUCell``.

Source: ``equinox/nn/_rnn.py``.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

import jax
from jax.tree_util import keystr, tree_flatten_with_path

from jaxgru._net import Net
from jaxgru._optional import need
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import (
    USUAL,
    Capabilities,
    has_bias,
    numpy_of,
    one_gate_bias,
    swap_gates,
)
from jaxgru._weights.defaults import TANH_SIGMOID, Fields
from jaxgru._weights.dtypes import Arrays
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries import names
from jaxgru._weights.results import GRUsByName, pick, to_jax_and_warn

if TYPE_CHECKING:
    import equinox

LOOKED_FOR = "weight_ih (3H, I), weight_hh (3H, H), bias and bias_n of Equinox"
_CAPABILITIES = Capabilities("Equinox's cell", {**USUAL, "reset_after": (True,)})
_SHAPES: names.Shapes = {
    "weight_hh": ("3H", "H"),
    "weight_ih": ("3H", "I"),
    "bias": ("3H",),
    "bias_n": ("H",),
}


def from_equinox(module: object, *, layer: str | None = None) -> GRUParams:
    """Return the layer of an Equinox GRU cell.

    Args:
        module: an ``equinox.nn.GRUCell``, or a module or any other pytree that contains some. Its
            arrays may be traced by ``jax.jit`` and ``jax.grad``, and stacked along leading axes.
        layer: the path of the cell, such as ``"encoder.cells.0"``, required if there are several,
            see ``jaxgru.load``.

    Returns:
        The layer, with ``reset_after=True`` and JAX arrays; both biases are None if the cell was
        created with ``use_bias=False``.

    Raises:
        WeightsError: there is no cell, there are several and ``layer`` is not given, or its arrays
            do not fit together.
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
    gathered: GRUsByName = {}
    for path, node in nodes:
        if isinstance(node, eqx.nn.GRUCell):
            place = keystr(path, simple=True, separator=".")
            held = {name: getattr(node, name) for name in _SHAPES}
            arrays = {n: names.read_array(array) for n, array in held.items() if array is not None}
            cell = names.cells(arrays, {place: {own: own for own in arrays}}, _SHAPES, params_of)
            gathered |= names.build_all(cell, {}, "equinox")
    if not gathered:
        raise WeightsError(f"a {type(module).__name__} has no equinox.nn.GRUCell: expected one")
    return cast("GRUParams", to_jax_and_warn(pick(gathered, layer), "module", stacklevel=2))


def to_equinox(net: Net) -> "equinox.nn.GRUCell":
    """Return a net of one layer as an Equinox GRU cell.

    Args:
        net: a ``GRUParams`` with ``reset_after=True``, tanh and sigmoid, and no clip. Equinox has a
            single bias for z and r, so for each of their units the bias or the recurrent bias must
            be zero. (Traced arrays cannot be checked and are added.)

    Returns:
        An ``equinox.nn.GRUCell`` with new JAX arrays, with ``use_bias=False`` if both biases are
        None.

    Raises:
        WeightsError: Equinox's cell cannot represent the net.
        ValueError: the arrays of the net do not fit together.
        ImportError: Equinox is not installed.

    >>> import jax, jaxgru
    >>> jaxgru.to_equinox(jaxgru.init(jax.random.key(0), 3, 5)).hidden_size  # doctest: +SKIP
    5

    Source: ``equinox.nn.GRUCell``.
    """
    eqx = need("equinox", "equinox", "to_equinox")
    params: GRUParams = _CAPABILITIES.layers(net)[0].net
    arrays: dict[str, Any] = {
        "weight_ih": swap_gates(params.kernel.T, 0),
        "weight_hh": swap_gates(params.recurrent_kernel.T, 0),
    }
    if has_bias(params):
        bias, candidate = one_gate_bias(params, "Equinox's cell")
        arrays |= {"bias": swap_gates(bias), "bias_n": candidate}
    # Only its shapes: all of its arrays are replaced, so none is initialized.
    cell = eqx.filter_eval_shape(
        eqx.nn.GRUCell,
        params.input_size,
        params.hidden_size,
        use_bias=has_bias(params),
        key=jax.random.key(0),
    )
    new = names.jax_tree(arrays, stacklevel=2)
    return eqx.tree_at(lambda cell: [getattr(cell, name) for name in new], cell, list(new.values()))


def find(arrays: Arrays, assume: Mapping[str, Any]) -> GRUsByName:
    """Return all GRU cells of Equinox with biases among named arrays, by their paths.

    A cell without biases has the names of PyTorch and is found there.
    """
    modules = names.holding(arrays, _SHAPES)
    return names.build_all(names.cells(arrays, modules, _SHAPES, params_of), assume, "equinox")


def params_of(weights: dict[str, Any], fields: Fields) -> GRUParams:
    """Return a layer, given arrays by the names of Equinox."""
    bias: Any = None
    recurrent_bias: Any = None
    if "bias" in weights:
        xp = numpy_of(weights["bias_n"])
        bias, candidate = swap_gates(weights["bias"]), weights["bias_n"]
        none = xp.zeros_like(candidate)
        recurrent_bias = xp.concatenate([none, none, candidate], -1)
    fields.resolve("reverse", False)  # a cell has no direction
    kernel, recurrent_kernel = (
        swap_gates(weights[name].swapaxes(-1, -2)) for name in ("weight_ih", "weight_hh")
    )
    return fields.params(
        kernel, recurrent_kernel, bias, recurrent_bias, reset_after=True, **TANH_SIGMOID
    )

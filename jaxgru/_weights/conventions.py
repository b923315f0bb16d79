"""The conventions of other libraries: order of gates, sign, biases, and supported nets.

Arrays are NumPy arrays, or traced arrays of JAX (``jax.jit``, ``jax.grad``), whose values cannot be
checked.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru._checks import leading_axes
from jaxgru._net import Net, check_net, parts, unroll
from jaxgru._params import GRUParams
from jaxgru._weights.errors import WeightsError


def is_traced(array: Any) -> bool:
    """Return whether an array is traced, and so has no values to check."""
    return isinstance(array, jax.core.Tracer)


def to_numpy(tree: Any) -> Any:
    """Convert the arrays of a tree to NumPy, except traced ones."""
    return jax.tree.map(lambda array: array if is_traced(array) else np.asarray(array), tree)


def numpy_of(*arrays: Any) -> Any:
    """Return numpy, or jax.numpy if an array is traced."""
    return jnp if any(map(is_traced, arrays)) else np


def swap_gates(array: Any, axis: int = -1) -> Any:
    """Return an array with the first two of three blocks swapped: r, z, n to z, r, n, or back."""
    xp = numpy_of(array)
    first, second, candidate = xp.split(array, 3, axis)
    return xp.concatenate([second, first, candidate], axis)


def negate_update(array: Any) -> Any:
    """Return a copy of an array with the z block, the first third of the last axis, negated."""
    width = array.shape[-1] // 3
    if is_traced(array):
        return jnp.concatenate([-array[..., :width], array[..., width:]], axis=-1)
    array = array.copy()
    block = array[..., :width]
    # By flipping the sign bit, because arithmetic changes a signaling NaN and warns.
    bits = block.view(f"u{array.itemsize}")
    bits ^= bits.dtype.type(1 << (8 * array.itemsize - 1))
    return array


def check_stackable(net: Net) -> tuple[int, ...]:
    """Check a net, or each of the nets stacked along leading axes of all arrays; return the axes.

    Raises ValueError as ``check_net`` does.
    """
    found = {leading_axes(layer.params) for layer in unroll(net)}
    axes = found.pop() if len(found) == 1 else ()
    if axes:
        rest = len(axes)
        struct: Any = jax.ShapeDtypeStruct
        net = jax.tree.map(lambda array: struct(array.shape[rest:], array.dtype), net)
    check_net(net)
    return axes


def has_bias(params: GRUParams) -> bool:
    """Return whether a layer has a bias of either side."""
    return params.bias is not None or params.recurrent_bias is not None


def arrays_of(params: GRUParams) -> dict[str, Any]:
    """Return the arrays that a layer has by the names of its fields."""
    fields = ("kernel", "recurrent_kernel", "bias", "recurrent_bias")
    arrays = {field: getattr(params, field) for field in fields}
    return {field: array for field, array in arrays.items() if array is not None}


def both_biases(params: GRUParams) -> tuple[Any, Any]:
    """Return the two biases of a layer, with zeros instead of None."""
    none = np.zeros(3 * params.hidden_size, params.dtype)
    bias = none if params.bias is None else params.bias
    recurrent_bias = none if params.recurrent_bias is None else params.recurrent_bias
    return bias, recurrent_bias


def one_bias(bias: Any, recurrent_bias: Any, holder: str) -> Any:
    """Return the sum of two biases if it is exact, that is if one of each two numbers is zero.

    ``holder`` is the format or library with one bias, for the error, such as ``"npz"``.
    """
    if is_traced(bias) or is_traced(recurrent_bias):
        return bias + recurrent_bias
    both = np.count_nonzero((bias != 0) & (recurrent_bias != 0))
    if both:
        raise WeightsError(
            f"bias and recurrent_bias are both non-zero in {both} of {bias.size} places: expected "
            f"one of them to be 0, because {holder} has a single bias there; add them first if "
            "rounding is acceptable"
        )
    return np.where(recurrent_bias != 0, recurrent_bias, bias)


def one_gate_bias(params: GRUParams, holder: str) -> tuple[Any, Any]:
    """Return the biases of a ``reset_after`` layer for a library with one bias for z and for r.

    They are ``(3H,)``, with both sides of z and r added, and ``(H,)``, the state side of the
    candidate.
    """
    bias, recurrent_bias = both_biases(params)
    gates = 2 * params.hidden_size
    shared = one_bias(bias[:gates], recurrent_bias[:gates], holder)
    return numpy_of(shared, bias).concatenate([shared, bias[gates:]]), recurrent_bias[gates:]


# The only fields of a layer that most libraries and formats support.
USUAL: Mapping[str, Collection[Any]] = {
    "activation": ("tanh",),
    "recurrent_activation": ("sigmoid",),
    "clip": (None,),
}


class Layer(NamedTuple):
    """A layer of a net as in other libraries, with one direction or two."""

    place: str  # in the net, such as "net[0]"
    net: Any  # a GRUParams, a Bidirectional of two, or a Backward of one

    @property
    def sides(self) -> dict[str, GRUParams]:
        """The directions with their positions, forward first."""
        sides = parts(self.net).nets or {"": self.net}
        return {f"{self.place}{end}": side for end, side in sides.items()}


class Capabilities(NamedTuple):
    """The nets that a library or a format supports; for others, ``layers`` raises an error."""

    name: str  # for errors, such as "Haiku's GRU"
    fields: Mapping[str, Collection[Any]] = USUAL  # of a layer, with the supported values
    merges: Collection[str | None] = ()  # of two directions; empty if only one is supported
    has_backward: bool = False  # whether a layer may be a Backward
    has_stacks: bool = False

    def layers(self, net: Net) -> list[Layer]:
        """Return the layers of a net as NumPy arrays, in order."""
        check_net(net)
        layers = list(self._layers(to_numpy(net), "net"))
        for layer in layers:
            for place, params in layer.sides.items():
                if parts(params).kind != "layer":
                    raise self._refusal(place, params, "a GRUParams")
                self.check(params, place)
        return layers

    def check(self, params: GRUParams, place: str = "net") -> None:
        """Raise WeightsError unless the fields of a layer have supported values."""
        where = "" if place == "net" else f" of {place}"
        for field, held in self.fields.items():
            self._check_value(f"{field}{where}", getattr(params, field), held)

    def _check_value(self, what: str, value: Any, held: Collection[Any]) -> None:
        if value not in held:
            options = " or ".join(map(repr, held))
            raise WeightsError(f"{what} is {value!r}: {self.name} supports only {options}")

    def _layers(self, net: Any, place: str) -> Iterator[Layer]:
        kind, nets, merge = parts(net)
        if kind == "stack" and (self.has_stacks or len(nets) == 1):
            for end, layer in nets.items():
                yield from self._layers(layer, f"{place}{end}" if len(nets) > 1 else place)
            return
        held = {"layer": True, "bidirectional": self.merges, "backward": self.has_backward}
        if not held.get(kind):
            raise self._refusal(place, net, self._expected())
        if kind == "bidirectional":
            self._check_value(f"merge of {place}", merge, self.merges)
        yield Layer(place, net)

    def _expected(self) -> str:
        kinds = ["a GRUParams"]
        kinds += ["a Bidirectional of two"] if self.merges else []
        kinds += ["a Backward of one"] if self.has_backward else []
        kinds += ["a tuple or list of layers"] if self.has_stacks else []
        return " or ".join(kinds)

    def _refusal(self, place: str, net: Any, expected: str) -> WeightsError:
        kind, nets, _ = parts(net)
        size = f" of {len(nets)}" if kind == "stack" else ""
        return WeightsError(
            f"{place} is a {type(net).__name__}{size}: expected {expected}, as {self.name} "
            "supports nothing else"
        )

"""Keras' GRU cells: their fields, and their arrays in the order of ``get_weights``.

A cell has a kernel, a recurrent kernel and, unless ``use_bias=False``, a bias. The gates are in the
order z, r, h, as in ``GRUParams``. The bias is ``(2, 3H)`` with ``reset_after=True``, input side
first, ``(3H,)`` with ``reset_after=False``, and ``(6H,)`` in a ``CuDNNGRU``, whose kernels also
have another layout. Keras 1 has three arrays for each gate.
"""

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxgru._activations import ActivationLike
from jaxgru._net import Backward, Bidirectional, Merge, Net, check_net
from jaxgru._params import GRUParams
from jaxgru._weights.conventions import both_biases, has_bias, one_bias
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, check_floats
from jaxgru._weights.errors import WeightsError
from jaxgru._weights.libraries.names import check_arrays

_NAMES = ("kernel", "recurrent_kernel", "bias")
_GATES = 3


class Cell(NamedTuple):
    """The fields of a GRU cell, without its weights: those of ``GRUParams`` and some more."""

    units: int | None  # None: not known
    activation: ActivationLike
    recurrent_activation: ActivationLike
    use_bias: bool
    reset_after: bool
    is_cudnn: bool = False  # of a CuDNNGRU, which lays out its arrays in another way

    @property
    def array_count(self) -> int:
        """The number of arrays of the cell."""
        return 3 if self.use_bias else 2


class GRULayer(NamedTuple):
    """A layer of GRU cells, without its weights."""

    # One direction or two, each a stack of cells, the first one first.
    sides: tuple[tuple[Cell, ...], ...]
    is_backward: bool = False
    merge: Merge = None  # of two directions
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order of ``get_weights``: the forward side first."""
        return tuple(cell for side in self.sides for cell in side)

    def assemble(self, params: Sequence[GRUParams]) -> Net:
        """Return the net of the layer, given the weights of ``cells``."""
        rest = iter(params)
        stacks = [tuple(next(rest) for _ in side) for side in self.sides]
        nets: list[Net] = [stack[0] if len(stack) == 1 else stack for stack in stacks]
        net = nets[0]
        if len(nets) == 2:
            net = Bidirectional(nets[0], nets[1], self.merge)
        elif self.is_backward:
            net = Backward(net)
        try:
            check_net(net)
        except ValueError as error:
            raise WeightsError(str(error)) from None
        return net


def to_params(arrays: Sequence[NDArray[Any]], cell: Cell, where: str) -> GRUParams:
    """Return the weights of a cell, given its arrays in order and its name for errors."""
    if not arrays:
        raise WeightsError(f"{where} has no weights: expected a layer that was built when saved")
    if len(arrays) != cell.array_count:
        raise WeightsError(
            f"{where} has {len(arrays)} arrays: expected {cell.array_count}, as its configuration "
            f"has use_bias={cell.use_bias}"
        )
    bias_shape = ("6H",) if cell.is_cudnn else ("2", "3H") if cell.reset_after else ("3H",)
    kernel, recurrent_kernel, *biases = _checked(arrays, where, bias_shape)
    if cell.units not in (None, len(recurrent_kernel)):
        raise WeightsError(
            f"{where} has arrays for {len(recurrent_kernel)} units: expected {cell.units}, as in "
            "its configuration"
        )
    if cell.is_cudnn:
        kernel, recurrent_kernel, *biases = _from_cudnn(kernel, recurrent_kernel, *biases)
    bias: Any = biases[0] if biases else None
    bias, recurrent_bias = bias if cell.reset_after and biases else (bias, None)
    return GRUParams(
        kernel,
        recurrent_kernel,
        bias,
        recurrent_bias,
        reset_after=cell.reset_after,
        activation=cell.activation,
        recurrent_activation=cell.recurrent_activation,
    )


def cell_from_arrays(
    arrays: Sequence[NDArray[Any]], fields: Fields, where: str, version: str | None = None
) -> Cell:
    """Return the fields of a cell, given only its arrays.

    The position of the reset gate follows from the bias. A ``CuDNNGRU`` always has tanh and
    sigmoid. The activations of a ``GRU`` are those of the caller or the defaults of ``version``,
    which is None if unknown.
    """
    if len(arrays) not in (2, 3):
        raise WeightsError(f"{where} has {len(arrays)} arrays: expected 2, or 3 with a bias")
    units = len(_checked(arrays, where)[1])
    # Before 2.3, the defaults were hard_sigmoid and the reset gate before the product.
    numbers = [int(part) for part in re.findall(r"\d{1,4}", version or "")[:2]]
    is_early = version is not None and numbers < [2, 3]
    if len(arrays) == 2:
        reset_after = fields.resolve("reset_after", default=not is_early)
    else:
        reset_after = fields.resolve("reset_after", arrays[2].shape != (_GATES * units,))
    is_cudnn = len(arrays) == 3 and arrays[2].shape == (2 * _GATES * units,)
    # Keras of TensorFlow 2.0 also has the version 2.2.4, but its layers reset after.
    default = "hard_sigmoid_keras2" if is_early and not reset_after else "sigmoid"
    return Cell(
        units,
        fields.resolve("activation", *(["tanh"] * is_cudnn)),
        fields.resolve("recurrent_activation", *(["sigmoid"] * is_cudnn), default=default),
        use_bias=len(arrays) == 3,
        reset_after=reset_after,
        is_cudnn=is_cudnn,
    )


def net_from_arrays(
    sides: Sequence[Sequence[tuple[Sequence[NDArray[Any]], str]]],
    fields: Fields,
    version: str | None = None,
) -> Net:
    """Return the net of a layer without a configuration: one direction or two of stacks of cells.

    Each cell is its arrays and its name; ``version`` is that of Keras, None if unknown.
    """
    cells = [
        tuple(cell_from_arrays(arrays, fields, where, version) for arrays, where in side)
        for side in sides
    ]
    layer = GRULayer(tuple(cells))
    if len(sides) == 2:
        layer = layer._replace(merge=fields.resolve("merge"))
    else:
        layer = layer._replace(is_backward=fields.resolve("reverse"))
    stored = [one for side in sides for one in side]
    pairs = zip(stored, layer.cells, strict=True)
    return layer.assemble([to_params(arrays, cell, where) for (arrays, where), cell in pairs])


def params_of(arrays: Arrays, names: Sequence[str], fields: Fields, **in_file: Any) -> GRUParams:
    """Return a layer, given the arrays of these names: kernel, recurrent kernel, perhaps a bias.

    The bias shows where the reset gate is applied. ``in_file`` has the fields in the file.
    """
    kernel, recurrent_kernel, *bias = (name for name in names if name in arrays)
    shapes: dict[str, tuple[str, ...]] = {recurrent_kernel: ("H", "3H"), kernel: ("I", "3H")}
    if bias:
        in_file["reset_after"] = len(arrays[bias[0]].shape) == 2
        shapes[bias[0]] = ("2", "3H") if in_file["reset_after"] else ("3H",)
    found = check_arrays(arrays, "", shapes)
    biases: Any = [found[name] for name in bias]
    biases = biases[0] if in_file.get("reset_after") else biases
    return fields.params(found[kernel], found[recurrent_kernel], *biases, **in_file)


def join_gates(arrays: Sequence[NDArray[Any]], where: str) -> list[NDArray[Any]]:
    """Return the three arrays of a cell from Keras 1's nine: W, U and b of z, of r and of h."""
    check_floats({f"array {i} of {where}": array for i, array in enumerate(arrays)})
    joined = []
    for i, name in enumerate(_NAMES):
        gates = arrays[i::_GATES]
        shapes = [gate.shape for gate in gates]
        if len(set(shapes)) > 1 or len(shapes[0]) not in (1, 2):
            raise WeightsError(
                f"{name} of {where} has gates of shapes {', '.join(map(str, shapes))}: expected "
                "the same for all three"
            )
        joined.append(np.concatenate(gates, axis=-1))
    return joined


def to_arrays(params: GRUParams) -> list[NDArray[Any]]:
    """Return the arrays for ``keras.layers.GRU.set_weights``, for a layer of NumPy arrays."""
    arrays = [np.asarray(params.kernel), np.asarray(params.recurrent_kernel)]
    if not has_bias(params):
        return arrays
    biases = both_biases(params)
    bias = np.stack(biases) if params.reset_after else one_bias(*biases, "Keras' reset_after=False")
    return [*arrays, bias]


def _checked(
    arrays: Sequence[NDArray[Any]], where: str, bias_shape: tuple[str, ...] = ()
) -> list[Any]:
    """Return the checked arrays of a cell in order; without a shape of the bias, it has none."""
    module = dict(zip(_NAMES, arrays, strict=False))
    shapes = {"recurrent_kernel": ("H", "3H"), "kernel": ("I", "3H"), "bias": bias_shape}
    shapes = {name: shape for name, shape in shapes.items() if shape and name in module}
    found = check_arrays(module, where, shapes)
    return [found[name] for name in _NAMES if name in found]


def _from_cudnn(
    kernel: NDArray[Any], recurrent_kernel: NDArray[Any], *biases: NDArray[Any]
) -> list[NDArray[Any]]:
    """Return the arrays of a ``CuDNNGRU`` as those of a ``GRU(reset_after=True)``.

    cuDNN uses the transposed weights of each gate. ``CuDNNGRU`` passes its kernel without
    transposing, so each block ``(I, H)`` contains the numbers of an ``(H, I)`` array.
    """
    inputs, units = kernel.shape[0], recurrent_kernel.shape[0]
    blocks = np.split(kernel, _GATES, axis=1)
    recurrent_blocks = np.split(recurrent_kernel, _GATES, axis=1)
    return [
        np.concatenate([block.reshape(units, inputs).T for block in blocks], axis=1),
        np.concatenate([block.T for block in recurrent_blocks], axis=1),
        *(bias.reshape(2, _GATES * units) for bias in biases),
    ]

"""What a GRU cell of Keras computes, and how layers are put together of cells."""

from collections.abc import Sequence
from typing import NamedTuple

from jaxgru.net import Backward, Bidirectional, Net, check_net
from jaxgru.params import GRUParams
from jaxgru.weights.errors import WeightsError


class Cell(NamedTuple):
    """A GRU cell without its weights; the fields are those of ``GRUParams``, but for these."""

    units: int | None  # None: not said
    activation: str
    recurrent_activation: str
    use_bias: bool
    reset_after: bool
    is_cudnn: bool = False  # of a CuDNNGRU, which lays out its arrays in another way

    @property
    def array_count(self) -> int:
        """How many arrays the cell has."""
        return 3 if self.use_bias else 2


class GRULayer(NamedTuple):
    """A layer made of GRU cells, without its weights."""

    # One direction or two, each a stack of cells, the first one first.
    sides: tuple[tuple[Cell, ...], ...]
    is_backward: bool = False
    merge: str | None = None  # of two directions
    notes: tuple[str, ...] = ()

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells in the order of ``get_weights``: the forward side first."""
        return tuple(cell for side in self.sides for cell in side)

    def assemble(self, params: Sequence[GRUParams]) -> Net:
        """Return the net of the layer, given the weights of ``cells``.

        Raises:
            WeightsError: the cells do not fit together.
        """
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

"""The GRUs of a Keras model in a list of the weights of a layer, or of the whole model."""

import functools
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, read_now
from jaxgru._weights.errors import WeightsError, listed, plain
from jaxgru._weights.libraries.keras.arrays import join_gates, net_from_arrays
from jaxgru._weights.libraries.keras.chains import Configured
from jaxgru._weights.libraries.keras.config import Layer, check_subclass
from jaxgru._weights.libraries.keras.names import Place, as_layers, find_places
from jaxgru._weights.libraries.names import attempt
from jaxgru._weights.results import GRUsByName, LoadedGRU

_KERAS_1 = 9  # arrays of a cell there
_MOST_CELLS = 6  # of a stack whose order follows from their shapes


class Listed:
    """A list of weights, and the recurrent cells in it.

    The array with a name is ``arrays[prefix + name]``; ``root`` begins the names in errors.
    """

    def __init__(
        self, arrays: Arrays, names: Iterable[str], prefix: str = "", root: str = ""
    ) -> None:
        self._arrays, self._prefix, self._root = arrays, prefix, root
        self.places = [place for place in find_places(names) if self._is_gru(place)]

    def read(self, places: Sequence[Place]) -> list[tuple[list[NDArray[Any]], str]]:
        """Return the arrays of cells in the order of ``get_weights``, and the name of each."""
        cells = []
        for place in places:
            where = plain(f"{self._root}{self._prefix}{place.path}".rstrip("/"), 120)
            arrays = [read_now(self._arrays[f"{self._prefix}{name}"]) for name in place.arrays]
            cells.append((join_gates(arrays, where) if len(arrays) == _KERAS_1 else arrays, where))
        return cells

    def found(self, gru: Configured, places: Sequence[Place]) -> LoadedGRU:
        """Return the GRU of a configuration, given the places of its cells."""
        count = len(gru.checked().cells)
        if len(places) != count:
            raise WeightsError(
                f"the file shows the weights of {len(places)} cells for it, by name or by order: "
                f"expected {count}, as in the model's configuration"
            )
        return gru.found(self.read(places))

    def by_shape(
        self,
        places: Sequence[Place],
        name: str,
        version: str | None,
        assume: Mapping[str, Any],
        custom: Mapping[str, Layer],
    ) -> GRUsByName:
        """Return the GRUs at places outside the configuration, in the layer with a name.

        ``custom`` are the layers of custom classes by name.
        """
        layers = as_layers(places)
        gathered: GRUsByName = {}
        for path, sides in layers:
            # The group of a layer repeats its name; that of a nested model has several layers.
            own = f"{name}/{path.removeprefix(f'{name}/')}" if name else path
            own = name if name and len(layers) == 1 else own
            layer = custom.get(path.rpartition("/")[2] or name)
            gathered[own] = attempt(functools.partial(self._net, sides, version, layer), assume)
        return gathered

    def _net(
        self, sides: list[list[Place]], version: str | None, custom: Layer | None, fields: Fields
    ) -> Net:
        if custom is not None:
            check_subclass(custom, fields)
        ordered = [self._in_order(side, fields) for side in sides]
        return net_from_arrays([self.read(side) for side in ordered], fields, version)

    def _in_order(self, cells: list[Place], fields: Fields) -> list[Place]:
        """Return the cells of a stack, first one first.

        The order is known if only one has shapes that fit. It is assumed, with a note, if the order
        in the file, which may have frozen cells last, is also that of the numbers, which count
        cells in the order of their creation.
        """
        orders = itertools.permutations(cells) if len(cells) <= _MOST_CELLS else ()
        sizes = {cell: self._sizes(cell) for cell in cells}
        fitting = [
            order
            for order in orders
            if all(sizes[a][1] == sizes[b][0] for a, b in itertools.pairwise(order))
        ]
        if len(fitting) == 1:
            return list(fitting[0])
        counted = [cell.counted for cell in cells]
        if counted != sorted(set(counted)) or len({name for name, _ in counted}) > 1:
            raise WeightsError(
                f"its cells are {listed([cell.path for cell in cells])} in the file, which stores "
                "frozen cells last, so their order is not known: expected a file with the "
                "configuration of the model"
            )
        fields.note(
            f"its cells are assumed to run in the order {listed([cell.path for cell in cells])}, "
            "the order of their creation if none is frozen; a file with the configuration of the "
            "model has the exact order"
        )
        return cells

    def _sizes(self, place: Place) -> tuple[int, ...]:
        """Return the number of inputs and of units of a cell."""
        shapes = [self._arrays[f"{self._prefix}{name}"].shape for name in place.arrays[:2]]
        return tuple(shape[0] if shape else 0 for shape in shapes)

    def _is_gru(self, place: Place) -> bool:
        """Return whether a recurrent cell has the three gates of a GRU."""
        paths = [f"{self._prefix}{name}" for name in place.arrays]
        if not all(path in self._arrays for path in paths):
            return False
        shape = self._arrays[paths[1]].shape
        return len(paths) == _KERAS_1 or (len(shape) == 2 and shape[1] == 3 * shape[0])

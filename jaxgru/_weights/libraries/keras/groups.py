"""The tree of groups with the weights of a Keras 3 model, by the objects that they belong to.

The arrays of an object are ``vars/0``, ``vars/1`` and so on in its group. The other groups are
those of its attributes and, in a container such as ``layers``, of its members. The group of a
member has the name of its class, with a number if there are several: ``gru``, ``gru_1``, in the
order of the layers. So the layers ``encoder`` and ``gru_8`` are in ``gru`` and ``gru_1``. Later
versions also store the name of the member, as an attribute of ``vars``.
"""

import collections
import dataclasses
import functools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from jaxgru._net import Net
from jaxgru._weights.defaults import Fields
from jaxgru._weights.dtypes import Arrays, Unread, read_now
from jaxgru._weights.errors import WeightsError, listed, shown
from jaxgru._weights.libraries.keras.arrays import net_from_arrays
from jaxgru._weights.libraries.keras.config import Layer, check_subclass
from jaxgru._weights.libraries.keras.named import inner_place, variable_names
from jaxgru._weights.libraries.names import attempt
from jaxgru._weights.results import UNNAMED, GRUsByName

# The attribute of the layers of a model: since Keras 2.14, and in 2.13.
CONTAINERS = ("layers", "_layer_checkpoint_dependencies")

# Members of recurrent layers.
_INSIDE_LAYERS = frozenset(("cell", "cells", "forward_layer", "backward_layer"))
_SIDES = ("forward_layer", "backward_layer")
# A cell, a layer of a cell, and both directions with, in Keras 2, the layer they were copied from.
_LAYERS: tuple[set[str], ...] = (set(), {"cell"}, {*_SIDES}, {*_SIDES, "layer"})


@dataclasses.dataclass
class Group:
    """The group of an object or of a container."""

    path: str  # in the file, with the usual separators
    name: str | None = None  # of the object, if the file has it
    arrays: tuple[str, ...] = ()  # the paths of vars/0, vars/1 and so on
    inner: "dict[str, Group]" = dataclasses.field(default_factory=dict)


def in_order(names: "dict[str, Group]") -> list[str]:
    """Return the names of groups, with those of one class in the order of their numbers."""
    return sorted(names, key=_class_and_number)


def _class_and_number(name: str) -> tuple[str, int]:
    """Return the class and the number of a group, or 0: ``("gru", 12)`` for ``gru_12``."""
    match = re.fullmatch(r"(.+)_(\d{1,9})", name, re.DOTALL)
    return (match[1], int(match[2])) if match else (name, 0)


def cell_groups(group: Group) -> list[Group]:
    """Return the groups of the cells of a recurrent layer, forward first, or the group itself."""
    inner = group.inner
    if "forward_layer" in inner and "backward_layer" in inner:
        return cell_groups(inner["forward_layer"]) + cell_groups(inner["backward_layer"])
    if "cell" in inner:
        return cell_groups(inner["cell"])
    if "cells" in inner:
        cells = inner["cells"].inner
        return [cells[name] for name in in_order(cells)]
    return [group]


def read_cell(arrays: Arrays, cell: Group) -> list[NDArray[Any]]:
    """Return the arrays of a cell."""
    read = {path: read_now(_held(arrays, path)) for path in cell.arrays}
    for path, array in read.items():
        if isinstance(array, Unread):
            raise WeightsError(f"{shown(path)} has dtype {array.dtype}: expected floating-point")
    return list(read.values())


def check_one_class(group: Group) -> None:
    """Raise WeightsError for a stack of cells of several classes, which are counted by class."""
    for name, inner in group.inner.items():
        classes = {_class_and_number(cell)[0] for cell in inner.inner}
        if name == "cells" and len(classes) > 1:
            raise WeightsError(
                f"{inner.path} has cells of the classes {listed(sorted(classes))}, whose order is "
                "not in the file: expected one class"
            )
        check_one_class(inner)


def inner_groups(group: Group | None, layer: Layer) -> list[Group | None]:
    """Return the group of each layer in a model or wrapper, None if there is none."""
    if group is None:
        return [None] * len(layer.inner)
    if len(layer.inner) == 1 and "layer" in group.inner:
        return [group.inner["layer"]]  # a wrapper, such as TimeDistributed
    return layer_groups(group, layer.inner)


def layer_groups(model: Group, layers: Sequence[Layer]) -> list[Group | None]:
    """Return the group of each layer of a model, None if there is none."""
    for container in CONTAINERS:
        if container in model.inner:
            return _matched(model.inner[container], layers, container == CONTAINERS[0])
    return [None] * len(layers)


def names_of(root: Group, layers: Mapping[str, tuple[str, Layer]] | None = None) -> dict[str, str]:
    """Return the paths of all arrays by the names that users see.

    ``layers`` has the name and the configuration of each layer by the path of its group. Without
    it, names are those of objects in the file, else those of groups.
    """
    named: dict[str, str] = {}

    def walk(group: Group, name: str, inside: tuple[str, ...], kind: str, layer: Any) -> None:
        if layers is not None and group.path in layers:
            (name, layer), inside = layers[group.path], ()
        place = "/".join(filter(None, [name, *inner_place(inside)]))
        config = None if layer is None or inside else layer.config
        kind = group_class(layer.class_name) if config is not None else kind
        variables = variable_names(kind, len(group.arrays), config)
        for variable, path in zip(variables, group.arrays, strict=True):
            known = f"{place}/{variable}" if place else variable
            named[path if known in named else known] = path
        for key, inner in group.inner.items():
            own_kind = _class_and_number(key)[0]
            if layers is not None or key in _INSIDE_LAYERS:
                walk(inner, name, (*inside, key), own_kind, layer)
            else:
                own = [] if key in CONTAINERS else [inner.name or key]
                walk(inner, "/".join(filter(None, [name, *own])), (), own_kind, None)

    walk(root, "", (), "", None)
    # In the order of the layers, where it is known.
    ranks = {name: i for i, (name, _) in enumerate((layers or {}).values())}
    return dict(sorted(named.items(), key=lambda item: _rank(item[0], ranks)))


def notes_of(root: Group) -> tuple[str, ...]:
    """Return the notes on the names of ``names_of`` without the layers."""
    unnamed: list[str] = []

    def walk(group: Group) -> None:
        for key, inner in group.inner.items():
            if key in CONTAINERS:
                unnamed.extend(name for name, member in inner.inner.items() if not member.name)
            walk(inner)

    walk(root)
    if not unnamed:
        return ()
    return (
        f"it does not contain the names of layers: {listed(unnamed)} are classes, numbered in the "
        "order of the model",
    )


def _rank(name: str, ranks: Mapping[str, int]) -> int:
    parts = name.split("/")
    places = (ranks.get("/".join(parts[:i])) for i in range(len(parts), 0, -1))
    return next((place for place in places if place is not None), len(ranks))


def _matched(
    container: Group, layers: Sequence[Layer], is_numbered_by_one: bool
) -> list[Group | None]:
    held: dict[str, list[tuple[int, Group]]] = collections.defaultdict(list)
    for name, group in container.inner.items():
        class_, number = _class_and_number(name)
        held[class_].append((number, group))
        if number:  # or a class whose name ends in a number
            held[name].append((0, group))
    wanted: dict[str, list[int]] = collections.defaultdict(list)
    for i, layer in enumerate(layers):
        wanted[group_class(layer.class_name)].append(i)
    matched: list[Group | None] = [None] * len(layers)
    for class_, indices in wanted.items():
        numbered = dict(held[class_])
        in_order = [numbered[number] for number in sorted(numbered)]
        named = {group.name: group for group in in_order if group.name is not None}
        for order, i in enumerate(indices):
            if named:
                matched[i] = named.get(layers[i].name)
            elif len(in_order) == len(indices):
                # Not by number: Keras 2.13 counts in twos, gru, gru_2, gru_4.
                matched[i] = in_order[order]
            elif is_numbered_by_one:
                matched[i] = numbered.get(order)
    return matched


def group_class(class_name: str) -> str:
    """Return the name of the group for a class: ``time_distributed`` for ``TimeDistributed``."""
    # A registered class is called package>Class.
    name = re.sub(r"\W", "", class_name.rpartition(">")[2])
    # A capital begins a word after a lower-case letter, or before one: GRU, GRUCell.
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()


def find(
    arrays: Arrays,
    root: Group,
    assume: Mapping[str, Any],
    known: Collection[str] = (),
    taken: Collection[str] = (),
    layers: Mapping[str, Layer] | None = None,
) -> GRUsByName:
    """Return the GRUs among the groups of a model, except known ones, by unused names.

    They are found by the shapes of their arrays, which show the position of the reset gate. Groups
    show both directions and stacks of cells. The other fields are assumed. ``layers`` has those of
    the configuration by the paths of their groups; one with such arrays has a custom class.
    """
    gathered: GRUsByName = {}
    for names, group in _recurrent(arrays, root, known, ()):
        # Names that every model has are omitted.
        name = "/".join(name for name in names if name not in CONTAINERS)
        name = name or group.path or UNNAMED
        if name in gathered or name in taken:
            name = group.path
        sides = [group.inner[side] for side in _SIDES if side in group.inner] or [group]
        layer = (layers or {}).get(group.path)
        gathered[name] = attempt(functools.partial(_net, arrays, sides, layer), assume)
    return gathered


def _recurrent(
    arrays: Arrays, group: Group, known: Collection[str], names: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], Group]]:
    """Yield each group of a GRU with the names of its path."""
    if group.path in known:
        return
    # A layer with other members is a custom layer, which may have more GRUs.
    cells = cell_groups(group) if set(group.inner) in _LAYERS else []
    if cells and all(_is_cell(arrays, cell) for cell in cells):
        yield names, group
        return
    for key in in_order(group.inner):
        # The copies of the optimizer have the same shapes.
        if not (key == "optimizer" and not names):
            inner = group.inner[key]
            yield from _recurrent(arrays, inner, known, (*names, inner.name or key))


def _is_cell(arrays: Arrays, group: Group) -> bool:
    if len(group.arrays) not in (2, 3):
        return False
    kernel, recurrent_kernel, *biases = (_held(arrays, path).shape for path in group.arrays)
    if len(kernel) != 2 or len(recurrent_kernel) != 2:
        return False
    wide = 3 * recurrent_kernel[0]
    fits = kernel[1] == recurrent_kernel[1] == wide
    return fits and all(bias in ((wide,), (2, wide), (2 * wide,)) for bias in biases)


def _net(arrays: Arrays, sides: Sequence[Group], custom: Layer | None, fields: Fields) -> Net:
    if custom is not None:
        check_subclass(custom, fields)
    for side in sides:
        check_one_class(side)
    stored = [
        [(read_cell(arrays, cell), cell.path) for cell in cell_groups(side)] for side in sides
    ]
    return net_from_arrays(stored, fields)


def _held(arrays: Arrays, path: str) -> Any:
    if path not in arrays:
        raise WeightsError(f"{shown(path)} has no numbers in the file: expected those of an array")
    return arrays[path]

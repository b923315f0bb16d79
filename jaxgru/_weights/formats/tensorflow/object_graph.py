"""The objects of a checkpoint or SavedModel, as the groups that ``libraries.keras.groups`` reads.

A checkpoint has a graph of objects: the attributes of each by name, and the key of each variable.
In it a cell is an object with ``kernel``, ``recurrent_kernel`` and perhaps ``bias``. An object is
called by the name of its layer: that of the configuration; else, where the library has only
counted it, by the names that its variables had when they were made; else by its attribute.

Source: ``tensorflow/core/protobuf/trackable_object_graph.proto``.
"""

import collections
import dataclasses
import re
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.protobuf import Message
from jaxgru._weights.formats.tensorflow.table import MOST_ENTRIES
from jaxgru._weights.libraries.keras.groups import CONTAINERS, Group, group_class
from jaxgru._weights.libraries.keras.named import inner_place
from jaxgru._weights.limits import Budget

_CELL = ("kernel", "recurrent_kernel", "bias")
# Members of recurrent layers and wrappers.
_PARTS = ("cell", "cells", "forward_layer", "backward_layer", "layer")
# Of the library: what is in them is elsewhere, or belongs to no layer.
_IGNORED = frozenset(
    {
        *("optimizer", "keras_api", "signatures", "regularization_losses", "metrics"),
        *("variables", "trainable_variables", "non_trainable_variables", "_all_variables"),
    }
)
# Lists that the library makes: their names say nothing.
_PLAIN = frozenset({"_functional", "_operations", "_layers", "_tracked", "layers"})
_COUNTED = re.compile(r"layer(_with_weights)?-(\d{1,9})")
_MADE = re.compile(r"(?:gru_cell|stacked_rnn_cells|cell)(?:_\d+)?|(?:forward|backward)_.+")
_DEEPEST = 64  # of objects
_LISTS = ("variables", "_trainable_variables")


class Kind(NamedTuple):
    """The configuration of an object."""

    name: str
    class_name: str
    is_model: bool


class Node(NamedTuple):
    """An object."""

    children: dict[str, int]  # the numbers of others by the names of attributes
    key: str  # of its value in the checkpoint, if it is a variable
    full_name: str  # when the variable was made


@dataclasses.dataclass
class Tree:
    """The objects of a checkpoint by way of their attributes, each once."""

    root: Group
    named: dict[str, str]  # the keys of variables by the names that users see
    groups: dict[int, Group]  # of layers, cells and what leads to them, by the number of the object
    cells: dict[str, str]  # the keys of variables that only lists hold, by full names of cells
    empty: list[str]  # the attributes, joined by /, of recurrent layers without variables
    is_of_keras_3: bool  # whether a layer is an attribute of a model of Keras 3


def read_nodes(content: "bytes | bytearray") -> list[Node]:
    """Return the objects of a checkpoint, given its graph."""
    nodes = []
    for held in Message(content, "the object graph").messages(1):
        key = full_name = ""
        for attribute in held.messages(2):
            if attribute.text(1) == "VARIABLE_VALUE":
                full_name, key = attribute.text(2), attribute.text(3)
        nodes.append(Node(children_of(held), key, full_name))
        if len(nodes) > MOST_ENTRIES:
            raise WeightsError(f"it has more than {MOST_ENTRIES} objects: expected no more")
    return nodes


def children_of(held: Message) -> dict[str, int]:
    """Return the numbers of the children of a node of either graph by name."""
    return {child.text(2): child.number(1) for child in held.messages(1)}


def read_tree(nodes: list[Node], kinds: Mapping[int, Kind]) -> Tree:
    """Return the objects as groups; ``kinds`` has what the configuration says of them, if any."""
    reached = reach(nodes)
    members: dict[int, list[int]] = collections.defaultdict(list)
    below: dict[int, set[str]] = collections.defaultdict(set)  # first names of layers
    for number in reversed(reached):
        parent, _ = reached[number]
        if nodes[number].key:
            _add(below[parent], {_layer_of(nodes[number].full_name)})
        elif below[number]:
            members[parent].append(number)
            _add(below[parent], below[number])
    # A name of many parts is that of each variable below.
    budget = Budget(sum(len(node.full_name) + len(node.key) for node in nodes))
    root = Group("")
    layers = [n for n in reached if "cell" in nodes[n].children and not _is_of_keras_2(nodes[n])]
    empty = [_path(reached, number) for number in layers if not below[number]]
    owners = {reached[number][1] for number in layers}
    is_of_keras_3 = any(own and own not in _PARTS and not own.isdigit() for own in owners)
    tree = Tree(root, {}, {0: root}, {}, empty, is_of_keras_3)
    # The names above each object, and the parts of a layer on the way to it.
    places: dict[int, tuple[tuple[str, ...], tuple[str, ...]]] = {0: ((), ())}
    used, taken = set[int](), set[tuple[str, ...]]()
    for number in reached:
        if number not in tree.groups:
            continue
        group, (place, inside) = tree.groups[number], places[number]
        variables = _variables(nodes, number)
        if variables.keys() in ({*_CELL}, {*_CELL[:2]}):
            group.arrays = tuple(nodes[variables[own]].key for own in _CELL if own in variables)
        for own, child in variables.items():
            if child not in used:
                key = nodes[child].key
                known = "/".join([*place, *inner_place(inside), own])
                budget.spend(len(known))
                tree.named[key if known in tree.named else known] = key
                used.add(child)
        for child in reversed(members[number]):
            attribute, kind = reached[child][1], kinds.get(child)
            is_plain = attribute in _PLAIN or (kinds and kind is None)
            if _is_part(attribute, inside, kinds.get(number)):
                key = f"cell_{attribute}" if attribute.isdigit() else attribute
                places[child] = place, (*inside, attribute)
                inner = group.inner.setdefault(key, Group(f"{group.path}/{key}".lstrip("/")))
            elif is_plain and not _variables(nodes, child):
                places[child], inner = places[number], group
            else:
                own = kind.name if kind else _name(attribute, below[child])
                if (*place, own) in taken:
                    own = attribute  # another layer has the name
                taken.add((*place, own))
                places[child] = (*place, own), ()
                inner = _member(group, own, attribute, kind)
            budget.spend(len(inner.path))
            tree.groups[child] = inner
    tree.cells = dict(_cells_in_lists(nodes, used))
    return tree


def reach(nodes: list[Node]) -> dict[int, tuple[int, str]]:
    """Return the parent and the attribute of each object, breadth first, without a recursion."""
    reached: dict[int, tuple[int, str]] = {0: (-1, "")} if nodes else {}
    waiting = collections.deque((number, 0) for number in reached)
    while waiting:
        number, depth = waiting.popleft()
        if depth == _DEEPEST:
            continue
        for name, child in sorted(nodes[number].children.items(), key=_rank):
            if name not in _IGNORED and child not in reached and 0 <= child < len(nodes):
                reached[child] = (number, name)
                waiting.append((child, depth + 1))
    return reached


def _is_of_keras_2(node: Node) -> bool:
    return "state_spec" in node.children or "keras_api" in node.children


def _path(reached: Mapping[int, tuple[int, str]], number: int) -> str:
    parts: list[str] = []
    while number > 0:
        number, attribute = reached[number]
        parts.append(attribute)
    return "/".join(reversed(parts))


def _add(names: set[str], more: set[str]) -> None:
    if len(names) < 2:  # whether there is one alone
        names |= more


def _variables(nodes: list[Node], number: int) -> dict[str, int]:
    return {
        name.removeprefix("_"): child
        for name, child in nodes[number].children.items()
        if 0 <= child < len(nodes) and nodes[child].key
    }


def _is_part(attribute: str, inside: tuple[str, ...], around: Kind | None) -> bool:
    """Return whether an attribute is that of a recurrent layer, not one of a user's model."""
    if around is not None and around.is_model:
        return False
    return attribute in _PARTS or (inside[-1:] == ("cells",) and attribute.isdigit())


def _member(group: Group, own: str, attribute: str, kind: Kind | None) -> Group:
    """Return a new group in another one: of a layer among its layers, or of an attribute."""
    holder, key = group, attribute
    if kind is not None or _COUNTED.fullmatch(attribute) or attribute.isdigit():
        name = CONTAINERS[0]
        holder = group.inner.setdefault(name, Group(f"{group.path}/{name}".lstrip("/")))
        key = f"{group_class(kind.class_name) if kind else 'layer'}_{len(holder.inner) + 1}"
    inner = holder.inner[key] = Group(f"{holder.path}/{key}".lstrip("/"), own)
    return inner


def _rank(item: tuple[str, int]) -> tuple[int, int]:
    """Put a user's attributes first, then what the library has counted, in its order."""
    name, _ = item
    if counted := _COUNTED.fullmatch(name):
        return (2 if counted[1] else 1, int(counted[2]))
    return (1, int(name)) if re.fullmatch("[0-9]{1,9}", name) else (0, 0)


def _name(attribute: str, below: Collection[str]) -> str:
    known = next(iter(below)) if len(below) == 1 else ""
    is_counted = _COUNTED.fullmatch(attribute) or attribute.isdigit()
    return known if is_counted and known else attribute


def _layer_of(full_name: str) -> str:
    """Return the name of the layer in the first name of a variable, if it is there."""
    parts = full_name.split("/")[:-1]
    while parts and _MADE.fullmatch(parts[-1]):
        parts.pop()
    return parts[-1] if parts else ""


def _cells_in_lists(nodes: list[Node], used: Collection[int]) -> Iterator[tuple[str, str]]:
    """Yield names and keys of variables that follow one another in a list as those of a cell do.

    Exported models have lists in order and nothing else; an optimizer's has the variables of layers
    that Keras 3 has left out.
    """
    taken, places, seen = set(used), set[str](), set[int]()
    for node in nodes:
        for list_name in _LISTS:
            listed = node.children.get(list_name, -1)
            if not 0 <= listed < len(nodes) or listed in seen:
                continue
            seen.add(listed)
            ordered = sorted(nodes[listed].children.items(), key=_rank)
            numbers = [n for _, n in ordered if 0 <= n < len(nodes) and nodes[n].key]
            names = [nodes[n].full_name.rpartition("/") for n in numbers]
            kinds = tuple(own.partition(":")[0] for _, _, own in names)
            for at in range(len(numbers) - 1):
                count = 3 if kinds[at : at + 3] == _CELL else 2
                found = numbers[at : at + count]
                if kinds[at : at + count] != _CELL[:count] or taken.intersection(found):
                    continue
                taken.update(found)
                place = names[at][0] or f"{list_name}/{at}"
                # In a custom model, every layer may have the same name.
                place = place if place not in places else f"{list_name}/{at}/gru_cell"
                places.add(place)
                for own, number in zip(_CELL, found, strict=False):
                    yield f"{place}/{own}", nodes[number].key

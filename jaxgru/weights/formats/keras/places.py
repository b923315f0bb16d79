"""Which group of Keras 3's weights belongs to which layer of the configuration.

The groups are numbered by class in the order of the layers, and so are not called like them: the
layers ``encoder`` and ``gru_8`` sit in ``gru`` and ``gru_1``.
"""

import collections
import re
from collections.abc import Sequence

from jaxgru.weights.formats.keras.groups import CONTAINERS, Group, class_and_number
from jaxgru.weights.libraries.keras.config import Layer


def inner_groups(group: Group | None, layer: Layer) -> list[Group | None]:
    """Return the group of each layer within a model or wrapper, None where there is none."""
    if group is None:
        return [None] * len(layer.inner)
    if len(layer.inner) == 1 and "layer" in group.inner:
        return [group.inner["layer"]]  # a wrapper, such as TimeDistributed
    return layer_groups(group, layer.inner)


def layer_groups(model: Group, layers: Sequence[Layer]) -> list[Group | None]:
    """Return the group of each layer of a model, None where there is none."""
    for container in CONTAINERS:
        if container in model.inner:
            return _matched(model.inner[container], layers, container == CONTAINERS[0])
    return [None] * len(layers)


def _matched(
    container: Group, layers: Sequence[Layer], is_numbered_by_one: bool
) -> list[Group | None]:
    held: dict[str, list[tuple[int, Group]]] = collections.defaultdict(list)
    for name, group in container.inner.items():
        class_, number = class_and_number(name)
        held[class_].append((number, group))
        if number:  # or a class whose name ends in a number
            held[name].append((0, group))
    wanted: dict[str, list[int]] = collections.defaultdict(list)
    for i, layer in enumerate(layers):
        wanted[_group_class(layer.class_name)].append(i)
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


def _group_class(class_name: str) -> str:
    """Return a class' name as a group has it: ``time_distributed`` for ``TimeDistributed``."""
    # A registered class is called package>Class.
    name = re.sub(r"\W", "", class_name.rpartition(">")[2])
    # A capital begins a word after a small letter, or where a small one follows: GRU, GRUCell.
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])", "_", name).lower()

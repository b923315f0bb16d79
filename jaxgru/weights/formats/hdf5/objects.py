"""All groups and datasets of an HDF5 file, found before anything of it is used."""

import dataclasses

from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.hdf5.blocks import Blocks
from jaxgru.weights.formats.hdf5.datasets import check_size, is_dataset
from jaxgru.weights.formats.hdf5.groups import is_group, members
from jaxgru.weights.formats.hdf5.headers import Message, read_header

_DEEPEST = 32


@dataclasses.dataclass
class Object:
    """A group, a dataset, or what is neither, such as a type with a name."""

    header: list[Message]
    is_group: bool
    is_array: bool
    groups: list[str] = dataclasses.field(default_factory=list)  # names of members
    arrays: list[str] = dataclasses.field(default_factory=list)


def find_objects(blocks: Blocks, root: int) -> dict[str, Object]:
    """Return every object of a file by its path.

    Args:
        blocks: the file.
        root: the address of the root group's header.

    Raises:
        WeightsError: the file is damaged; has a link that is refused; links to an object twice,
            as in a circle; or is too deep.
    """
    objects = {"": _read(blocks, root, "")}
    if not objects[""].is_group:
        raise WeightsError(f"{shown('')} is no group: expected one")
    seen = {root}
    pending = [("", 0)]
    while pending:
        path, depth = pending.pop()
        group = objects[path]
        for name, address in members(blocks, group.header, shown(path)):
            inner = f"{path}/{name}" if path else name
            # Long paths in great number are more than the file itself has.
            blocks.spend(len(inner))
            if inner in objects:
                raise WeightsError(f"{shown(inner)} is there twice: expected it once")
            if address in seen:
                raise WeightsError(
                    f"{shown(inner)} is linked twice, from elsewhere too: expected one way to it"
                )
            seen.add(address)
            objects[inner] = member = _read(blocks, address, inner)
            if member.is_group:
                if depth == _DEEPEST:
                    raise WeightsError(f"{shown(inner)} is more than {_DEEPEST} groups deep")
                group.groups.append(name)
                pending.append((inner, depth + 1))
            elif member.is_array:
                group.arrays.append(name)
    return objects


def shown(path: str) -> str:
    """Return a path for a message: one line, and not too long a one."""
    text = f"/{path}"
    if len(text) > 120:
        text = f"...{text[-120:]}"
    return text if text.isprintable() else ascii(text)


def _read(blocks: Blocks, address: int, path: str) -> Object:
    header = read_header(blocks, address, shown(path))
    is_array = is_dataset(header) and not is_group(header)
    if is_array:
        check_size(blocks, header, shown(path))
    return Object(header, is_group(header), is_array)

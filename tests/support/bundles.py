"""Checkpoints of TensorFlow in parts, and their changes, with sound checksums around them."""

import mutations

from jaxgru._weights.formats.tensorflow.crc32c import masked_crc32c
from jaxgru._weights.formats.tensorflow.table import MAGIC, read_table

GRAPH = b"_CHECKPOINTABLE_OBJECT_GRAPH"


def varint(number):
    """Return a number as protobuf has it."""
    return mutations._varint(number)


def message(*fields):
    """Return a message of fields: a number, and a number or bytes."""
    return b"".join(
        varint(number << 3) + varint(value)
        if isinstance(value, int)
        else varint(number << 3 | 2) + varint(len(value)) + value
        for number, value in fields
    )


def block(content, kind=0):
    """Return a block with its trailer."""
    return content + bytes([kind]) + masked_crc32c(content + bytes([kind])).to_bytes(4, "little")


def records(entries):
    """Return the content of a block of entries, which share nothing."""
    held = b"".join(
        varint(0) + varint(len(key)) + varint(len(value)) + key + value for key, value in entries
    )
    return held + bytes(4) + (1).to_bytes(4, "little")


def table(entries, contents=None, handles=None):
    """Return the table of entries: of one block, whose content may be another."""
    data = records(entries) if contents is None else contents
    whole = block(data)
    meta = varint(len(whole)) + varint(8)
    whole += block(bytes(4) + (1).to_bytes(4, "little"))
    index = records(handles or [(b"\xff", varint(0) + varint(len(data)))])
    footer = meta + varint(len(whole)) + varint(len(index))
    return whole + block(index) + footer.ljust(40, b"\0") + MAGIC


def entries_of(index):
    """Return the entries of an index."""
    return [(key, bytes(value)) for key, value in read_table(index).items()]


def scalar(text):
    """Return a scalar of text as it is in a shard, and the checksum of its entry."""
    length = len(text).to_bytes(4, "little")
    own = masked_crc32c(length).to_bytes(4, "little")
    return varint(len(text)) + own + text, masked_crc32c(length + own + text)


def with_graph(files, graph):
    """Return the files of a checkpoint with another object graph, at the end of the shard."""
    index, shard = (next(name for name in files if end in name) for end in (".index", ".data-"))
    held, checksum = scalar(graph)
    place = [(1, 7), (2, b""), (4, len(files[shard])), (5, len(held))]
    entry = message(*place) + varint(6 << 3 | 5) + checksum.to_bytes(4, "little")
    entries = [(k, entry if k == GRAPH else v) for k, v in entries_of(files[index])]
    return files | {index: table(entries), shard: files[shard] + held}


def graph_of(files):
    """Return the object graph of a checkpoint, None if it has none."""
    index, shard = (next(name for name in files if end in name) for end in (".index", ".data-"))
    held = dict(entries_of(files[index])).get(GRAPH)
    if held is None:
        return None
    fields = {number: payload for number, _, payload in mutations._fields(held)}
    offset, size = (mutations._read_varint(fields.get(n, b"\0"), 0)[0] for n in (4, 5))
    content = files[shard][offset : offset + size]
    length, at = mutations._read_varint(content, 0)
    return content[at + 4 : at + 4 + length]


def changed(rng, files):
    """Return the files with one of them changed, its checksums mostly made sound again."""
    name = rng.choice([*files, next(name for name in files if name.endswith(".index"))])
    content = files[name]
    if rng.random() < 0.3:
        return files | {name: mutations.mutate_bytes(rng, content)}
    if name.endswith(".index"):
        graph = graph_of(files)
        if graph is not None and rng.random() < 0.4:
            return with_graph(files, mutations._within_protobuf(rng, graph))
        entries = entries_of(content)
        place = rng.randrange(len(entries))
        key, value = entries[place]
        way = rng.randrange(8)
        if way == 0:
            return files | {name: table(entries, mutations.mutate_bytes(rng, records(entries)))}
        if way == 1:
            del entries[place]
        elif way == 2:
            entries.insert(place, (mutations.mutate_bytes(rng, key), value))
        elif way == 3:
            entries[place] = key, rng.choice(entries)[1]
        elif way == 4:
            size = len(records(entries))
            one = varint(rng.choice((0, 0, 1, *mutations.NUMBERS))) + varint(size)
            return files | {name: table(entries, None, [(b"a", one)] * rng.choice((1, 2, 1000)))}
        else:
            entries[place] = key, mutations._within_protobuf(rng, value or b"\x08\x01")
        return files | {name: table(entries)}
    if name.endswith(".pb"):
        return files | {name: mutations._within_protobuf(rng, content)}
    return files | {name: mutations.mutate_bytes(rng, content)}


def with_another_latest(rng, files):
    """Return the files with another text ``checkpoint``, mostly one that names a path still."""
    text = files["checkpoint"]
    if rng.random() < 0.5:
        text = mutations.changed(rng, text, rng.choice(sorted(files.values())))
    else:
        quoted = [*mutations.WORDS, *files, "..", "../changed", "/etc/hostname", "a\\x00", "model"]
        path = rng.choice((b"", b"/", b"../", b"C:\\")) + rng.choice(quoted).encode()
        text = text.replace(text.split(b'"')[1], path)
    return files | {"checkpoint": text}

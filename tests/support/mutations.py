"""Changes of weights files: of bytes, and within their containers.

A container is packed again with its lengths and checksums, so that the change reaches the reader
of what is within. All are functions of a random generator and a content.
"""

import ast
import copy
import functools
import io
import json
import pickletools
import re
import struct
import warnings
import zipfile

from jaxgru._weights.formats.hdf5.blocks import lookup3

# Critical sizes and offsets: small ones, a sign, the end of a width.
NUMBERS = sorted(
    {0, 1, 2, 3, 6, 8, 9, 18, 2**64 - 8}
    | {2**power + more for power in (7, 8, 15, 16, 31, 32, 63) for more in (-1, 0, 1)}
)
WORDS = (
    "", "a", "a\nb\x1b[31m", "\u00e9\u202e", "../../etc/passwd", "/", "x" * 3000, "0", "tanh",
    "hard_sigmoid", "float16", "F32", "BF16", "<f8", ">f4", "|O", "<U3", "('<f4', (2,))", "GRU",
    "LSTM", "Bidirectional", "RNN", "Functional", "concat", "layers", "1.2.2", "config.json",
    "wMatrix.npy", "archive/data.pkl", "reverse", "clip", "location", "W", "os", "system", "cuda:0",
    "weight_hh_l0", "bias_ih_l0_reverse",
)  # fmt: skip
VALUES = (
    None, True, False, -1, 0.2, 1e30, float("nan"), float("inf"), -(2**63), *NUMBERS, *WORDS,
    [], {}, [[]], [1, 2, 3], [None], [2**62, 2**62], {"": 0}, {"class_name": "GRU"},
)  # fmt: skip
_CALLS = (
    b"cos\nsystem\n(X\x04\x00\x00\x00truetR",
    b"\x8c\x02os\x8c\x06system\x93(X\x04\x00\x00\x00truet\x81",
    b"ctorch.storage\n_load_from_bytes\n(C\x00tR",
    b"cnumpy\nzeros\n(J\xff\xff\xff\x7ftR",
    b"ccollections\nOrderedDict\n)R",
    b"ctorch._utils\n_rebuild_parameter\n(NN}t}\x92",
    b"cnumpy._core.multiarray\n_reconstruct\n)R(K\x01K\x02\x85N\x89C\x00tb",
)


def changed(rng, content, other):
    """Return the content changed once or a few times, perhaps by a piece of another file."""
    if rng.random() < 0.1:
        content = splice(rng, content, other)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        content = mutate(rng, content)
    return content


def mutate(rng, content):
    """Return the content changed once: three times of four within the container that it is."""
    for beginning, within in _CONTAINERS.items():
        if re.match(beginning, content, re.DOTALL) and rng.random() < 0.75:
            try:
                return within(rng, content)
            except Exception:  # damaged by a change before, or a value that cannot be encoded
                break
    return mutate_bytes(rng, content)


def mutate_bytes(rng, content):
    """Return the content with a bit, byte, number or range changed."""
    if not content:
        return rng.randbytes(rng.randrange(1, 9))
    start, end = _range(rng, len(content))
    piece, place = content[start:end], rng.randrange(len(content))
    width = rng.choice((1, 2, 4, 8))
    number = (rng.choice(NUMBERS) % 2 ** (8 * width)).to_bytes(width, rng.choice(("little", "big")))
    flipped = bytes([content[place] ^ 1 << rng.randrange(8)])
    return rng.choice(
        (
            *[content[:place] + flipped + content[place + 1 :]] * 2,
            *[content[:place] + rng.randbytes(1) + content[place + 1 :]] * 2,
            *[content[:place] + number + content[place + width :]] * 2,
            content[:place],
            content[:start] + content[end:],
            content[:end] + content[start:],
            content[:place] + piece + content[place + len(piece) :],
            content[:place] + rng.randbytes(width) + content[place:],
        )
    )


def splice(rng, content, other):
    """Return the content with a range replaced by a range of another file."""
    (start, end), (first, last) = _range(rng, len(content)), _range(rng, len(other))
    return content[:start] + other[first:last] + content[end:]


def edit(rng, tree):
    """Return nested lists and dictionaries with one change; the argument may be changed too."""
    places = list(_places(tree))
    if not places:
        return copy.deepcopy(rng.choice(VALUES))
    (holder, key), (other, other_key) = rng.choice(places), rng.choice(places)
    value = holder[key]
    way = rng.randrange(7)
    if way == 0:
        del holder[key]
    elif way == 1:
        holder[key] = copy.deepcopy(other[other_key])
    elif way == 2 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(value))
    elif way == 2:
        holder[rng.choice((*WORDS, f"{key}_1"))] = copy.deepcopy(value)
    elif way == 3:
        for _ in range(rng.choice((1, 2, 100))):
            holder[key] = [holder[key]] if rng.random() < 0.5 else {"config": holder[key]}
    elif way == 4 and isinstance(value, (str, bytes)):
        # JSON within a string, an array within an extension, or text.
        changed = mutate(rng, value.encode() if isinstance(value, str) else value)
        holder[key] = changed.decode("utf-8", "replace") if isinstance(value, str) else changed
    elif way == 4 and type(value) in (int, float):
        holder[key] = rng.choice((-value, 2 * value, value + 1, value - 1))
    else:
        holder[key] = copy.deepcopy(rng.choice(VALUES))
    return tree


def _places(tree):
    """Yield every list and dictionary in a tree with each of its keys."""
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        if isinstance(holder, (dict, list)):
            for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
                yield holder, key
                waiting.append(holder[key])


def _range(rng, length):
    """Return a range in a length; short and long ones are equally likely."""
    if not length:
        return 0, 0
    start = rng.randrange(length)
    return start, min(length, start + rng.randrange(1, 2 << rng.randrange(length.bit_length())))


def _within_zip(rng, content):
    """Change an entry's content, or the listing."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    place, other = (rng.randrange(len(entries)) for _ in range(2))
    name, inner = entries[place]
    way = rng.randrange(12)
    if way == 0:
        del entries[place]
    elif way == 1:
        entries.append((rng.choice((*WORDS, name)), inner))
    elif way == 2:
        entries[place] = rng.choice((*WORDS, name + "x", name[1:])), inner
    elif way == 3:
        entries[place], entries[other] = (name, entries[other][1]), (entries[other][0], inner)
    else:
        entries[place] = name, mutate(rng, inner)
    file = io.BytesIO()
    kind = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(file, "w", kind) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a duplicate name
        for name, inner in entries:
            archive.writestr(zipfile.ZipInfo(name), inner, kind)
    return file.getvalue()


def _within_text(rng, text):
    """Change a word, number or sign, after which the text may not be JSON or Python any more."""
    tokens = [match.span() for match in re.finditer(rb"\d+|\"[^\"]*\"|'[^']*'|\w+|\S", text)]
    (start, end), (first, last) = rng.choice(tokens), rng.choice(tokens)
    new = (b"", b"1e400", b"-1", text[first:last], 2 * text[start:end])
    new += (str(rng.choice(NUMBERS)).encode(), repr(rng.choice(WORDS)).encode())
    return text[:start] + rng.choice(new) + text[end:]


def _within_json(rng, text):
    if rng.random() < 0.3:
        return _within_text(rng, text)
    return json.dumps(edit(rng, json.loads(text))).encode("utf-8", "surrogatepass")


def _within_safetensors(rng, content):
    end = 8 + int.from_bytes(content[:8], "little")
    header = _within_json(rng, content[8:end])
    return len(header).to_bytes(8, "little") + header + content[end:]


def _within_npy(rng, content):
    end = 10 + int.from_bytes(content[8:10], "little")
    header = content[10:end]
    if rng.random() < 0.5:
        header = _within_text(rng, header)
    else:
        fields = ast.literal_eval(header.decode())
        fields["shape"] = tuple(
            rng.choice((-1, *NUMBERS)) for _ in range(rng.choice((0, 1, 2, 40)))
        )
        header = repr(fields).encode()
    return content[:8] + len(header).to_bytes(2, "little") + header + content[end:]


def _within_messagepack(rng, content):
    import msgpack

    tree = msgpack.unpackb(content, strict_map_key=False, ext_hook=msgpack.ExtType)
    extensions = [(h, k) for h, k in _places(tree) if isinstance(h[k], msgpack.ExtType)]
    if extensions and rng.random() < 0.6:
        # In Flax, shape, type and bytes of an array are an inner message.
        holder, key = rng.choice(extensions)
        code, data = holder[key]
        code = rng.choice((code, code, code, 0, 2, 3, 127))
        holder[key] = msgpack.ExtType(code, msgpack.packb(edit(rng, msgpack.unpackb(data))))
    else:
        tree = edit(rng, tree)
    return msgpack.packb(tree)


def _within_pickle(rng, content):
    """Change, remove, repeat or add an instruction of the pickles that a file begins with."""
    spans = _instructions(content)
    (start, end), (first, last) = rng.choice(spans), rng.choice(spans)
    old = content[start:end]
    text = rng.choice(WORDS).encode()
    new = (
        b"", 2 * old, rng.choice(_CALLS) + old, content[first:last],
        b"X" + struct.pack("<L", len(text)) + text, b"J" + rng.randbytes(4),
        bytes([rng.choice(b"()]}tRbs0u.NQ\x85\x86\x87\x88\x89\x94\x93")]) + old[1:],
        old[:1] + (rng.choice(NUMBERS) % 256 ** len(old[1:9])).to_bytes(len(old[1:9]), "little"),
    )  # fmt: skip
    return content[:start] + rng.choice(new) + content[end:]


@functools.lru_cache(maxsize=64)
def _instructions(content):
    file, spans, start = io.BytesIO(content), [], 0
    try:
        while True:
            for _ in pickletools.genops(file):
                spans.append((start, file.tell()))
                start = file.tell()
    except Exception:  # no further pickle begins here
        return spans


def _within_protobuf(rng, content, depth=0):
    """Change a field at any depth, with the lengths around it; a message is what can be parsed."""
    fields = _fields(content)
    place = rng.randrange(len(fields))
    number, wire, payload = fields[place]
    new = [(number, wire, payload)]
    way = rng.randrange(6)
    if wire == 2 and depth < 8 and rng.random() < 0.85 and _is_message(payload):
        new = [(number, wire, _within_protobuf(rng, payload, depth + 1))]
    elif way == 0:
        new = []
    elif way == 1:
        new *= rng.choice((2, 3, 20))
    elif way == 2:
        new = [(rng.choice((number + 1, max(number - 1, 1), rng.randrange(1, 24))), wire, payload)]
    elif way == 3:
        new = [(number, *rng.choice(fields)[1:])]
    elif wire == 2:
        word = rng.choice(WORDS).encode()
        new = [(number, wire, rng.choice((word, mutate_bytes(rng, payload))))]
    elif wire == 0:
        new = [(number, wire, _varint(rng.choice((rng.randrange(24), *NUMBERS))))]
    else:
        new = [(number, wire, mutate_bytes(rng, payload)[: len(payload)])]
    changed = [*fields[:place], *new, *fields[place + 1 :]]
    return b"".join(
        _varint(number << 3 | wire) + (_varint(len(payload)) if wire == 2 else b"") + payload
        for number, wire, payload in changed
    )


def _is_message(content):
    try:
        return bool(_fields(content))
    except (IndexError, ValueError):
        return False


def _fields(content):
    """Return number, wire type and payload of every field."""
    fields, place = [], 0
    while place < len(content):
        tag, place = _read_varint(content, place)
        start = place
        if tag & 7 == 0:
            place = _read_varint(content, place)[1]
        elif tag & 7 == 2:
            length, start = _read_varint(content, place)
            place = start + length
        else:
            place += {1: 8, 5: 4}.get(tag & 7, len(content))
        if place > len(content) or not tag >> 3:
            raise ValueError("this is no message")
        fields.append((tag >> 3, tag & 7, content[start:place]))
    return fields


def _varint(number):
    low = bytes([number & 0x7F | 0x80 * (number > 0x7F)])
    return low + _varint(number >> 7) if number > 0x7F else low


def _read_varint(content, place):
    number = shift = 0
    while True:
        number |= (content[place] & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if content[place - 1] < 0x80:
            return number, place


# The signatures of structures that have a checksum at their end.
_STRUCTURES = re.compile(
    rb"\x89HDF\r\n|OHDR|OCHK|BT(?:HD|IN|LF)|F(?:RHP|HIB|AHD|ADB)|EA(?:HD|IB|SB|DB)"
)


def _within_hdf5(rng, content):
    """Change a structure and its checksum, or bytes where structures have none."""
    start = rng.choice([match.start() for match in _STRUCTURES.finditer(content)])
    end = start + _checksum_of(content[start : start + 700])
    signature, rest = content[start : start + 4], content[start + 4 : end]
    body = (signature + mutate_bytes(rng, rest) + content[end:])[: end - start]
    return content[:start] + body + lookup3(body).to_bytes(4, "little") + content[end + 4 :]


@functools.lru_cache(maxsize=256)
def _checksum_of(content):
    """Return the position of the checksum of the structure at the beginning of some content."""
    return next(
        end
        for end in range(10, len(content) - 3)
        if lookup3(content[:end]) == int.from_bytes(content[end : end + 4], "little")
    )


_CONTAINERS = {
    rb"PK\x03\x04": _within_zip,
    rb"\x89HDF\r\n\x1a\n[\x02\x03]": _within_hdf5,
    rb"\x93NUMPY": _within_npy,
    rb"\x80[\x02-\x05]": _within_pickle,
    rb".{6}\0\0\{": _within_safetensors,
    rb"\s*[{\[]": _within_json,
    rb"[\x81-\x8f\xde\xdf]": _within_messagepack,
    rb"[\x08\x0a]": _within_protobuf,
}

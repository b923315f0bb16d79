"""The wire format of protobuf: checks before a library parses a model.

A message is a sequence of fields: a tag, which is ``number << 3 | wire type`` as a varint, and a
value, which is a varint, four bytes, eight bytes, or a length and bytes, for example a message.
"""

from typing import Any

from jaxgru._weights.errors import WeightsError

# A parsed message takes about 150 bytes of memory, and may have two bytes in the file. This limit
# of the number of fields is that of a model with 75,000 nodes. (An array of numbers is one field.)
MOST_FIELDS = 2**20

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5
_IR_VERSION = 1
# All fields of ModelProto in onnx.proto: ir_version and model_version are numbers; text, messages
# and lists of them have a length.
_MODEL = dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), _LENGTH)
_MODEL |= dict.fromkeys((_IR_VERSION, 5), _VARINT)


def begins_model(head: bytes) -> bool:
    """Return whether a file that begins like this is an ONNX model.

    The format has no signature, so each field that begins in the head must be a field of a model,
    including ``ir_version``.
    """
    at, found_version = 0, False
    while at < len(head):
        try:
            number, wire_type, value, at = _next_field(head, at)
        except IndexError:  # cut by the end of the head
            break
        except WeightsError:
            return False
        if _MODEL.get(number) != wire_type:
            return False
        found_version |= number == _IR_VERSION and value > 0
        if wire_type == _LENGTH:
            at += value
    return found_version


def check_fields(content: bytes, descriptor: Any) -> None:
    """Check that a message of a type is complete, and limit the memory for parsing it."""
    nested: dict[str, dict[int, Any]] = {}
    waiting = [(0, len(content), descriptor)]
    count = 0
    while waiting:
        at, end, descriptor = waiting.pop()
        if descriptor.full_name not in nested:
            nested[descriptor.full_name] = {
                field.number: field.message_type
                for field in descriptor.fields
                if field.message_type is not None
            }
        messages = nested[descriptor.full_name]
        while at < end:
            count += 1
            if count > MOST_FIELDS:
                raise WeightsError(f"it has more than {MOST_FIELDS} fields: expected no more")
            try:
                number, wire_type, value, at = _next_field(content, at)
            except IndexError:
                raise _cut_short(descriptor.name) from None
            if wire_type == _LENGTH:
                if number in messages:
                    waiting.append((at, at + value, messages[number]))
                at += value
            if at > end:
                raise _cut_short(descriptor.name)


def _next_field(content: bytes, at: int) -> tuple[int, int, int, int]:
    """Return number, wire type, value or length, and the end of the field or begin of its bytes."""
    tag, at = _varint(content, at)
    number, wire_type = tag >> 3, tag & 7
    if wire_type in (_VARINT, _LENGTH) and number:
        value, at = _varint(content, at)
        return number, wire_type, value, at
    if wire_type in (_EIGHT_BYTES, _FOUR_BYTES) and number:
        return number, wire_type, 0, at + (8 if wire_type == _EIGHT_BYTES else 4)
    raise WeightsError(
        f"it has a field {number} of wire type {wire_type}: expected an ONNX model, which has none"
    )


def _varint(content: bytes, at: int) -> tuple[int, int]:
    if content[at] < 0x80:  # most have one byte
        return content[at], at + 1
    value = shift = 0
    while True:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise WeightsError("a number in it has more than 64 bits: expected an ONNX model")


def _cut_short(message: str) -> WeightsError:
    return WeightsError(f"a {message} in it is damaged or cut short: expected an ONNX model")

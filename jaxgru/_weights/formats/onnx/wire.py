"""Checks of an ONNX model's messages before a library parses them."""

from typing import Any

from jaxgru._weights.errors import WeightsError
from jaxgru._weights.formats.protobuf import FIXED, LENGTH, VARINT, next_field

# A parsed message takes about 150 bytes of memory, and may have two bytes in the file. This limit
# of the number of fields is that of a model with 75,000 nodes. (An array of numbers is one field.)
MOST_FIELDS = 2**20

_IR_VERSION = 1
# All fields of ModelProto in onnx.proto: ir_version and model_version are numbers; text, messages
# and lists of them have a length.
_MODEL = dict.fromkeys((2, 3, 4, 6, 7, 8, 14, 20, 25, 26), LENGTH)
_MODEL |= dict.fromkeys((_IR_VERSION, 5), VARINT)


def begins_model(head: bytes) -> bool:
    """Return whether a file that begins like this is an ONNX model.

    The format has no signature, so each field that begins in the head must be a field of a model,
    including ``ir_version``.
    """
    at, found_version = 0, False
    while at < len(head):
        try:
            number, wire_type, value, at = next_field(head, at)
        except IndexError:  # cut by the end of the head
            break
        except WeightsError:
            return False
        if _MODEL.get(number) != wire_type:
            return False
        found_version |= number == _IR_VERSION and value > 0
        at += value if wire_type == LENGTH else FIXED.get(wire_type, 0)
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
                number, wire_type, value, at = next_field(content, at)
            except IndexError:
                raise _cut_short(descriptor.name) from None
            if wire_type == LENGTH:
                if number in messages:
                    waiting.append((at, at + value, messages[number]))
                at += value
            at += FIXED.get(wire_type, 0)
            if at > end:
                raise _cut_short(descriptor.name)


def _cut_short(message: str) -> WeightsError:
    return WeightsError(f"a {message} in it is damaged or cut short: expected an ONNX model")

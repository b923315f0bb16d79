"""Files of ``torch.save`` (.pt, .pth, .tar and other names) and pickles, read without PyTorch."""

import re

from jaxgru.weights.contract import Look, Source
from jaxgru.weights.errors import WeightsError
from jaxgru.weights.formats.torch import archive, stream
from jaxgru.weights.formats.zip import MAGIC
from jaxgru.weights.results import Gathered

# How a pickle begins: a protocol, and a frame, a container or a name. And not with what may look
# so, the length that begins a safetensors file, which goes on with a brace.
_PICKLE = re.compile(rb"\x80[\x02-\x05][\x95}\](c\x8a](?!.{5}\{)", re.DOTALL)


def recognises(look: Look) -> bool:
    """Return whether a file is of torch.save, or so like one that the reader can name it."""
    if look.head.startswith(MAGIC):
        # A damaged archive has no directory: its first entry is the pickle.
        if look.entries is None:
            return b"/" + archive.PICKLE.encode() in look.head
        return bool(archive.folders_of(look.entries))
    return _PICKLE.match(look.head) is not None or _is_tar(look.head)


def read(source: Source) -> Gathered:
    """Return every GRU in a file, see ``Format.read``."""
    head = source.file.read(512)
    source.file.seek(0)
    if head.startswith(MAGIC):
        return archive.read(source)
    if _is_tar(head):
        raise WeightsError(
            "it is a tar archive: expected a file of torch.save, which may be called .tar and is "
            "none; if one is in it, unpack it first"
        )
    return stream.read(source)


def _is_tar(head: bytes) -> bool:
    return head[257:262] == b"ustar"

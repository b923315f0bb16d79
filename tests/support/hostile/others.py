"""Files of no format."""

import io
import tarfile

from hostile.cases import refused


@refused("empty")
def nothing(folder):
    """No byte at all."""
    return b""


@refused("it begins with")
def zeros(folder):
    """Zeros, 16 MiB of them."""
    return bytes(16 * 2**20)


@refused(r"it begins with .*\\x1b\[2J\\n")
def escapes(folder):
    """A beginning, which a message may show, that is a terminal's escapes and lines' ends."""
    return b"\x1b[2J\n\r\x07" * 100


@refused("it begins with")
def program(folder):
    """A program of the shell."""
    return b"#!/bin/sh\ntouch canary\n"


@refused("expected|tar")
def tar_out_of_the_folder(folder):
    """A tar archive, as some checkpoints are named, whose entry leads out of any folder."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as target:
        entry = tarfile.TarInfo(f"../../../..{folder}/canary")
        target.addfile(entry)
    return content.getvalue()


@refused("it is no JSON")
def json_nested_deeply(folder):
    """JSON, 100,000 deep."""
    return b'{"a":' * 100_000 + b"1" + b"}" * 100_000


@refused("it is no JSON|nested over 32 levels|no GRU")
def json_of_small_lists(folder):
    """JSON of 300,000 empty lists, each of 56 bytes in Python, in a list that is an array."""
    return b'{"a":[' + b"[]," * 300_000 + b"[]]}"


@refused("index")
def index_of_files_elsewhere(folder):
    """An index with weights in any file of the disk."""
    return b'{"metadata": {}, "weight_map": {"gru.weight_ih_l0": "/etc/passwd"}}'

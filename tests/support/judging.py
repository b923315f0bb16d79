"""What a read of a weights file may do: return nets that fit together, or raise one clean error."""

import contextlib
import os
import resource
import signal
import sys
import warnings
from pathlib import Path

import jax
import numpy as np

import jaxgru
from jaxgru._net import check_net
from jaxgru._weights.limits import EXPANSION, SMALL
from jaxgru._weights.reading import opened, read_all
from jaxgru._weights.results import LoadedGRU

CPU_SECONDS = 5
# A message may quote a name or a header, but must be readable.
LONGEST_MESSAGE = 1000
# Starting programs, loading code, the network, and changes to the file system.
_FORBIDDEN = (
    "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "pickle.",
    "socket.", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink",
    "os.chmod", "shutil.", "os.putenv", "os.chdir", "code.__new__", "cpython.run_",
)  # fmt: skip


class Forbidden(BaseException):
    """Something that no read may do; not an ``Exception``, so that no handler catches it."""


def check_read(path, read=lambda path: read_all(path).gathered):
    """Read a file, and return whether a net was loaded.

    Raises:
        AssertionError: what the read returned, or the message of its WeightsError, is not clean.
        Forbidden: it did what a read may not do, or took too long.
        Exception: any other that the read raised, warnings among them.
    """
    try:
        with warnings.catch_warnings(), _watched(str(path)):
            warnings.simplefilter("error")
            gathered = read(path)
    except jaxgru.WeightsError as error:
        _check_refusal(error, str(path))
        return False
    assert isinstance(gathered, dict), f"a reader gave a {type(gathered).__name__}"
    assert gathered, "nothing was loaded and nothing refused"
    for name, found in gathered.items():
        assert isinstance(name, str), f"a name is {name!r}"
        if isinstance(found, jaxgru.WeightsError):
            _check_refusal(found)
        else:
            _check_found(found)
    return any(isinstance(found, LoadedGRU) for found in gathered.values())


def check_whole(path):
    """Read every array of a file, and its whole model, and return how many arrays were read.

    Raises as ``check_read`` does.
    """
    with warnings.catch_warnings(), _watched(str(path)):
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", jaxgru.WeightsWarning)  # of names that are classes
        try:
            arrays = jaxgru.load_arrays(path)
        except jaxgru.WeightsError as error:
            _check_refusal(error, str(path))
            return 0
        read = sum(_read(path, arrays, name) for name in arrays)
        try:
            with opened(path) as (_, stored):
                if stored.model is not None:
                    found = stored.model(stored.arrays, {})
                    leaves = jax.tree.leaves(found.net)
                    assert all(isinstance(leaf, np.ndarray) for leaf in leaves)
        except jaxgru.WeightsError as error:
            _check_refusal(error, str(path))
        return read


def _read(path, arrays, name):
    try:
        array = arrays[name]
    except jaxgru.WeightsError as error:
        _check_refusal(error, str(path))
        return False
    assert (array.shape, array.dtype.name) == (arrays.shape(name), arrays.dtype(name)), name
    return True


def _check_refusal(error, path=""):
    assert str(error).startswith(path), f"a message without the path: {error}"
    _check_message(str(error).removeprefix(path))
    while error is not None:
        # An allocation has failed, whatever the reader then raised.
        if isinstance(error, MemoryError):
            raise error
        error = error.__cause__ or error.__context__


def _check_found(found):
    assert isinstance(found, LoadedGRU), f"a GRU is a {type(found).__name__}"
    check_net(found.net)
    arrays = jax.tree.leaves(found.net)
    assert all(isinstance(array, np.ndarray) for array in arrays), "a net is not of NumPy arrays"
    for note in found.notes:
        _check_message(note)


def _check_message(message):
    assert message.strip(": "), "a message is empty"
    assert message.isprintable(), f"a message is not one line of printable characters: {message!r}"
    assert len(message) <= LONGEST_MESSAGE, f"a message has {len(message)} characters"


@contextlib.contextmanager
def _watched(path):
    """Forbid everything except the actions for reading one file, in a time and memory of its own.

    A larger allocation fails with a MemoryError.
    """
    global _path
    ending = signal.signal(signal.SIGPROF, _end)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    before = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = os.path.getsize(path) if os.path.exists(path) else 0
        # As much again for the memory of libraries, and a copy of arrays in another order of gates.
        allowed = pages * resource.getpagesize() + max(SMALL, EXPANSION * size) + SMALL
        resource.setrlimit(resource.RLIMIT_AS, (allowed, before[1]))
    _path = path
    try:
        yield
    finally:
        _path = None
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, ending)
        resource.setrlimit(resource.RLIMIT_AS, before)


def _end(*_):
    raise Forbidden(f"it took more than {CPU_SECONDS} s of processor time")


_path = None
_LIBRARIES = tuple(
    f"{Path(place).resolve()}{os.sep}" for place in (*sys.path, sys.prefix, sys.base_prefix)
)


def _hear(event, arguments):
    global _path
    if _path is None:
        return
    forbidden = event.startswith(_FORBIDDEN)
    if event == "open":
        path, _, flags = arguments
        # A file descriptor comes from an allowed open.
        # The files of a folder are beside one another.
        may = isinstance(path, int) or str(path) == _path or str(path).startswith(f"{_path}/")
        may = may or os.path.abspath(os.fsdecode(path)).startswith(_LIBRARIES)
        forbidden = not may or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    elif event == "exec":
        # Modules are run under the name of their file; text from a weights file has no name.
        forbidden = arguments[0].co_filename == "<string>"
    if forbidden:
        _path = None  # allows actions for reporting it
        raise Forbidden(f"{event} with {arguments!r}"[:300])


sys.addaudithook(_hear)  # one for the process: it cannot be removed

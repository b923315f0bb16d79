"""Every hostile file is one clean error, or does nothing, and takes no more memory than it may.

The files are in ``hostile``, one function each.
"""

import re
import signal
import tracemalloc
import warnings

import pytest
from hostile import CASES
from hostile.cases import CANARY

import jaxgru
from jaxgru.weights.limits import EXPANSION, SMALL

# The reader's own cap is max(SMALL, EXPANSION * size) for what it reads; the other half is for a
# copy of it, as where gates are put in another order.
COPIES = 2
# A hang fails the test here instead of stopping the suite; an honest read takes milliseconds.
HANG_SECONDS = 60


@pytest.fixture
def _no_hang():
    def stop(signal_number, frame):
        raise TimeoutError(f"the read has not ended within {HANG_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANG_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# What takes a reader to its limit of instructions or objects.
SLOW = {"pickles.checkpoints_within_doubled", "msgpack.lists_of_lists"}
NAMES = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in CASES]


@pytest.mark.usefixtures("_no_hang")
@pytest.mark.parametrize("name", NAMES)
def test_hostile_file(name, tmp_path):
    case = CASES[name]
    for library in case.needs:
        pytest.importorskip(library)
    folder = tmp_path / "folder"
    folder.mkdir()
    path = folder / "weights"
    path.write_bytes(case.build(folder))

    error, taken = _read(path)

    assert taken < COPIES * max(SMALL, EXPANSION * path.stat().st_size)
    assert not list(tmp_path.rglob(CANARY)), "something in the file was run or extracted"
    if case.refusal is None:
        assert error is None
        return
    assert isinstance(error, jaxgru.WeightsError)
    message = str(error).removeprefix(f"{path}: ")
    assert message != str(error), "a message begins with the path"
    assert message.isprintable(), "a message is one line without control characters"
    assert len(message) < 600, "a message is to be read"
    assert re.search(case.refusal, message)


def test_every_hostile_file_says_what_it_attacks():
    for name, case in CASES.items():
        assert case.build.__doc__, name
    assert len({case.build.__doc__ for case in CASES.values()}) > len(CASES) - 10


def _read(path):
    """Return the error that a read ends in, or None, and how much memory it took at most."""
    error = None
    tracemalloc.start()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jaxgru.WeightsWarning)  # of what files leave unsaid
            jaxgru.load_all(path, external_data=True)
    except jaxgru.WeightsError as raised:
        error = raised
    finally:
        taken = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return error, taken

"""The outcome of reading a file, and whether it is allowed."""

import dataclasses
import re
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np

import jaxgru
from fuzz import guard
from jaxgru._net import check_net
from jaxgru._weights.reading import read_all
from jaxgru._weights.results import Found

LOADED, REFUSED, FAILED = "loaded", "refused", "failed"
# A message may quote a name or a header, but must be readable.
LONGEST_MESSAGE = 1000

Reader = Callable[[Path], Any]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of reading one file."""

    kind: str  # LOADED, REFUSED or FAILED
    reason: str = ""  # of a refusal or failure, the same for all of one cause
    detail: str = ""  # of a failure: the traceback or message


def read_file(path: Path) -> Any:
    """Return all GRUs in a file by name: the reader under test."""
    return read_all(path).gathered


def judge(path: Path, read: Reader = read_file) -> Verdict:
    """Read a file and return the outcome."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            gathered = read(path)
    except jaxgru.WeightsError as error:
        return _judge_refusal(error, str(path))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        return _failure(error)
    return _judge_nets(gathered)


def _judge_nets(gathered: Any) -> Verdict:
    """Judge the result of a reader: valid nets, and refusals of some."""
    if not isinstance(gathered, dict):
        return Verdict(FAILED, f"a reader gave a {type(gathered).__name__}")
    verdict = Verdict(FAILED, "nothing was loaded and nothing refused")
    for name, found in gathered.items():
        if not isinstance(name, str):
            return Verdict(FAILED, f"a name is a {type(name).__name__}")
        if isinstance(found, jaxgru.WeightsError):
            refusal = _judge_refusal(found)
            if refusal.kind == FAILED:
                return refusal
            verdict = verdict if verdict.kind == LOADED else refusal
            continue
        wrong = _wrong_with(found)
        if wrong:
            return Verdict(FAILED, wrong)
        verdict = Verdict(LOADED)
    return verdict


def _wrong_with(found: Any) -> str | None:
    if not isinstance(found, Found):
        return f"a GRU is a {type(found).__name__}"
    try:
        check_net(found.net)
    except ValueError as error:
        return f"a net was given that does not fit together: {_cause(str(error))}"
    if not all(isinstance(array, np.ndarray) for array in jax.tree.leaves(found.net)):
        return "a net was given that is not of NumPy arrays"
    notes = [note for note in found.notes if _wrong_with_message(note)]
    return _wrong_with_message(notes[0]) if notes else None


def _judge_refusal(error: BaseException, path: str = "") -> Verdict:
    message = str(error)
    if not message.startswith(path):
        return Verdict(FAILED, "a message does not begin with the path", message)
    message = message.removeprefix(path)
    wrong = _wrong_with_message(message)
    if wrong:
        return Verdict(FAILED, wrong, repr(message[: 2 * LONGEST_MESSAGE]))
    # An allocation has failed, whatever the reader then returned.
    for cause in _chain(error):
        if isinstance(cause, MemoryError):
            return _failure(cause)
    return Verdict(REFUSED, _cause(message))


def _wrong_with_message(message: str) -> str | None:
    if not message.strip(": "):
        return "a message is empty"
    if not message.isprintable():
        return "a message is not one line of printable characters"
    if len(message) > LONGEST_MESSAGE:
        return f"a message is longer than {LONGEST_MESSAGE} characters"
    return None


def _failure(error: BaseException) -> Verdict:
    # The last frame is that of the audit hook.
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != guard.__file__
    ]
    place = f"{Path(frames[-1].filename).name}:{frames[-1].name}" if frames else "nowhere"
    detail = "".join(traceback.format_exception(error))
    return Verdict(FAILED, f"{type(error).__name__} in {place}: {_cause(str(error))}", detail)


def _chain(error: BaseException) -> list[BaseException]:
    """Return an exception with its causes and contexts."""
    chain = [error]
    while True:
        cause = chain[-1].__cause__ or chain[-1].__context__
        if cause is None or cause in chain:
            return chain
        chain.append(cause)


def _cause(message: str) -> str:
    """Return a message without the parts that depend on the file: quoted names and numbers."""
    without_names = re.sub(r"'[^']*'|\"[^\"]*\"|b'.*'", "'...'", message.strip(": "))
    return re.sub(r"-?\d[\d.e+]*", "N", re.sub(r"\([^()]*\)", "(...)", without_names))[:150]

"""The compiled loops: the library in the installation, or the reason why it is not available.

``import jaxgru`` loads it and registers its handlers with JAX, so that saved compiled programs load
in a new process. This starts no backend: JAX keeps the handlers until one starts.
"""

import ctypes
import functools
import importlib.machinery
import importlib.util
import os
import pathlib
import re
import warnings
from typing import Any, NamedTuple

import jax

_HERE = pathlib.Path(__file__).parent
_HANDLERS = ("jaxgru_forward", "jaxgru_linear", "jaxgru_pullback")
_CALLS = 2  # the version of what native.py gives them


class Native(NamedTuple):
    """The loops' instruction set and threads, or the reason why they are not available."""

    instruction_set: str | None
    threads: int
    reason: str | None

    def __str__(self) -> str:
        """Return a description in one line."""
        if self.reason is not None:
            return f"scans ({self.reason})"
        return f"native loops, {self.instruction_set}, threads: {self.threads}"


@functools.cache
def native() -> Native:
    """Return the state of the library; the first call loads it and registers its handlers."""
    if _setting("JAXGRU_IMPLEMENTATION", "auto or scan", ("auto", "scan")) == "scan":
        return Native(None, 0, "JAXGRU_IMPLEMENTATION is scan")
    path = _HERE / "loops.so"
    if not path.exists():
        return Native(None, 0, _reason_of_build())
    try:
        library = ctypes.CDLL(str(path))
    except OSError as error:
        return Native(None, 0, f"the library of the loops does not load: {error}")
    if not hasattr(library, "jaxgru_calls") or library.jaxgru_calls() != _CALLS:
        return Native(None, 0, f"{path.name} is of another version: python native/build.py")
    reason = _reason_of_version(library)
    if reason is not None:
        return Native(None, 0, reason)
    sets = _text(library, "jaxgru_instruction_sets")
    if not sets:
        return Native(None, 0, "the processor has none of the instruction sets of the loops")
    expected = f"one of {', '.join(sets.split(','))}, which this installation and processor have"
    _setting("JAXGRU_NATIVE_ISA", expected, sets.split(","))
    _setting("JAXGRU_NUM_THREADS", "a positive integer", None)
    for name in _HANDLERS:
        handler = jax.ffi.pycapsule(getattr(library, name))  # type: ignore[no-untyped-call]
        jax.ffi.register_ffi_target(name, handler, platform="cpu")
    return Native(_text(library, "jaxgru_instruction_set"), library.jaxgru_threads(), None)


@functools.cache
def stream_type() -> tuple[Any, str | None]:
    """Return the type of the library's streams, or None and the reason why it is not available."""
    found = native()
    if found.reason is not None:
        return None, found.reason
    loader = importlib.machinery.ExtensionFileLoader("loops", str(_HERE / "loops.so"))
    spec = importlib.util.spec_from_file_location(loader.name, loader.path, loader=loader)
    assert spec is not None
    try:
        module = importlib.util.module_from_spec(spec)
    except ImportError:  # it lacks the function that creates the module
        return None, "the library was built without Python's headers, or for another version"
    loader.exec_module(module)
    return module.Stream, None


def _reason_of_build() -> str:
    try:
        return (_HERE / "loops.txt").read_text().strip()
    except FileNotFoundError:
        return "this checkout has not been built: python native/build.py"


def _reason_of_version(library: ctypes.CDLL) -> str | None:
    """Return the reason why JAX would reject the handlers, or None.

    Otherwise JAX would detect this when its CPU backend starts, and start no backend.
    """
    own = library.jaxgru_ffi_major(), library.jaxgru_ffi_minor()
    header = pathlib.Path(jax.ffi.include_dir(), "xla/ffi/api/c_api.h")
    try:
        defined = dict(re.findall(r"#define XLA_FFI_API_(MAJOR|MINOR) (\d+)", header.read_text()))
        theirs = int(defined["MAJOR"]), int(defined["MINOR"])
    except (OSError, KeyError):
        return f"the version of JAX's interface for custom calls is missing in {header}"
    if theirs[0] != own[0] or theirs < own:
        return (
            f"JAX's interface for custom calls has version {theirs[0]}.{theirs[1]}: expected "
            f"{own[0]}.{own[1]} or a later {own[0]}"
        )
    return None


def _setting(name: str, expected: str, values: Any) -> str | None:
    """Return the value of an environment variable; None if it is absent, empty or wrong."""
    value = os.environ.get(name)
    if not value:
        return None
    fits = re.fullmatch("0*[1-9][0-9]{0,8}", value) if values is None else value in values
    if fits:
        return value
    warnings.warn(
        f"{name} is {value!r}: expected {expected}; it is ignored", RuntimeWarning, stacklevel=3
    )
    return None


def _text(library: ctypes.CDLL, name: str) -> str:
    function = library[name]
    function.restype = ctypes.c_char_p
    text: bytes = function()
    return text.decode()

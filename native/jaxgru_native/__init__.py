"""The loops of jaxgru as compiled code for CPUs; jaxgru uses them where they are installed."""

import ctypes
import pathlib

__all__ = ["HANDLERS", "__version__", "instruction_set", "library", "threads"]
__version__ = "0.1.0"

# The names of the handlers of XLA's foreign function interface in the library.
HANDLERS = ("jaxgru_forward", "jaxgru_linear")


def library() -> ctypes.CDLL:
    """Return the compiled library."""
    return ctypes.CDLL(str(pathlib.Path(__file__).with_name("jaxgru_native.so")))


def instruction_set() -> str:
    """Return the instruction set of the loops: ``avx512``, ``avx2`` or ``portable``.

    The environment variable ``JAXGRU_NATIVE_ISA`` chooses another, if the machine has it.
    """
    name = library().jaxgru_instruction_set
    name.restype = ctypes.c_char_p
    return name().decode()


def threads() -> int:
    """Return how many threads a loop may use.

    As many as the process has cores, or fewer by the environment variable ``JAXGRU_NUM_THREADS``.
    """
    return library().jaxgru_threads()

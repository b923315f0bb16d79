"""The limits of a read, and their enforcement in the worker."""

import dataclasses
import os
import resource
import signal
import time

from jaxgru._weights.limits import EXPANSION, SMALL

# Of one mutation and its read: processor time, because other programs may be running, and a longer
# limit of wall time, for a read that waits forever.
CPU_SECONDS = 5
CLOCK_SECONDS = 60
# In addition to the limit for arrays: the memory of the libraries, and a copy of the arrays in
# another order of gates.
OVERHEAD = SMALL


@dataclasses.dataclass(frozen=True)
class Usage:
    """The resources used by a process."""

    cpu_seconds: float
    peak_bytes: int  # of memory in use at once

    def since(self, before: "Usage") -> "Usage":
        """Return the difference from an earlier Usage."""
        return Usage(self.cpu_seconds - before.cpu_seconds, self.peak_bytes - before.peak_bytes)


def used() -> Usage:
    """Return the resources used by this process."""
    # Not ru_maxrss, which starts at the value of the parent process.
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(line for line in file if line.startswith("VmHWM:"))
    return Usage(time.process_time(), 1024 * int(peak.split()[1]))


def allowed_bytes(file_size: int) -> int:
    """Return the memory limit for reading a file, beyond the memory of the process before."""
    return max(SMALL, EXPANSION * file_size) + OVERHEAD


def limit_memory(largest_file: int) -> None:
    """Limit the memory of this process to that for reading the largest file.

    A larger allocation fails with a MemoryError.
    """
    limit = _address_space() + allowed_bytes(largest_file)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def start_watch() -> None:
    """End this process by a signal unless ``start_watch`` or ``stop_watch`` is called in time."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF
    signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)  # SIGALRM


def stop_watch() -> None:
    """End the time limit of this process."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def end_of(exit_code: int) -> str:
    """Return a description of how a process ended."""
    if exit_code == -signal.SIGPROF:
        return f"it took more than {CPU_SECONDS} s of processor time"
    if exit_code == -signal.SIGALRM:
        return f"it took more than {CLOCK_SECONDS} s"
    if exit_code < 0:
        return f"the process crashed by {signal.Signals(-exit_code).name}"
    return f"the process ended with exit code {exit_code}"


def _address_space() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")

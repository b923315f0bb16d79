"""What a read may take, and how the worker is held to it."""

import dataclasses
import os
import resource
import signal
import time

from jaxgru.weights.limits import EXPANSION, SMALL

# Of one mutation and its read. Processor time, as other programs may be running; the longer limit
# is on the clock, for what waits for ever.
CPU_SECONDS = 5
CLOCK_SECONDS = 60
# Beside the cap of what is read: what the libraries take for themselves, and a copy of the arrays
# in another order of their gates.
OVERHEAD = SMALL


@dataclasses.dataclass(frozen=True)
class Usage:
    """What a process has taken so far."""

    cpu_seconds: float
    peak_bytes: int  # of memory in use at once

    def since(self, before: "Usage") -> "Usage":
        """Return what was taken beyond an earlier Usage."""
        return Usage(self.cpu_seconds - before.cpu_seconds, self.peak_bytes - before.peak_bytes)


def used() -> Usage:
    """Return what this process has taken so far."""
    # Not ru_maxrss, which begins with what the process that started this one had.
    with open("/proc/self/status", encoding="ascii") as file:
        peak = next(line for line in file if line.startswith("VmHWM:"))
    return Usage(time.process_time(), 1024 * int(peak.split()[1]))


def allowed_bytes(file_size: int) -> int:
    """Return how much memory the read of a file may take beyond what the process had before."""
    return max(SMALL, EXPANSION * file_size) + OVERHEAD


def limit_memory(largest_file: int) -> None:
    """Let this process have no more memory than the read of its largest file may take.

    A request beyond is refused by the system, which Python raises as a MemoryError.
    """
    limit = _address_space() + allowed_bytes(largest_file)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def start_watch() -> None:
    """End this process by a signal unless ``start_watch`` or ``stop_watch`` is called in time."""
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # SIGPROF
    signal.setitimer(signal.ITIMER_REAL, CLOCK_SECONDS)  # SIGALRM


def stop_watch() -> None:
    """Let this process take as long as it wants."""
    signal.setitimer(signal.ITIMER_PROF, 0)
    signal.setitimer(signal.ITIMER_REAL, 0)


def end_of(exit_code: int) -> str:
    """Return in words how a process ended."""
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

"""Python in a process of its own, with warnings as errors."""

import os
import subprocess
import sys

# Simulated ones; XLA is told before it starts.
EIGHT_DEVICES = {
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
}


def python(*arguments, **environment):
    """Return what a fresh interpreter prints that is given these arguments, and must succeed."""
    done = subprocess.run(
        [sys.executable, "-W", "error", *map(str, arguments)],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

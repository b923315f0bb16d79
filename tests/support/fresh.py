"""Python in a process of its own, with warnings as errors."""

import os
import subprocess
import sys


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

"""Batches shared out among devices: eight simulated ones, in a process of their own.

XLA is told how many devices to simulate before it starts, so this cannot happen in the process of
the other tests.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

_SUPPORT = Path(__file__).with_name("support")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "check"),
    [
        ("sharded.py", "values"),
        ("sharded.py", "gradients"),
        ("sharded.py", "hidden"),
        ("meshes.py", "explicit"),
        ("meshes.py", "shard_map"),
        ("meshes.py", "two axes"),
    ],
)
def test_eight_devices(script, check):
    flags = "--xla_force_host_platform_device_count=8"
    done = subprocess.run(
        [sys.executable, "-W", "error", _SUPPORT / script, check],
        env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "passed"

"""Batches shared out among devices: eight simulated ones, in a process of their own.

XLA is told how many devices to simulate before it starts, so this cannot happen in the process of
the other tests.
"""

from pathlib import Path

import fresh
import pytest

_SCRIPT = Path(__file__).with_name("support") / "sharded.py"


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["values gradients hidden", "explicit shard_map two_axes"])
def test_eight_devices(checks):
    flags = "--xla_force_host_platform_device_count=8"
    printed = fresh.python(_SCRIPT, *checks.split(), XLA_FLAGS=flags, JAX_PLATFORMS="cpu")
    assert printed == "".join(f"{check} passed\n" for check in checks.split())

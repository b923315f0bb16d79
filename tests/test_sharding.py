"""Batches shared out among devices: eight simulated ones, in a process of their own."""

from pathlib import Path

import fresh
import pytest

_SCRIPT = Path(__file__).with_name("support") / "sharded.py"


@pytest.mark.slow
@pytest.mark.parametrize("checks", ["values gradients hidden", "explicit shard_map two_axes"])
def test_eight_devices(checks):
    printed = fresh.python(_SCRIPT, *checks.split(), JAX_PLATFORMS="cpu", **fresh.EIGHT_DEVICES)
    assert printed == "".join(f"{check} passed\n" for check in checks.split())

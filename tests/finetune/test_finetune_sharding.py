"""Devices and processes that share the batches end where one device does, within rounding."""

import os
import random
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

pytest.importorskip("optax")
pytest.importorskip("orbax.checkpoint")

import finetune_run
import finetuning

import jaxgru.finetune as ft

EPOCHS = 10  # of two windows each
# Sums of a batch are split up, and Adam's quotients carry the rounding on: float32 weights near 1
# over some twenty steps, of at most 0.01 each.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The weights that one device gives."""
    folder = tmp_path_factory.mktemp("alone")
    finetune_run.run(folder, EPOCHS, None)
    return np.load(folder / "weights.npy")


@pytest.mark.slow
def test_eight_devices_end_where_one_does(alone, tmp_path):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    _wait(_start(tmp_path, 1, 0, _free_port(), **flags))
    np.testing.assert_allclose(np.load(tmp_path / "weights.npy"), alone, **ROUNDING)


@pytest.mark.slow
def test_two_processes_end_where_one_does_though_one_of_them_is_killed(alone, tmp_path):
    seed = int(time.time())
    chance = random.Random(seed)
    processes = _start_both(tmp_path)
    history = tmp_path / "history.jsonl"
    while not history.exists() or history.read_text().count("\n") < 2:
        assert all(process.poll() is None for process in processes), "ended before it was killed"
        time.sleep(0.002)
    time.sleep(chance.uniform(0, 0.1))
    chance.choice(processes).kill()
    # JAX ends the other after some time without a sign of life; whoever watches ends it at once.
    for process in processes:
        process.kill()
        process.communicate()
    for process in _start_both(tmp_path):
        _wait(process)
    np.testing.assert_allclose(
        np.load(tmp_path / "weights.npy"), alone, err_msg=f"seed {seed}", **ROUNDING
    )
    steps = [row["step"] for row in ft.read_history(history)]
    assert steps == list(range(1, 2 * EPOCHS + 1)), f"seed {seed}"


def test_batch_is_a_multiple_of_the_devices():
    mesh = ft.data_mesh(jax.devices()[:1] * 3)
    with pytest.raises(ValueError, match="batch_size is 4: expected a multiple of 3, the devices"):
        finetuning.tune(finetuning.small_model(), finetuning.small_data(), ft.Steps(1), mesh=mesh)


def _start_both(folder):
    port = _free_port()
    return [_start(folder, 2, process, port) for process in range(2)]


def _start(folder, *distributed, **environment):
    arguments = [str(argument) for argument in (folder, EPOCHS, *distributed)]
    return subprocess.Popen(
        [sys.executable, "-W", "error", finetune_run.__file__, *arguments],
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def _wait(process):
    output, _ = process.communicate()
    assert process.returncode == 0, output


def _free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]

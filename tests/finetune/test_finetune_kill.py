"""Killed runs, and runs on several devices and processes, end with the same weights.

The oracle is an uninterrupted run on one device: bit-for-bit identical for a resumed run, within
rounding where sums are distributed.
"""

import os
import random
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

pytest.importorskip("optax")
pytest.importorskip("orbax.checkpoint")

import finetune_run
import fresh

import jaxgru.finetune as ft

EPOCHS = 10  # of two windows each, and a round is a window
# Sums of a batch are split up, and Adam's quotients carry the rounding on: float32 weights near 1
# over some twenty steps, of at most 0.01 each.
ROUNDING = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """The folder of an uninterrupted run on one device."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    _wait(_start(folder))
    return folder


@pytest.fixture
def chance():
    """Random moments; the seed is printed if the test fails."""
    seed = int(time.time())
    print("seed", seed)
    return random.Random(seed)


@pytest.mark.slow
def test_a_killed_run_resumes_to_identical_weights(uninterrupted, tmp_path, chance):
    kills = 0
    while kills < 3:
        process = _start(tmp_path)
        # Not before a new line of the history, so that every start makes progress.
        before = _rounds(tmp_path)
        while process.poll() is None and _rounds(tmp_path) <= before + 1:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        if process.poll() is not None:
            break  # a fast machine: it was done before it could be killed
        process.send_signal(signal.SIGKILL)
        process.communicate()
        kills += 1
    assert kills, "the run was never killed"
    _wait(_start(tmp_path))
    assert _weights(tmp_path).tobytes() == _weights(uninterrupted).tobytes()
    # The history has every round once; only the seconds differ.
    rows, expected = (
        [row | {"seconds": 0} for row in ft.read_history(folder / "history.jsonl")]
        for folder in (tmp_path, uninterrupted)
    )
    assert rows == expected
    assert len(rows) == 2 * EPOCHS


@pytest.mark.slow
def test_eight_devices_give_the_same_weights(uninterrupted, tmp_path):
    _wait(_start(tmp_path, 1, 0, _free_port(), **fresh.EIGHT_DEVICES))
    np.testing.assert_allclose(_weights(tmp_path), _weights(uninterrupted), **ROUNDING)


@pytest.mark.slow
def test_two_processes_give_the_same_weights_after_one_is_killed(uninterrupted, tmp_path, chance):
    processes = _start_both(tmp_path)
    while _rounds(tmp_path) < 2:
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
    np.testing.assert_allclose(_weights(tmp_path), _weights(uninterrupted), **ROUNDING)
    assert _rounds(tmp_path) == 2 * EPOCHS


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


def _rounds(folder):
    path = folder / "history.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def _weights(folder):
    return np.load(folder / "weights.npy")


def _free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]

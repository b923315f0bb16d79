"""A run killed at any moment goes on, by the same command, to the same weights to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import finetuning
import numpy as np
import pytest

pytest.importorskip("optax")
pytest.importorskip("orbax.checkpoint")

from jaxgru.finetune import read_history

RUN = Path(finetuning.__file__).with_name("finetune_run.py")


@pytest.mark.slow
def test_killed_run_ends_as_one_that_was_not(tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert _start(whole).wait() == 0
    # Random moments, of a seed that is seen when the test fails.
    seed = int(time.time())
    chance = random.Random(seed)
    kills = 0
    while kills < 3:
        process = _start(killed)
        # From a new line of the history on: every start comes further than the one before.
        before = _rounds(killed)
        while process.poll() is None and _rounds(killed) <= before + 1:
            time.sleep(0.002)
        time.sleep(chance.uniform(0, 0.1))
        if process.poll() is not None:
            break  # a fast machine: it was done before it could be killed
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    assert kills, f"seed {seed}: the run was never killed"
    assert _start(killed).wait() == 0
    expected, got = (np.load(folder / "weights.npy") for folder in (whole, killed))
    assert expected.tobytes() == got.tobytes(), f"seed {seed}"
    # The history is that of one run, without a round twice or missing; only its clock is its own.
    rows, others = (_without_seconds(folder) for folder in (whole, killed))
    assert rows == others, f"seed {seed}"


def _start(folder):
    return subprocess.Popen([sys.executable, "-W", "error", RUN, folder, "20"], env=os.environ)


def _rounds(folder):
    path = folder / "history.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def _without_seconds(folder):
    return [
        {name: value for name, value in row.items() if name != "seconds"}
        for row in read_history(folder / "history.jsonl")
    ]

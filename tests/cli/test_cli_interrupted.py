"""Commands that are interrupted or killed while they write: the old file remains, whole."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import finetuning
import keras_files
import numpy as np
import pytest

import jaxgru

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them"),
]

# Pauses where a new file here is complete and not yet in place. What a shell starts in the
# background ignores SIGINT, and so does what that starts.
PAUSED = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
replace = os.replace

def pause(new, old):
    if os.path.dirname(old) == os.getcwd():
        print("written", flush=True)
        time.sleep(100)
    replace(new, old)

os.replace = pause
"""
COMMAND = "from jaxgru._cli.command import run_and_exit\nrun_and_exit()\n"
COMMANDS = {
    "convert gru.npz old.keras --into model.keras": "old.keras",
    "convert gru.npz model.keras --into model.keras": "model.keras",
    "export gru.npz old.onnx": "old.onnx",
    "predict model.keras inputs.npy -o old.npy": "old.npy",
    "inspect gru.npz --plot old.png": "old.png",
    "finetune model.keras data.npz -o old.keras --epochs 1": "old.keras",
    "finetune model.keras data.npz -o model.keras --into model.keras --epochs 1": "model.keras",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for needed in ("optax", "h5py", "onnx", "matplotlib"):
        pytest.importorskip(needed)
    monkeypatch.chdir(tmp_path)
    jaxgru.save(finetuning.small_model().net, "gru.npz")
    keras_files.write_regressor("model.keras")
    data = finetuning.small_data()
    np.savez("data.npz", inputs=data.inputs, targets=data.targets)
    np.save("inputs.npy", data.inputs)
    for suffix in ("keras", "onnx", "npy", "png"):
        Path(f"old.{suffix}").write_bytes(b"the old file")
    return tmp_path


def _stopped(program, arguments, stop):
    """Send a signal once the new file is written beside the old one; the exit code and stderr."""
    command = [sys.executable, "-c", PAUSED + program, *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as process:
        assert any(line == "written\n" for line in process.stdout), process.stderr.read()
        process.send_signal(stop)
        _, errors = process.communicate(timeout=60)
    return process.returncode, errors


def _unfinished(folder):
    return [path for path in folder.iterdir() if path.name.startswith(".jaxgru-")]


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_that_is_stopped_leaves_the_old_file(folder, line, stop):
    output = folder / COMMANDS[line]
    before = output.read_bytes()
    code, errors = _stopped(COMMAND, line.split(), stop)
    assert output.read_bytes() == before
    if stop == signal.SIGINT:
        assert code == 130
        assert errors.endswith("jaxgru: interrupted\n")
        assert not _unfinished(folder)


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_save_into_the_file_itself(folder, stop):
    program = """
import jax, jaxgru
model = jaxgru.load_model("model.keras")
jaxgru.save(jax.tree.map(lambda a: a + 1, model), "model.keras", into="model.keras")
"""
    before = (folder / "model.keras").read_bytes()
    code, _ = _stopped(program, [], stop)
    assert code != 0
    assert (folder / "model.keras").read_bytes() == before
    assert jaxgru.load_model("model.keras").readout.kernel.shape == (4, 2)
    if stop == signal.SIGINT:
        assert not _unfinished(folder)


def test_training_that_is_interrupted_resumes_from_its_checkpoint(folder):
    pytest.importorskip("orbax.checkpoint")
    line = "finetune model.keras data.npz -o old.keras --checkpoints run --history run.jsonl"
    program = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
import jaxgru.finetune._history as history
write = history.write_history
def interrupted(path):
    one = write(path)
    def after_two(now):
        one(now)
        if len(now.history) == 2:
            signal.raise_signal(signal.SIGINT)
    return after_two
import jaxgru.finetune
jaxgru.finetune.write_history = interrupted
"""
    command = [sys.executable, "-c", program + COMMAND, *line.split(), "--epochs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "jaxgru: interrupted\n")
    assert (folder / "old.keras").read_bytes() == b"the old file"
    command = [sys.executable, "-m", "jaxgru", *line.split(), "--epochs", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("run: resumes after step ")
    assert done.returncode in (0, 1)
    jaxgru.load_model("old.keras")

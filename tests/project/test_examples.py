"""The example scripts do what they say."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow  # processes of their own, and a training


# A reader's script runs under JAX's own promotion rules.
@pytest.mark.usefixtures("default_promotion")
def test_layer_norm_between_layers_prints_what_it_says(capsys):
    path = EXAMPLES / "layer_norm_between_layers.py"
    runpy.run_path(str(path), run_name="__main__")
    said, printed = path.read_text(encoding="utf-8"), capsys.readouterr().out
    (said, printed) = (_losses(text) for text in (said.split('"""')[1], printed))
    assert len(said) == 4
    # Sixty steps downhill carry on what the processor rounds: not the last of four digits.
    np.testing.assert_allclose(printed, said, rtol=5e-3)


def test_streaming_answers_each_line_and_goes_on_where_it_stopped(tmp_path):
    state = tmp_path / "state.npz"
    xs = np.load(EXAMPLES / "data" / "inputs.npy")[:5]
    lines = [" ".join(map(str, x)) for x in xs[:4]] + [",".join(map(str, xs[4]))]
    first = _stream(lines[:2], "--state", state)
    second = _stream(lines[2:], "--state", state)
    answers = np.array([line.split() for line in (first + second).splitlines()], float)
    expected = np.load(EXAMPLES / "data" / "expected.npy")[:5]
    # The tolerance of test_examples_data.py; the text has eight decimals.
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
    np.testing.assert_allclose(np.load(state)["arr_0"], expected[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("line", "message"),
    [("1 2 3", "line 1 has 3 numbers: expected 6"), ("1 x", "line 1: could not convert")],
)
def test_streaming_tells_a_bad_line(line, message):
    done = _run([line])
    assert done.returncode == 1
    assert done.stderr.startswith(message)
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
@pytest.mark.usefixtures("default_promotion")
def test_latency_runs_each_way_to_the_same_states(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    latency = runpy.run_path(str(EXAMPLES / "latency.py"))
    latency["main"]("examples/data/gru.npz", rounds=1, steps=32)  # which compares the states
    printed = capsys.readouterr().out
    ways = [line.split("  ")[0] for line in printed.splitlines() if line[-1].isdigit()]
    assert len(ways) >= 8
    assert "weights closed over, 16 steps a call" in ways


def _stream(lines, *options):
    done = _run(lines, *options)
    assert done.returncode == 0, done.stderr
    return done.stdout


def _run(lines, *options):
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / "streaming.py", *options],
        input="".join(f"{line}\n" for line in lines),
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def _losses(text):
    return [float(number) for number in re.findall(r"loss (\d\.\d{4})", text)]

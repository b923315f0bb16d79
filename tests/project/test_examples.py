"""The example scripts do what they say."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest

import jaxgru

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"

pytestmark = pytest.mark.slow  # processes of their own, and a training


# A reader's script runs under JAX's own promotion rules.
@pytest.mark.usefixtures("default_promotion")
def test_layer_norm_between_layers_prints_what_it_says(capsys):
    path = EXAMPLES / "layer_norm_between_layers.py"
    runpy.run_path(str(path), run_name="__main__")
    said, printed = (
        [float(number) for number in re.findall(r"loss (\d\.\d{4})", text)]
        for text in (path.read_text(encoding="utf-8").split('"""')[1], capsys.readouterr().out)
    )
    assert len(said) == 4
    # Sixty steps downhill carry on what the processor rounds: not the last of four digits.
    np.testing.assert_allclose(printed, said, rtol=5e-3)


def test_derivatives_prints_what_it_says_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "reach.png"
    done = _run("derivatives.py", "--plot", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    # The error, four lengths of gradients, five reaches, and the errors after two steps.
    said, found = (
        [float(number) for number in re.findall(r"\b\d\.\d{3,4}\b", text)]
        for text in ((EXAMPLES / "derivatives.py").read_text(encoding="utf-8"), done.stdout)
    )
    assert len(said) == 12
    # All but the last are first derivatives in float32, printed to two digits or more.
    np.testing.assert_allclose(found[:-1], said[:-1], rtol=0.02, atol=1e-4)
    # Ten iterations of conjugate gradients carry on what the processor rounds: seen, a twentieth.
    best_along_gradient, after_step = found[-2:]
    assert after_step < 0.6 * best_along_gradient


def test_streaming_answers_each_line_and_goes_on_where_it_stopped(tmp_path):
    state = tmp_path / "state.npz"
    xs = np.load(EXAMPLES / "data" / "inputs.npy")[:5]
    lines = [" ".join(map(str, x)) for x in xs[:4]] + [",".join(map(str, xs[4]))]
    answers = []
    for part in (lines[:2], lines[2:]):
        done = _run("streaming.py", "--state", state, lines=part)
        assert done.returncode == 0, done.stderr
        answers += [[float(number) for number in line.split()] for line in done.stdout.splitlines()]
    expected = np.load(EXAMPLES / "data" / "expected.npy")[:5]
    # The tolerance of test_examples_data.py; the text has eight decimals.
    np.testing.assert_allclose(answers, expected, rtol=0, atol=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
    np.testing.assert_allclose(np.load(state)["arr_0"], expected[-1], rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        (["streaming.py"], "1 2 3", "^line 1 has 3 numbers: expected 6.*\n$"),
        (["streaming.py"], "1 x", "^line 1: could not convert.*\n$"),
        (["derivatives.py", "--plot", "reach.xyz"], "", "its suffix is '.xyz'"),
    ],
)
def test_what_is_refused(command, line, message):
    pytest.importorskip("matplotlib")
    done = _run(*command, lines=[line])
    assert (done.returncode, done.stdout) == (1, "")
    assert re.search(message, done.stderr)


def test_an_audio_callback_gives_the_effect_of_the_whole(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    example = runpy.run_path(str(EXAMPLES / "audio_callback.py"))
    example["main"](units=6, frames=16, channels=2, seconds=0.02)  # which compares the samples
    assert "60 blocks of 16 samples, 2 channels, 333 us each" in capsys.readouterr().out

    # Blocks of any length, of one channel; the oracle is the float64 loop.
    rng = np.random.default_rng(0)
    shapes = (1, 15), (5, 15), (15,), (15,)
    params = jaxgru.GRUParams(*(0.3 * rng.standard_normal(s).astype(np.float32) for s in shapes))
    readout, played = rng.standard_normal(5).astype(np.float32), np.ones((30, 1), np.float32)
    effect, heard = example["Effect"](params, readout, 1, 16), np.zeros((30, 1), np.float32)
    for first, last in ((0, 16), (16, 17), (17, 30)):
        effect(played[first:last], heard[first:last], last - first, None, None)
    expected = oracle.gru(params, played)[0] @ readout
    # Thirty steps in float32, and a sum of five products.
    np.testing.assert_allclose(heard[:, 0], expected, rtol=0, atol=1e-5)


def _run(name, *options, lines=()):
    return subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *options],
        input="".join(f"{line}\n" for line in lines),
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )

"""examples/derivatives.py prints what its docstring says, and draws its picture."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "examples" / "derivatives.py"

pytestmark = pytest.mark.slow  # processes of their own


def test_prints_what_it_says_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    picture = tmp_path / "reach.png"
    done = _run("--plot", picture)
    assert done.returncode == 0, done.stderr
    assert picture.read_bytes().startswith(b"\x89PNG")
    said, found = _numbers(SCRIPT.read_text(encoding="utf-8")), _numbers(done.stdout)
    assert len(said) == 12
    # All but the last are first derivatives in float32, printed to two digits or more.
    np.testing.assert_allclose(found[:-1], said[:-1], rtol=0.02, atol=1e-4)
    # Ten iterations of conjugate gradients carry on what the processor rounds: seen, a twentieth.
    best_along_gradient, after_step = found[-2:]
    assert after_step < 0.6 * best_along_gradient


def test_a_picture_of_no_known_format_is_refused_before_the_work(tmp_path):
    pytest.importorskip("matplotlib")
    done = _run("--plot", tmp_path / "reach.xyz")
    assert done.returncode == 1
    assert "its ending is '.xyz'" in done.stderr
    assert done.stdout == ""


def _run(*options):
    return subprocess.run(
        [sys.executable, "-W", "error", SCRIPT, *options],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )


def _numbers(text):
    """Return the error, four lengths of gradients, five reaches, and the errors after two steps."""
    return [float(number) for number in re.findall(r"\b\d\.\d{3,4}\b", text)]

"""The examples and the benchmark of the drop-in modules do what they claim, in a small setting."""

import importlib
import json
import re

import numpy as np
import pages
import pytest

# A reader's script runs under JAX's own promotion rules.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.live,
    pytest.mark.usefixtures("default_promotion"),
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras' own
]


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch):
    monkeypatch.chdir(pages.ROOT)
    monkeypatch.syspath_prepend(pages.ROOT / "examples")


def test_both_recurrences_learn_to_remember_alike(monkeypatch, capsys):
    for library in ("flax", "optax"):
        pytest.importorskip(library)
    example = importlib.import_module("recurrent_ppo")
    # A short corridor, learned in a few updates.
    monkeypatch.setattr(example, "LENGTH", 3)
    example.main(updates=40, seeds=2)
    rows = re.findall(r"^ *\d+ +(-?\d\.\d\d) +(-?\d\.\d\d)$", capsys.readouterr().out, re.MULTILINE)
    theirs, ours = np.array(rows, float).T
    assert len(ours) == 6
    # Chance is 0. From the same numbers; the rounding of each update grows in the next ones.
    assert abs(ours[0] - theirs[0]) < 0.02
    assert ours[0] < 0.3
    assert min(ours[-1], theirs[-1]) > 0.8


def test_the_classifier_is_the_same_after_and_trains_on(capsys):
    pytest.importorskip("keras")
    importlib.import_module("keras_accelerate").main(count=256, steps=24, units=8, epochs=4)
    before, difference, after, saved = capsys.readouterr().out.splitlines()
    assert float(difference.split()[-1]) < 1e-5
    correct = [float(re.search(r"(\d\.\d\d) correct", line)[1]) for line in (before, after)]
    assert correct[0] <= correct[1] + 0.1
    assert saved.endswith("True")


def test_the_benchmark_compares_all_and_writes_a_table(tmp_path, capsys):
    for library in ("flax", "equinox", "haiku", "keras"):
        pytest.importorskip(library)
    benchmark = importlib.import_module("benchmarks.dropins")
    arguments = ["--shape", "2", "4", "3", "5", "--quick", "--out", str(tmp_path)]
    benchmark.main(arguments)
    (path,) = tmp_path.iterdir()
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    names = [(row["library"], row["resets"]) for row in rows]
    plain = [(name, False) for name in benchmark.LIBRARIES]
    assert names == [*plain, *((n, True) for n in ("flax linen", "equinox", "haiku"))]
    assert all(row["ratio"] > 0 for row in rows)
    assert "ratio" in capsys.readouterr().out

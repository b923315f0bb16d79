"""``jaxgru evaluate``, and ``jaxgru finetune`` of whole models.

The oracle is the float64 loop with the readout and the sums in NumPy; 6 digits are printed.
"""

import os

import keras_files
import numpy as np
import oracle
import pytest

import jaxgru

pytest.importorskip("optax")
RNG = np.random.default_rng(0)


def _params(cell):
    kernel, recurrent_kernel, (bias, recurrent_bias) = cell
    return jaxgru.GRUParams(kernel, recurrent_kernel, bias, recurrent_bias)


def _rows(output):
    return [line.split() for line in output.splitlines()]


@pytest.fixture
def recordings(run):
    """A regressor in model.keras, and recordings of two lengths; predictions and targets."""
    (cell, (kernel, bias)) = keras_files.write_regressor("model.keras").values()
    os.mkdir("rec")
    pairs = []
    for i, time in enumerate((9, 7, 9)):
        table = RNG.normal(size=(time, 6))
        heading = "t,ax,ay,az,position,velocity"
        np.savetxt(f"rec/{i}.csv", table, delimiter=",", header=heading, comments="")
        states, _ = oracle.gru(_params(cell), table[:, 1:4].astype(np.float32))
        pairs.append((states @ kernel + bias, table[:, 4:]))
    return pairs


def test_numbers_of_each_file_and_in_all(done, recordings):
    options = "--targets", "position,velocity"
    shown = done("evaluate", "model.keras", "rec", *options, "--skip", "t")
    assert shown == done("evaluate", "model.keras", "rec", *options, "--columns", "ax,ay,az")
    rows = _rows(shown)
    assert rows[0] == ["file", "output", "predictions", "mse", "rmse", "fit"]
    every = [*recordings, tuple(map(np.concatenate, zip(*recordings, strict=True)))]
    assert len(rows) == 1 + 2 * len(every)
    for i, (p, y) in enumerate(every):
        for j, output in enumerate(("position", "velocity")):
            name, label, count, *numbers, _ = rows[1 + 2 * i + j]
            assert (name, label) == (f"{i}.csv" if i < 3 else "all", output)
            assert int(count) == len(y)
            error, spread = y[:, j] - p[:, j], y[:, j] - y[:, j].mean()
            mse = np.mean(error**2)
            fit = 100 * (1 - np.sqrt(np.sum(error**2) / np.sum(spread**2)))
            np.testing.assert_allclose([*map(float, numbers)], [mse, mse**0.5, fit], 2e-5, 5e-3)


def test_outputs_without_names_are_numbered(done, recordings):
    predicted, wanted = recordings[0]
    inputs = np.loadtxt("rec/0.csv", delimiter=",", skiprows=1)[None, :, 1:4]
    np.savez("data.npz", inputs=inputs, targets=wanted[None])
    rows = _rows(done("evaluate", "model.keras", "data.npz"))
    assert [row[:3] for row in rows[1:]] == [["all", "0", "9"], ["all", "1", "9"]]
    mse = np.mean((predicted - wanted) ** 2, axis=0)
    np.testing.assert_allclose([float(row[3]) for row in rows[1:]], mse, rtol=2e-5)


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_classes(done, activation):
    classes = 3 if activation == "softmax" else 1
    held = keras_files.write_classifier("model.keras", activation, classes)
    (table,), cell, (kernel, bias) = held.values()
    ids = RNG.integers(1, keras_files.WORDS, (40, 7))
    ids[1, 3:] = 0
    targets = RNG.integers(0, max(2, classes), 40)
    np.savez("data.npz", inputs=ids, targets=targets)
    states = np.stack([oracle.gru(_params(cell), table[row[row != 0]])[1] for row in ids])
    logits = states @ kernel + bias
    if classes == 1:
        logits = np.concatenate([0 * logits, logits], axis=-1)
    p = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    counts = np.zeros(p.shape[-1:] * 2, int)
    for y, guess in zip(targets, p.argmax(-1), strict=True):
        counts[y, guess] += 1
    task = "--loss", "classification", "--on", "last"
    rows = _rows(done("evaluate", "model.keras", "data.npz", *task))
    assert rows[1][:2] == ["all", "40"]
    assert float(rows[1][2]) == pytest.approx(-np.log(p[range(40), targets]).mean(), rel=1e-5)
    assert float(rows[1][3]) == pytest.approx(np.trace(counts) / 40, abs=1e-4)
    assert [[int(n) for n in row[1:]] for row in rows[5:]] == counts.tolist()


def test_a_whole_model_is_tuned_into_a_copy(done, recordings, run):
    options = "--targets", "position,velocity", "--skip", "t"
    before = dict(jaxgru.load_arrays("model.keras"))
    code, out, err = run(
        "finetune", "model.keras", "rec", "-o", "tuned.keras", *options, "--epochs", "5",
        "--learning-rate", "0.02", "--validation", "rec", "--trainable", "readout.*",
    )  # fmt: skip
    assert (code, err) == (0, [])
    lines = out.splitlines()
    assert lines[:2] == [
        "rec: 3 sequences of up to 9 steps for training",
        "rec: 3 sequences of up to 9 steps held out",
    ]
    assert lines[-1] == "tuned.keras: a model of 3 layers, stop reason: epochs"
    after = dict(jaxgru.load_arrays("tuned.keras"))
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed == {"readout/kernel", "readout/bias"}
    # The loss that it prints is that of the file that it has written.
    mse = [float(row[3]) for row in _rows(done("evaluate", "tuned.keras", "rec", *options))[-2:]]
    assert float(lines[-2].split()[5].rstrip(",")) == pytest.approx(np.mean(mse), rel=1e-4)


def test_what_is_held_out_is_said(run, recordings):
    _, out, _ = run(
        "finetune", "model.keras", "rec", "-o", "tuned.keras", "--targets", "5,6", "--skip", "1",
        "--steps", "1", "--held-out", "0.4",
    )  # fmt: skip
    rows = np.sort(np.random.default_rng(0).permutation(3)[:1])
    assert out.splitlines()[1] == f"held out: {rows[0]}.csv"


def test_what_is_refused(refused, recordings):
    np.savez("ids.npz", inputs=np.array([[1, 2], [3, 4]]), targets=np.array([0, 1]))
    keras_files.write_classifier("words.keras")
    lines = {
        "evaluate model.keras rec --targets 5 --columns 1,5": "rec/0.csv: a column of --columns is",
        "evaluate words.keras ids.npz --loss classification": "ids.npz: the predictions have shape",
        "evaluate words.keras rec --targets 5 --on last": "rec: 5 columns are inputs: expected one",
        "evaluate words.keras ids.npz --loss next-step": "--loss is 'next-step' for a model of int",
        "finetune model.keras rec --targets 5 -o t.keras --validation rec --held-out 0.5": "argume",
        "finetune model.keras rec --targets 5,6 --skip 1 -o t.npz --to npz": "--to or --to-equ",
        "finetune model.keras rec --targets 5,6 --skip 1 -o model.keras": "model.keras is also the",
    }
    for arguments, line in lines.items():
        assert refused(*arguments.split()).startswith(line)

"""``jaxgru predict``; the oracle is the float64 loop, with the readout in NumPy.

The loop's states in float32 are off by a few roundings of 6e-8 each, and so are four products.
"""

from pathlib import Path

import cases
import keras_files
import numpy as np
import oracle
import pytest

import jaxgru

TOLERANCE = 1e-6
RNG = np.random.default_rng(0)


def _params(cell):
    kernel, recurrent_kernel, (bias, recurrent_bias) = cell
    return jaxgru.GRUParams(kernel, recurrent_kernel, bias, recurrent_bias)


def _last_states(params, table, ids):
    """Return the state after the words that are not 0, which the model masks."""
    return np.stack([oracle.gru(params, table[row[row != 0]])[1] for row in ids])


def _softmax(x):
    e = np.exp(x)
    return e / e.sum(-1, keepdims=True)


@pytest.fixture
def classifier(run):
    """A classifier in model.keras, words in ids.npy, and the probabilities of the oracle."""
    held = keras_files.write_classifier("model.keras")
    (table,), cell, (kernel, bias) = held.values()
    ids = RNG.integers(1, keras_files.WORDS, (5, 7))
    ids[1, 3:] = 0
    np.save("ids.npy", ids)
    return ids, _softmax(_last_states(_params(cell), table, ids) @ kernel + bias)


def test_probabilities_and_classes_of_a_whole_model(done, classifier):
    ids, expected = classifier
    assert done("predict", "model.keras", "ids.npy", "-o", "p.npy") == (
        "p.npy: probabilities (5, 3) of float32\n"
    )
    np.testing.assert_allclose(np.load("p.npy"), expected, rtol=0, atol=TOLERANCE)
    done("predict", "model.keras", "ids.npy", "-o", "p.csv")
    lines = Path("p.csv").read_text().splitlines()
    assert lines[0] == "probability 0,probability 1,probability 2"
    np.testing.assert_allclose(np.loadtxt(lines[1:], delimiter=","), expected, atol=TOLERANCE)
    assert done("predict", "model.keras", "ids.npy", "-o", "c.csv", "--classes") == (
        "c.csv: classes (5,) of int32\n"
    )
    lines = Path("c.csv").read_text().splitlines()
    assert lines[0] == "class"
    assert [int(line) for line in lines[1:]] == expected.argmax(-1).tolist()
    # One sequence as text, one integer a line; and more batch axes.
    np.savetxt("ids.txt", ids[0], fmt="%d")
    done("predict", "model.keras", "ids.txt", "-o", "p.npy")
    np.testing.assert_allclose(np.load("p.npy"), expected[0], rtol=0, atol=TOLERANCE)
    np.save("ids.npy", ids[None].astype(float))
    done("predict", "model.keras", "ids.npy", "-o", "c.npz", "--classes")
    with np.load("c.npz") as file:
        assert file["outputs"].tolist() == [expected.argmax(-1).tolist()]


def test_columns_and_padded_sequences(done, monkeypatch):
    (cell, (kernel, bias)) = keras_files.write_regressor("model.keras").values()
    xs = RNG.normal(size=(5, 7, 3)).astype(np.float32)
    table = np.column_stack([np.arange(7), xs[0, :, ::-1]])
    np.savetxt("log.csv", table, delimiter=",", header="t,ax,ay,az", comments="")
    expected = oracle.gru_batch(_params(cell), xs)[0] @ kernel + bias
    for options in (["--columns", "az,ay,2"], ["--columns", "4,3,ax"]):
        done("predict", "model.keras", "log.csv", "-o", "p.csv", *options)
        given = np.loadtxt("p.csv", delimiter=",", skiprows=1)
        np.testing.assert_allclose(given, expected[0], rtol=0, atol=TOLERANCE)
    lengths = np.array([7, 3, 0, 1, 5])
    np.savez("padded.npz", inputs=xs, lengths=lengths)
    monkeypatch.setattr("jaxgru._cli.predict._STEPS_AT_ONCE", 2 * 7)  # several batches
    done("predict", "model.keras", "padded.npz", "-o", "p.npy")
    for given, wanted, n in zip(np.load("p.npy"), expected, lengths, strict=True):
        np.testing.assert_allclose(given[:n], wanted[:n], rtol=0, atol=TOLERANCE)
    assert np.load("p.npy").shape == (5, 7, 2)


def test_a_gru_with_a_readout(done, refused, key):
    params = cases.random_params(key, 3, 4)
    jaxgru.save(params, "gru.npz")
    xs = RNG.normal(size=(2, 7, 3)).astype(np.float32)
    np.save("xs.npy", xs)
    states = oracle.gru_batch(params, xs)[0]
    for size in (1, 3):
        kernel, bias = keras_files.draw(size, (4, size), (size,))
        np.savez("readout.npz", kernel=kernel, bias=bias)
        command = "predict", "gru.npz", "xs.npy", "--readout", "readout.npz", "-o"
        logits = states @ kernel + bias
        probabilities = 1 / (1 + np.exp(-logits)) if size == 1 else _softmax(logits)
        classes = logits[..., 0] > 0 if size == 1 else logits.argmax(-1)
        for options, expected in {
            (): logits,
            ("--logits",): probabilities,
            ("--logits", "--on", "last"): probabilities[:, -1],
            ("--logits", "--classes"): classes,
        }.items():
            done(*command, "p.npy", *options)
            np.testing.assert_allclose(np.load("p.npy"), expected, rtol=0, atol=TOLERANCE)
    assert refused("predict", "gru.npz", "xs.npy", "-o", "p.npy").startswith(
        "gru.npz: a GRU without a readout has no predictions: expected --readout IN"
    )


def test_what_is_refused(refused, classifier):
    keras_files.write_classifier("one.keras", "linear", 1)
    keras_files.write_classifier("sigmoids.keras", "sigmoid", 2)
    keras_files.write_regressor("regressor.keras")
    np.save("high.npy", np.array([[1, 9]]))
    np.save("halves.npy", np.array([[1, 0.5]]))
    np.save("far.npy", np.array([[1, 2**32 + 1]]))
    np.save("wide.npy", np.ones((2, 7, 4)))
    np.savez("lengths.npz", inputs=np.ones((2, 7, 3)), lengths=[1, 2, 3])
    np.savez("readout.npz", kernel=np.ones((4, 2)), bias=np.ones(3))
    np.savetxt("two.csv", np.array([[1, 2]]), delimiter=",", fmt="%d")
    lines = {
        "model.keras high.npy": "high.npy: its input [0, 1] is 9: expected 0 to 8, a row of the m",
        "model.keras halves.npy": "halves.npy: its inputs are not integers: expected whole numbers",
        "model.keras far.npy": "far.npy: its inputs have 4294967297: expected numbers of 32 bits",
        "model.keras two.csv": "two.csv: it has 2 columns: expected one, the integers of the",
        "model.keras ids.npy --logits": "--logits is given for a model that ends with softmax",
        "model.keras ids.npy --on last": "--on is 'last' for a whole model: expected none",
        "model.keras ids.npy --equations notebook": "model.keras: --equations is 'notebook' for",
        "model.keras none.npy": "none.npy: No such file or directory",
        "one.keras ids.npy --classes": "--classes is given for a model with one output and",
        "sigmoids.keras ids.npy --classes": "--classes is given for a model that ends with 2 sig",
        "regressor.keras wide.npy": "wide.npy: layer 'encoder': xs has shape",
        "regressor.keras lengths.npz": "lengths.npz: lengths has shape (3,): expected (2,)",
        "regressor.keras wide.npy --layer encoder --readout readout.npz": "readout.npz: its kernel "
        "and bias have shapes (4, 2) and (3,): expected (H, O) and (O,)",
        "regressor.keras wide.npy --layer x": "regressor.keras: layer is 'x': expected one of",
    }
    for arguments, line in lines.items():
        assert refused("predict", *arguments.split(), "-o", "p.npy").startswith(line)
    line = refused("predict", "model.keras", "ids.npy", "-o", "p.dat")
    assert line == "p.dat: its suffix is '.dat': expected one of .npy, .npz, .csv, .txt"
    line = refused("predict", "model.keras", "ids.npy", "-o", "ids.npy")
    assert line == "ids.npy is also the input ids.npy: expected another file"


@pytest.mark.filterwarnings("always::jaxgru._arrayfiles.ArrayFileWarning")
def test_nan_is_warned_about(run):
    keras_files.write_regressor("model.keras")
    np.save("xs.npy", np.array([[[1, 2, np.nan], [1, 2, 3]]]))
    code, _, errors = run("predict", "model.keras", "xs.npy", "-o", "p.npy")
    assert (code, errors) == (0, ["warning: xs.npy: NaN or Inf at [0, 0, 2]"])
    assert np.isnan(np.load("p.npy")).any()

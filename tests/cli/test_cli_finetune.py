"""``jaxgru finetune``: every form of data, its files and its output."""

import json

import equal
import finetuning
import jax
import numpy as np
import optax
import pytest

import jaxgru
import jaxgru.finetune as ft
from jaxgru.model import Model

# The suite makes warnings errors; here they are to reach the command line's stderr.
pytestmark = pytest.mark.filterwarnings("always::jaxgru.finetune.FinetuneWarning")

HEADER = "a,b,c,position,velocity"
# Of eight sequences a quarter is held out, those that seed 0 draws.
HELD_OUT = np.sort(np.random.default_rng(0).permutation(8)[:2])


@pytest.fixture
def folder(run, tmp_path):
    """A folder with weights, a readout and the data in all its forms, and the tests run there."""
    net, readout = finetuning.small_model().layers.values()
    jaxgru.save(net, "gru.npz")
    np.savez("readout.npz", kernel=readout.kernel, bias=readout.bias)
    data = finetuning.small_data()
    np.savez("data.npz", inputs=data.inputs, targets=data.targets)
    (tmp_path / "csv").mkdir()
    (tmp_path / "csv" / "notes.txt").write_text("no data")
    for i, sequence in enumerate(np.concatenate(data[:2], axis=-1)):
        text = "\n".join(",".join(f"{x:.9g}" for x in row) for row in sequence)
        (tmp_path / "csv" / f"{i}.csv").write_text(f"{HEADER}\n{text}\n")
    return tmp_path


@pytest.fixture
def tune(run, folder):
    """Run the subcommand: its exit code, output lines and error lines."""

    def tune(*arguments):
        code, output, errors = run("finetune", "gru.npz", *arguments)
        return code, output.splitlines(), errors

    return tune


def test_the_result_is_that_of_fit(tune, folder):
    code, out, err = tune(
        "data.npz", "-o", "tuned.npz", "--readout", "readout.npz", "--readout-output", "new.npz",
        "--epochs", "3", "--batch-size", "2", "--held-out", "0.25", "--learning-rate", "0.01",
        "--history", "run.jsonl", "--plot", "run.png", "--checkpoints", "new/run", "--window", "4",
        "--clip-norm", "0.1", "--split-output", "split.json",
    )  # fmt: skip
    assert (code, err) == (0, [])
    assert json.loads((folder / "split.json").read_text()) == {
        "data": "data.npz",
        "held_out_rows": HELD_OUT.tolist(),
    }
    # The oracle: the library, called with the held-out part that the seed says.
    learned, held_out = _split()
    before = ft.evaluate(finetuning.small_model(), held_out, ft.regression(), batch_size=2)
    clipped = optax.chain(optax.clip_by_global_norm(0.1), optax.adam(0.01))
    result = finetuning.tune(
        finetuning.small_model(), learned, ft.Epochs(3), batch_size=2, validation=held_out,
        optimizer=clipped, window=4, key=jax.random.split(jax.random.key(0), 3)[0],
    )  # fmt: skip
    tuned_readout = ft.LinearReadout(**np.load("new.npz"))
    assert equal.same(Model(net=jaxgru.load("tuned.npz"), readout=tuned_readout), result.model)
    after = ft.evaluate(result.model, held_out, ft.regression(), batch_size=2)
    assert out == [
        "data.npz: 6 sequences of up to 6 steps for training, "
        "2 sequences of up to 6 steps held out",
        f"held out: rows {HELD_OUT[0]}, {HELD_OUT[1]}",
        f"loss on held-out data before: {before:.6g}",
        f"loss on held-out data after:  {after:.6g}, at step {result.step}",
        "tuned.npz: a GRU layer: 3 inputs, 4 outputs, 108 parameters, float32, stop reason: epochs",
        "new.npz: the readout, kernel (4, 2)",
        "run.jsonl: 3 lines",
        "run.png: the losses, and predictions of the held-out data",
    ]
    lines = (folder / "run.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2, 3]
    assert (folder / "run.png").stat().st_size > 0
    assert len(list((folder / "new" / "run").iterdir())) > 0


def test_csv_files_are_the_same_data(tune, folder):
    # A name, a number, a folder: that the data is the same is seen in the loss before training.
    code, out, _ = tune(
        "csv", "-o", "tuned.npz", "--readout", "readout.npz", "--steps", "1", "--held-out", "0.25",
        "--targets", " position , 5", "--split-output", "split.json",
    )  # fmt: skip
    before = ft.evaluate(finetuning.small_model(), _split()[1], ft.regression())
    assert code != 2
    assert out[2] == f"loss on held-out data before: {before:.6g}"
    names = [f"{row}.csv" for row in HELD_OUT]
    written = json.loads((folder / "split.json").read_text())
    assert written == {"data": "csv", "held_out_files": names}


def _split():
    """Return the training data and the held-out data."""
    data, rest = finetuning.small_data(), np.setdiff1d(np.arange(8), HELD_OUT)
    return [ft.Sequences(*(array[rows] for array in data[:2])) for rows in (rest, HELD_OUT)]


def test_one_sequence_is_split_in_time(tune, folder):
    code, out, _ = tune(
        "csv/0.csv", "-o", "tuned.npz", "--steps", "1", "--targets", "position,velocity",
        "--readout-output", "readout_new.npz", "--held-out", "0.5", "--learning-rate", "1e-9",
        "--split-output", "split.json",
    )  # fmt: skip
    assert code != 2
    assert out[0] == (
        "csv/0.csv: 1 sequence of up to 3 steps for training, 1 sequence of up to 3 steps held out"
    )
    assert np.load("readout_new.npz")["kernel"].shape == (4, 2)
    written = json.loads((folder / "split.json").read_text())
    assert written == {"data": "csv/0.csv", "held_out_steps": [3, 5]}
    arguments = ("csv/0.csv", "-o", "tuned.npz", "--targets", "4,5", "--readout", "readout.npz")
    more = ("--validation", "csv/1.csv", "--split-output", "split.json")
    _, _, (line,) = tune(*arguments, *more)
    assert line.startswith("error: --split-output is given with --validation, which is held")


def test_the_next_step_of_one_sequence_is_learned(tune):
    np.savez("one.npz", inputs=finetuning.small_data().inputs[0])
    code, out, _ = tune(
        "one.npz", "-o", "tuned.npz", "--loss", "next-step", "--readout-output", "r.npz",
    )  # fmt: skip
    assert code != 2
    assert out[0].startswith("one.npz: 1 sequence of up to 4 steps for training, 1 sequence of ")
    assert np.load("r.npz")["kernel"].shape == (4, 3)


def test_classes_of_sequences_of_different_lengths(tune, folder):
    for i in range(8):
        lines = [f"{t},{i},{-t},{int(i > 3)}" for t in range(i + 1)]
        (folder / "csv" / f"{i}.csv").write_text("\n".join(lines))
    code, out, err = tune(
        "csv", "-o", "tuned.npz", "--steps", "9", "--targets", "4", "--loss", "classification",
        "--on", "last", "--readout", "readout.npz", "--readout-output", "r.npz", "--low-rank", "1",
        "--learning-rate", "0.05", "--trainable", "recurrent_kernel", "--held-out", "0.25",
    )  # fmt: skip
    assert (code, err) == (0, [])
    assert "sequences of up to 8 steps" in out[0]
    inputs = np.zeros((2, 8, 3), np.float32)
    for row, i in zip(inputs, HELD_OUT, strict=True):
        row[: i + 1] = [[t, i, -t] for t in range(i + 1)]
    held_out = ft.Sequences(inputs, (HELD_OUT > 3).astype(int), HELD_OUT + 1)
    before = ft.evaluate(finetuning.small_model(), held_out, ft.classification("last"))
    assert out[2] == f"loss on held-out data before: {before:.6g}"
    tuned, net = jaxgru.load("tuned.npz"), finetuning.small_model().net
    assert not equal.same(tuned.recurrent_kernel, net.recurrent_kernel)
    assert equal.same((tuned.kernel, tuned.bias), (net.kernel, net.bias))


@pytest.mark.parametrize(
    ("rate", "warning", "stopped"),
    [
        ("1e38", "the validation loss is not finite after step ", "not finite"),
        ("9", "no round has a lower vali", "patience"),
    ],
)
def test_without_an_improvement_the_exit_code_is_1(tune, rate, warning, stopped):
    code, out, err = tune(
        "data.npz", "-o", "tuned.npz", "--readout", "readout.npz", "--readout-output", "r.npz",
        "--learning-rate", rate, "--epochs", "3", "--patience", "2",
    )  # fmt: skip
    assert code == 1
    assert err[0].startswith(f"warning: {warning}")
    assert out[4].endswith(f", stop reason: {stopped}")
    assert out[3] == f"{out[2].replace('before:', 'after: ')}, at step 0"
    assert equal.same(jaxgru.load("tuned.npz"), finetuning.small_model().net)


def test_a_run_resumes_and_another_is_refused(tune):
    options = ("-o", "tuned.npz", "--readout", "readout.npz", "--checkpoints", "run")
    assert tune("data.npz", *options, "--epochs", "1")[0] == 0
    code, _, (line,) = tune("data.npz", *options, "--epochs", "2")
    assert (code, line) == (0, "run: resumes after step 1, 1 epochs done")
    code, _, (line,) = tune("data.npz", *options, "--epochs", "2", "--seed", "1")
    assert code == 2
    assert "run: its checkpoint of step 2 is of another run, with another key (of another" in line

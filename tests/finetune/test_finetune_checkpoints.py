"""Checkpoints: of this run alone, and the last good one intact whatever fails."""

import os
import subprocess
import sys
from pathlib import Path

import cases
import finetuning
import jax
import pytest

pytest.importorskip("orbax.checkpoint")

import jaxgru.finetune as ft

OPTIONS = {"batch_size": 8, "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoints of a run of one epoch."""
    folder = tmp_path_factory.mktemp("run")
    finetuning.tune(
        *finetuning.small_model(), finetuning.small_data(), checkpoint_dir=folder, **OPTIONS
    )
    return folder


def test_longer_run_goes_on_where_the_shorter_ended(tmp_path):
    data = finetuning.small_data()
    options = {"batch_size": 8, "validation": data, "every": 2}
    whole = finetuning.tune(*finetuning.small_model(), data, steps=5, **options)
    part = finetuning.tune(
        *finetuning.small_model(), data, steps=2, checkpoint_dir=tmp_path, **options
    )
    rest = finetuning.tune(
        *finetuning.small_model(), data, steps=5, checkpoint_dir=tmp_path, **options
    )
    assert finetuning.equal((rest.net, rest.readout), (whole.net, whole.readout))
    assert [row["step"] for row in rest.history] == [2, 4, 5]
    assert rest.history[0] == part.history[0]
    # And once more there is nothing to do.
    again = finetuning.tune(
        *finetuning.small_model(), data, steps=5, checkpoint_dir=tmp_path, **options
    )
    assert finetuning.equal((again.net, again.readout), (whole.net, whole.readout))
    assert again.history == rest.history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"net": "larger"}, r"model\.net\.kernel is float32 \(3, 12\) there and float32 \(3, 15\)"),
        ({"net": "other"}, r"run: the original weights is [0-9a-f]{8} there and [0-9a-f]{8} here$"),
        ({"data": finetuning.small_data(seed=1)}, "of another run: data is "),
        ({"key": jax.random.key(8)}, "of another run: the key is "),
        ({"batch_size": 2}, "of another run: batch_size is 8 there and 2 here$"),
        (
            {"trainable": "net.*"},
            "of another run: trainable is net.kernel, .* there and net.kernel, .* here; opt",
        ),
        ({"pull": 0.5}, "of another run: pull is 0.0 there and 0.5 here$"),
    ],
)
def test_checkpoint_of_another_run_is_refused_for_what_differs(folder, change, message):
    net, readout = finetuning.small_model()
    change = dict(change)
    if (which := change.pop("net", None)) == "larger":
        net = cases.random_params(jax.random.key(0), 3, 5)
        readout = ft.linear_readout(jax.random.key(0), 5, 2)
    elif which == "other":
        net = finetuning.small_net(jax.random.key(5))
    data = change.pop("data", finetuning.small_data())
    with pytest.raises(ValueError, match=message):
        finetuning.tune(net, readout, data, checkpoint_dir=folder, **(OPTIONS | change))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="Permission denied"):
        finetuning.tune(
            *finetuning.small_model(),
            finetuning.small_data(),
            checkpoint_dir=tmp_path / "run",
            **OPTIONS,
        )


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="File exists"):
        finetuning.tune(
            *finetuning.small_model(),
            finetuning.small_data(),
            checkpoint_dir=tmp_path / "run",
            **OPTIONS,
        )


def test_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    # A full disk, as far as a test can have one: no file may grow beyond some bytes.
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(finetuning.__file__).parent)!r})
import finetuning

def tune(epochs):
    return finetuning.tune(
        *finetuning.small_model(), finetuning.small_data(), epochs=epochs, batch_size=8,
        checkpoint_dir={str(tmp_path)!r},
    )

first = tune(1)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (500, hard))
try:
    tune(2)
except OSError as error:
    print(error)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
again = tune(1)
assert finetuning.equal((again.net, again.readout), (first.net, first.readout))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=os.environ, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"{tmp_path}: the checkpoint of step 2 could not be written, that of 1 is intact: "
    ), done.stdout


def test_damaged_checkpoint_says_so(tmp_path):
    finetuning.tune(
        *finetuning.small_model(), finetuning.small_data(), checkpoint_dir=tmp_path, **OPTIONS
    )
    (tmp_path / "1" / "notes" / "metadata").write_text("{")
    with pytest.raises(OSError, match="the checkpoint of step 1 cannot be read"):
        finetuning.tune(
            *finetuning.small_model(), finetuning.small_data(), checkpoint_dir=tmp_path, **OPTIONS
        )

"""Checkpoints: of the same run only, in every precision, and intact after a failure.

The oracle is the uninterrupted run: its weights are bit-for-bit identical.
"""

import shutil
from pathlib import Path

import cases
import equal
import finetuning
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("orbax.checkpoint")

import jaxgru.finetune as ft
from jaxgru.model import Model


def _tune(folder, epochs=1, *, model=None, data=None, **options):
    return finetuning.tune(
        model or finetuning.small_model(),
        data or finetuning.small_data(),
        ft.Epochs(epochs),
        checkpoint_dir=folder,
        **({"batch_size": 8} | options),
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The checkpoints of a run of one epoch."""
    folder = tmp_path_factory.mktemp("run")
    _tune(folder)
    return folder


def test_a_shorter_run_continues_to_the_end_of_the_longer(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "run")
    whole, rest = _tune(None, 3), _tune(copy, 3)
    assert equal.same(rest.model, whole.model)
    for row, expected in zip(rest.history, whole.history, strict=True):
        assert row | {"seconds": 0} == expected | {"seconds": 0}


@pytest.mark.slow
@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize(("dtype", "data_dtype"), [("bfloat16", "float32"), ("float64", "float64")])
def test_every_precision_and_option_resumes(key, tmp_path, capsys, dtype, data_dtype):
    small = finetuning.small_model().layers.values()
    net, readout = jax.tree.map(lambda w: w.astype(jnp.dtype(dtype)), tuple(small))
    model = Model(net=ft.low_rank(net, key, rank=1), readout=readout)
    data = finetuning.small_data(lengths=finetuning.LENGTHS)
    data = data._replace(
        inputs=data.inputs.astype(data_dtype), targets=data.targets.astype(data_dtype)
    )
    options = {
        "optimizer": optax.adam(0.02),
        "window": 3,
        "validation": data,
        "progress": True,
    }
    whole = _tune(None, 6, model=model, data=data, **options)
    part = _tune(tmp_path, 2, model=model, data=data, **options)
    assert capsys.readouterr().err == ""
    seen = []
    rest = _tune(tmp_path, 6, model=model, data=data, on_round=seen.append, **options)
    assert capsys.readouterr().err == f"{tmp_path}: resumes after step 4, 2 epochs done\n"
    assert equal.same(rest.model, whole.model)
    assert rest.history[:2] == part.history
    assert [row["step"] for row in rest.history] == [2, 4, 6, 8, 10, 12]
    assert [now.resumed for now in seen] == [True, False, False, False, False]
    assert seen[0].history == part.history
    losses = [row["validation_loss"] for row in rest.history]
    assert losses[-1] < losses[0]
    assert rest.step == 2 * (np.argmin(losses) + 1)
    before, after = ((net, readout), (rest.model.net, rest.model.readout))
    assert [w.dtype for w in jax.tree.leaves(after)] == [w.dtype for w in jax.tree.leaves(before)]
    # A finished run has no step left.
    again = _tune(tmp_path, 6, model=model, data=data, **options)
    assert equal.same(again.model, whole.model)
    assert again.history == rest.history


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": Model(net=cases.random_params(jax.random.key(0), 3, 2))}, r"other weights at "
         r"the start, model\.net\.kernel float32 \(3, 12\) instead of float32 \(3, 6\), .*, \d+ "
         "more differences: expected"),
        ({"model": finetuning.small_model(seed=5)}, "with other weights at the start: expected"),
        ({"data": finetuning.small_data(seed=1)}, "with other data: expected the same run, or an"),
        ({"key": jax.random.key(8)}, r"with another key \(of another seed\): expected the same"),
        ({"validation": finetuning.small_data()}, "with other validation data: expected the same"),
        ({"batch_size": 2}, "with batch_size 8 instead of 2: expected the same"),
        ({"trainable": "net.*"}, "with trainable net.kernel, .* instead of net.kernel, .*, optim"),
        ({"options": ft.RunOptions(0.5)}, "with options RunOptions.dropout=0.0, .* instead of"),
    ],
)  # fmt: skip
def test_a_checkpoint_of_another_run_is_refused_with_the_differences(folder, change, message):
    with pytest.raises(ValueError, match=f"checkpoint of step 1 is of another run, .*{message}"):
        _tune(folder, **change)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(OSError, match="File exists"):
        _tune(tmp_path / "run")


@pytest.mark.slow
def test_full_disk_leaves_the_last_good_checkpoint(tmp_path):
    # In place of a full disk: no file may grow beyond some bytes.
    script = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(finetuning.__file__).parent)!r})
import equal, finetuning
import jaxgru.finetune as ft

def tune(epochs):
    return finetuning.tune(
        finetuning.small_model(), finetuning.small_data(), ft.Epochs(epochs), batch_size=8,
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
assert equal.same(tune(1).model, first.model)
"""
    assert fresh.python("-c", script).startswith(
        f"{tmp_path}: the checkpoint of step 2 was not written, that of 1 is intact: "
    )


def test_a_damaged_checkpoint_is_named(tmp_path):
    _tune(tmp_path)
    (tmp_path / "1" / "notes" / "metadata").write_text("{")
    with pytest.raises(OSError, match="the checkpoint of step 1 cannot be read"):
        _tune(tmp_path)

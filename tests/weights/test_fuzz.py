"""Files changed at random are read as promised, and the judge of it finds what is not.

The files are the sound and the hostile ones. A change is by its number the same in every run;
``FUZZ_EXAMPLES=10000`` makes as many of each format. (Drawn by Hypothesis, changes were half as
various, and reached half as many errors.)
"""

import importlib
import json
import os
import pickle
import tempfile
import time
import warnings
from io import BytesIO
from pathlib import Path
from random import Random

import golden_keras_legacy as golden
import hostile
import judging
import mutations
import numpy as np
import pytest
from hostile import hdf5, messagepack, named_json, npz, onnx, safetensors, sound
from hostile import torch as torch_files

import jaxgru
from jaxgru._weights.results import LoadedGRU

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
FORMATS = sorted({table for table, _ in hostile.FILES})


def _golden(write):
    file = BytesIO()
    write(file)
    return file.getvalue()


def _sound(format):
    """Return files of a format that are read."""
    if format == "legacy":
        writers = (golden.keras_1, golden.keras_1_weights, golden.keras_2_1, golden.tensorflow_2)
        return [_golden(write) for write in writers]
    if format == "torch":
        objects = (sound.torch_arrays(), {"model": sound.torch_arrays(), "step": 3})
        pickles = [pickle.dumps(each, protocol) for each in objects for protocol in (2, 5)]
        return [torch_files.spoilt(), torch_files.stream(), *pickles]
    if format == "onnx":
        # Imported before reads are watched: it evaluates text.
        importlib.import_module("onnx.reference.ops._op_list")
        nets = [golden.random_net(i, reset_after=True, clip=3.0) for i in range(2)]
        both = jaxgru.to_onnx(jaxgru.Bidirectional(*nets))
        return [onnx.model(), both if isinstance(both, bytes) else both.SerializeToString()]
    return {
        "hdf5": lambda: [sound.keras_h5(), sound.keras_h5(**hdf5.LATEST)],
        "keras": lambda: [sound.keras()],
        "messagepack": lambda: [messagepack.gru()],
        "named_json": lambda: [
            named_json.weights(*([[0.5] * 3] * rows for rows in (3, 1, 2))),
            json.dumps({k: v.tolist() for k, v in sound.torch_arrays().items()}).encode(),
        ],
        "npz": lambda: [npz.savez(), sound.archive(sound.npz_entries(), npz.DEFLATED)],
        "others": lambda: [],
        "safetensors": lambda: [
            safetensors.file(*safetensors.good()), safetensors.file(*safetensors.others()),
        ],
    }[format]()  # fmt: skip


@pytest.mark.parametrize("format", FORMATS)
def test_changed_files(format, tmp_path):
    path = tmp_path / "changed"
    sounds = _sound(format)
    for content in sounds:
        path.write_bytes(content)
        assert judging.check_read(path)
        assert judging.check_whole(path)
    files = _hostile(format, tmp_path)
    loaded = 0
    for number in range(EXAMPLES):
        rng = Random(f"{format} {number}")
        content = rng.choice(sounds if sounds and rng.random() < 0.5 else files)
        path.write_bytes(mutations.changed(rng, content, rng.choice(files)))
        try:
            loaded += judging.check_read(path)
            judging.check_whole(path)
        except BaseException as error:
            error.add_note(f"change {number} of {format}")
            raise
    # Most changes spoil a file, and some must come as far as where arrays are.
    assert loaded < EXAMPLES / 2
    assert loaded or not sounds


def _hostile(format, folder):
    """Return the files of a table; large ones take long."""
    files = []
    for (table, _), row in hostile.FILES.items():
        if table == format:
            # An attack may put what it reaches for beside its file.
            own = Path(tempfile.mkdtemp(dir=folder))
            content = hostile.content_of(row, own)
            files += [content] * (len(content) < 2**15)
    return files


def raise_another_error(path):
    raise KeyError("weights")


def raise_of_several_lines(path):
    raise jaxgru.WeightsError(f"{path}: one\ntwo")


def raise_without_path(path):
    raise jaxgru.WeightsError("it is damaged")


def raise_without_words(path):
    raise jaxgru.WeightsError(f"{path}: ")


def hide_want_of_memory(path):
    try:
        np.ones(2**40)
    except MemoryError:
        raise jaxgru.WeightsError(f"{path}: it is damaged") from None


def warn(path):
    warnings.warn("look out", UserWarning, stacklevel=1)


def give_nothing(path):
    return {}


def give_unfit_net(path):
    first, second = (golden.random_net(0, reset_after=True, inputs=n) for n in (2, 3))
    return {"gru": LoadedGRU((first, second))}


def run_a_program(path):
    _hiding_errors(path, lambda: os.system("true"))


def read_another_file(path):
    _hiding_errors(path, lambda: Path("/etc/hostname").read_text())


def write_a_file(path):
    _hiding_errors(path, lambda: path.write_bytes(b""))


def evaluate_text(path):
    _hiding_errors(path, lambda: eval("1 + 1"))


def wait(path):
    _hiding_errors(path, lambda: [None for _ in iter(time.process_time, 0.0)])


def take_memory(path):
    _hiding_errors(path, lambda: bytearray(600 * 2**20))


def _hiding_errors(path, misdeed):
    try:
        misdeed()
    except Exception as error:
        raise jaxgru.WeightsError(f"{path}: it is damaged") from error


@pytest.mark.parametrize(
    ("reader", "error", "words"),
    [
        (raise_another_error, KeyError, "weights"),
        (raise_of_several_lines, AssertionError, "one line"),
        (raise_without_path, AssertionError, "without the path"),
        (raise_without_words, AssertionError, "is empty"),
        (hide_want_of_memory, MemoryError, None),
        (warn, UserWarning, "look out"),
        (give_nothing, AssertionError, "nothing was loaded"),
        (give_unfit_net, ValueError, "inputs"),
        (run_a_program, judging.Forbidden, "os.system"),
        (read_another_file, judging.Forbidden, "open with .*hostname"),
        (write_a_file, judging.Forbidden, "open with"),
        (evaluate_text, judging.Forbidden, "exec with"),
        (wait, judging.Forbidden, "processor time"),
        (take_memory, MemoryError, None),
    ],
)
def test_the_judge_finds(reader, error, words, tmp_path, monkeypatch):
    monkeypatch.setattr(judging, "CPU_SECONDS", 0.3)
    with pytest.raises(error, match=words):
        judging.check_read(tmp_path / "weights", reader)

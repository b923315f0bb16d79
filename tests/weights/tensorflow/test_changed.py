"""TensorFlow's files, changed at random, see tests/weights/test_fuzz.py."""

import os
from random import Random

import bundles
import judging
import mutations
import pytest
from tensorflow_files import case

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))
# The cases of each kind, and how the files of one are changed.
_KINDS = {
    "checkpoints": (
        ("keras2_checkpoint_chain", "keras2_weights_cells", "tf1_cudnn_compatible", "tf1_multi",
         "tf1_partitioned", "tf1_sharded"), bundles.changed),
    "saved models": (
        ("keras2_saved_cells", "keras2_saved_subclassed", "keras2_tf_save", "keras3_archive",
         "keras3_export_plain", "tf1_saved_model"), bundles.changed),
    "names of the latest": (
        ("keras2_weights_plain", "tf1_gru_cell"), bundles.with_another_latest),
    "frozen graphs": (("frozen_gru_cell", "frozen_keras"), None),
    "TensorFlow.js": (
        ("tfjs_before", "tfjs_chain", "tfjs_float16", "tfjs_library", "tfjs_uint16", "tfjs_uint8"),
        None),
}  # fmt: skip


@pytest.mark.parametrize("kind", _KINDS)
def test_changed_files(kind, tmp_path):
    names, change = _KINDS[kind]
    sounds = []
    for name in names:
        folder, _ = case(name, tmp_path)
        paths = [path for path in folder.rglob("*") if path.is_file() and "ckpt-2" not in path.name]
        sounds.append({str(p.relative_to(folder)): p.read_bytes() for p in paths})
    folder, loaded = tmp_path / "changed", 0
    (folder / "variables").mkdir(parents=True)
    for number in range(EXAMPLES):
        rng = Random(f"{kind} {number}")
        files = rng.choice(sounds)
        files = change(rng, files) if change else _changed(rng, files, rng.choice(sounds))
        for path in folder.rglob("*"):
            if path.is_file():
                path.unlink()
        for path, content in files.items():
            (folder / path).write_bytes(content)
        path = folder / "frozen.pb" if kind == "frozen graphs" else folder
        try:
            loaded += judging.check_read(path)
            judging.check_whole(path)
        except BaseException as error:
            error.add_note(f"change {number} of {kind}")
            raise
    assert 0 < loaded < EXAMPLES


def _changed(rng, files, others):
    """Return the files with one of them changed, mostly the largest."""
    largest = max(files, key=lambda name: len(files[name]))
    name = largest if rng.random() < 0.8 else rng.choice(sorted(files))
    other = rng.choice(sorted(others.values()))
    return files | {name: mutations.changed(rng, files[name], other)}

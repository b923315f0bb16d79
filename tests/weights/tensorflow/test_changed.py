"""Models of TensorFlow.js and frozen graphs, changed at random, see tests/weights/test_fuzz.py."""

import os
from random import Random

import judging
import mutations
import pytest
from tensorflow_files import case, cases

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "100"))


@pytest.mark.parametrize("kind", ["tfjs", "frozen_gru_cell"])
def test_changed_folders(kind, tmp_path):
    sounds = []
    for name in cases(kind):
        folder, _ = case(name, tmp_path)
        sounds.append({path.name: path.read_bytes() for path in folder.iterdir()})
    changed = tmp_path / "changed"
    changed.mkdir()
    loaded = 0
    for number in range(EXAMPLES):
        rng = Random(f"{kind} {number}")
        files = dict(rng.choice(sounds))
        largest = max(files, key=lambda name: len(files[name]))
        name = largest if rng.random() < 0.8 else rng.choice(sorted(files))
        other = rng.choice(sorted(rng.choice(sounds).values()))
        files[name] = mutations.changed(rng, files[name], other)
        for path in changed.iterdir():
            path.unlink()
        for path, content in files.items():
            (changed / path).write_bytes(content)
        try:
            loaded += judging.check_read(changed if kind == "tfjs" else changed / "frozen.pb")
        except BaseException as error:
            error.add_note(f"change {number} of {kind}")
            raise
    assert 0 < loaded < EXAMPLES

"""A missing library of fine-tuning is an error that names the extra; the rest needs none."""

import fresh
import pytest

pytest.importorskip("optax")


def test_missing_library_names_the_extra():
    script = """
import sys
sys.modules["optax"] = None
from jaxgru._cli.command import main
sys.stderr = sys.stdout
print(main(["finetune", "weights.npz", "data.npz", "-o", "tuned.npz"]))
try:
    import jaxgru.finetune
except ImportError as error:
    print(error)
"""
    missing = 'fine-tuning needs optax, which is not installed: pip install "jaxgru[finetune]"'
    assert fresh.python("-c", script) == f"jaxgru: error: {missing}\n2\n{missing}\n"


@pytest.mark.slow
def test_optional_libraries_are_not_needed_and_not_imported(tmp_path):
    script = f"""
import sys
import jaxgru, jaxgru._cli
print([name for name in ("jaxgru.finetune", "optax", "orbax", "tqdm") if name in sys.modules])
sys.modules["orbax.checkpoint"] = sys.modules["tqdm"] = sys.modules["matplotlib"] = None
import jax, numpy as np, jaxgru.finetune as ft
model = jaxgru.model.Model(net=jaxgru.init(jax.random.key(0), 3, 4))
data = ft.Sequences(np.ones((2, 3, 3), np.float32), np.ones((2, 3, 4), np.float32))
fit = lambda **options: ft.fit(
    model, data, ft.regression(), ft.Steps(1), key=jax.random.key(1), **options)
print(fit().stopped)
try:
    fit(checkpoint_dir={str(tmp_path / "run")!r})
except ImportError as error:
    print(error)
"""
    assert fresh.python("-c", script).splitlines() == [
        "[]",
        "steps",
        'keeping checkpoints needs orbax, which is not installed: pip install "jaxgru[finetune]"',
    ]

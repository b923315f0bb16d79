"""The trained weights and the notebook that the project grew from, for the tests that use them.

The weights are read from beside the repository: they are not part of it.
"""

from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).resolve().parents[3] / "shared" / "seed" / "GRUMatrices.npz"

needs_weights = pytest.mark.skipif(
    not PATH.is_file(), reason="the seed's weights are not beside the repository"
)

# The notebook's input, and its state after one step from zero, by each of the two equations.
X = (
    -0.005069427657872438,
    -0.1757027953863144,
    -0.9304834008216858,
    0.524120032787323,
    0.1267850697040558,
    0.1844479888677597,
)
H_KERAS = (0.01738607, -0.01894956, 0.21606944, -0.08369619, -0.02561227, 0.03149648)
H_NOTEBOOK = (0.47965408, -0.34678561, 0.27300359, -0.18528792, -0.26177192, -0.23279142)


def notebook_step(path, x, h):
    """Return one step as the notebook computes it from a file: NumPy alone, in float64.

    The reset gate is applied as the notebook intends, each column of the candidate's recurrent
    kernel times its unit's gate; its own loop keeps the last column only, which shows for h != 0.
    """
    with np.load(path, mmap_mode=None, allow_pickle=False) as matrices:
        w, u, biases = (
            matrices[key].astype(np.float64) for key in ("wMatrix", "uMatrix", "biases")
        )
    units = u.shape[0]
    blocks = [slice(start, start + units) for start in (0, units, 2 * units)]
    (wz, wr, wh), (uz, ur, uh) = ([matrix[:, block] for block in blocks] for matrix in (w, u))
    z, r = (
        1 / (1 + np.exp(-(x @ wg + h @ ug + biases[0, block] + biases[1, block])))
        for wg, ug, block in ((wz, uz, blocks[0]), (wr, ur, blocks[1]))
    )
    n = np.tanh(x @ wh + h @ (uh * r) + biases[0, blocks[2]] + biases[1, blocks[2]])
    return z * n + (1 - z) * h

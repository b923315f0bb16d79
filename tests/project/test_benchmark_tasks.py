"""The benchmark of learning: its tasks are what they say, and it counts as it says."""

import numpy as np
import pytest

pytest.importorskip("optax")
pytestmark = [
    pytest.mark.slow,
    # Other libraries warn of what is theirs, and some do not know strict promotion.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("default_promotion", "benchmarks_on_path"),
]


def test_digits_are_told_apart_by_their_nearest_mean():
    from benchmarks.learning.digits import CLASSES, SIDE, draw_digits

    xs, digits = draw_digits(np.random.default_rng(0), 2000)
    assert xs.shape == (2000, SIDE * SIDE, 1)
    assert xs.dtype == np.float32
    flat = xs[..., 0]
    means = np.stack([flat[:1000][digits[:1000] == digit].mean(axis=0) for digit in range(CLASSES)])
    distances = ((flat[1000:, None] - means) ** 2).sum(axis=-1)
    right = (distances.argmin(axis=1) == digits[1000:]).mean()
    # By chance 0.1; not 1 either, or they would not be drawn each in its own way.
    assert 0.4 < right < 0.95


def test_copies_can_be_read_off_the_input():
    from benchmarks.learning.copying import DELAY, SHOWN, SYMBOLS, TIME, draw_copies

    xs, symbols = draw_copies(np.random.default_rng(0), 50)
    assert xs.shape == (50, TIME, SYMBOLS + 2)
    np.testing.assert_array_equal(xs.sum(axis=-1), 1)
    codes = xs.argmax(axis=-1)
    np.testing.assert_array_equal(codes[:, :SHOWN], symbols)
    calls = np.argwhere(codes == SYMBOLS + 1)
    np.testing.assert_array_equal(calls[:, 1], SHOWN + DELAY)
    assert len(calls) == 50


def test_the_target_is_reached_at_the_end_of_the_first_block_at_it():
    from benchmarks.learning.race import Run
    from benchmarks.learning.task import BLOCK

    run = Run(losses=[2.0, 0.5, 0.9, 0.1], seconds=[1.0, 2.5, 3.5, 4.0], compile_seconds=0.0)
    assert run.steps_to(0.5) == 2 * BLOCK
    assert run.seconds_to(0.5) == 2.5
    assert run.steps_to(0.05) == run.seconds_to(0.05) == float("inf")


@pytest.mark.parametrize("library", ["flax nnx", "keras-jax"])
def test_libraries_learn_alike(library):
    from benchmarks import contenders
    from benchmarks.learning import task
    from benchmarks.learning.race import race

    missing = contenders.missing_package(library)
    if missing is not None:
        pytest.skip(f"{missing} is not installed")
    small = task.TASKS[1]._replace(units=8, batch=4, steps=task.BLOCK)
    entries = [contenders.enter(name)[0] for name in ("jaxgru", library)]
    runs = race(small, entries, seed=0)
    (ours,), (theirs,) = (run.losses for run in runs.values())
    # From the same weights, on the same batches; one rounds otherwise than the other, and Flax
    # has no recurrent bias for its candidate, which 25 steps of Adam move by 0.1 at most.
    assert theirs == pytest.approx(ours, abs=1e-5 if library == "keras-jax" else 0.01)
    assert ours < 2.2  # log(8) = 2.08 where it knows nothing

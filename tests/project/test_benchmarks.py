"""The benchmarks compute what they time, learn what they say, and their checks can tell.

The oracles are the benchmarks' own: a float64 NumPy loop, and its central differences. How fast
anything is, is no test's business.
"""

import importlib
import pkgutil

import jax
import numpy as np
import pytest

pytest.importorskip("optax")

import benchmarks
from benchmarks import contenders, features, streaming
from benchmarks.check import check
from benchmarks.learning import copying, digits
from benchmarks.learning.race import Run, race
from benchmarks.learning.task import BLOCK, TASKS
from benchmarks.problem import Shape
from benchmarks.steppers import STEPPERS

pytestmark = [
    pytest.mark.slow,
    # Other libraries warn of what is theirs, and some do not know strict promotion.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("default_promotion"),
]


@pytest.mark.parametrize("library", contenders.LIBRARIES)
def test_contender_computes_the_gru_and_its_gradient(library):
    # As its users call it: what it is entered with beside that, the benchmark checks each time.
    check(_entry(library))


@pytest.mark.parametrize("kind", features.KINDS)
def test_features_are_what_they_are_called(kind):
    # Long enough to have resets and padding at this seed.
    programs = features.compiled(Shape(batch=4, time=40, inputs=6, units=8), kind)
    results = {name: jax.tree.leaves(program.call()) for name, program in programs.items()}
    plain = results.pop(features.PLAIN)[0]
    for name, by_hand in features.BY_HAND.items():
        for one, other in zip(results.pop(name), results.pop(by_hand), strict=True):
            # Sums of a few hundred terms in another order.
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    last = results.pop("last state alone")[0]
    if kind == "forward":
        np.testing.assert_array_equal(last, plain[:, -1])
    for name, (found, *_) in results.items():
        assert not np.allclose(found, plain), name


@pytest.mark.parametrize(
    "name",
    [
        name
        for _, name, is_package in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")
        if not is_package and "contenders" not in name
    ],
)
def test_every_benchmark_is_imported(name):
    importlib.import_module(name)


@pytest.mark.parametrize("name", STEPPERS)
def test_a_stepper_goes_on_from_its_last_call(name):
    packages, stepper = STEPPERS[name]
    for package in packages:
        pytest.importorskip(package)
    for batch, time in ((1, 1), (1, 3), (3, 1)):
        streaming.checked(name, stepper, Shape(batch, time, 4, 5))  # with the float64 loop


def test_a_stepper_that_begins_anew_is_found():
    def anew(problem):
        _, stepper = STEPPERS["jaxgru.Stream"]
        return (lambda x: stepper(problem)[0](x)), stepper(problem)[1]

    with pytest.raises(ArithmeticError, match="anew: states off by"):
        streaming.checked("anew", anew, Shape(1, 2, 4, 5))


_WRONG = {
    "states": ("forward", lambda ys: -ys),
    # One leaf of four: each must count.
    "gradient of the weights": (
        "train",
        lambda found: (found[0], ([*found[1][0][:-1], 2 * found[1][0][-1]], found[1][1])),
    ),
    "gradient of the inputs": ("train", lambda found: (found[0], (found[1][0], 2 * found[1][1]))),
}


@pytest.mark.parametrize("wrong", _WRONG)
def test_the_check_finds_what_is_wrong(monkeypatch, wrong):
    entry = _entry("jaxgru")
    kind, alter = _WRONG[wrong]
    right = getattr(entry.contender, kind)
    altered = lambda _, problem: _altered(right(problem), alter)  # noqa: E731
    monkeypatch.setattr(type(entry.contender), kind, altered)
    with pytest.raises(ArithmeticError, match=f"jaxgru: {wrong} off by"):
        check(entry)


def test_digits_are_told_apart_by_their_nearest_mean():
    xs, classes = digits.draw_digits(np.random.default_rng(0), 2000)
    assert xs.shape == (2000, digits.SIDE**2, 1)
    assert xs.dtype == np.float32
    shown, asked = np.split(xs[..., 0], 2)
    means = [shown[classes[:1000] == digit].mean(axis=0) for digit in range(digits.CLASSES)]
    distances = ((asked[:, None] - np.stack(means)) ** 2).sum(axis=-1)
    right = (distances.argmin(axis=1) == classes[1000:]).mean()
    # By chance 0.1; not 1 either, or they would not be drawn each in its own way.
    assert 0.4 < right < 0.95


def test_copies_can_be_read_off_the_input():
    xs, symbols = copying.draw_copies(np.random.default_rng(0), 50)
    assert xs.shape == (50, copying.TIME, copying.SYMBOLS + 2)
    np.testing.assert_array_equal(xs.sum(axis=-1), 1)
    codes = xs.argmax(axis=-1)
    np.testing.assert_array_equal(codes[:, : copying.SHOWN], symbols)
    calls = np.argwhere(codes == copying.SYMBOLS + 1)
    np.testing.assert_array_equal(calls[:, 0], range(50))
    np.testing.assert_array_equal(calls[:, 1], copying.SHOWN + copying.DELAY)


def test_the_target_is_reached_at_the_end_of_the_first_block_at_it():
    run = Run(losses=[2.0, 0.5, 0.9, 0.1], seconds=[1.0, 2.5, 3.5, 4.0], compile_seconds=0.0)
    assert (run.steps_to(0.5), run.seconds_to(0.5)) == (2 * BLOCK, 2.5)
    assert run.steps_to(0.05) == run.seconds_to(0.05) == float("inf")


@pytest.mark.parametrize("library", ["flax nnx", "keras-jax"])
def test_libraries_learn_alike(library):
    small = TASKS[1]._replace(units=8, batch=4, steps=BLOCK)
    runs = race(small, [_entry("jaxgru"), _entry(library)], seed=0)
    (ours,), (theirs,) = (run.losses for run in runs.values())
    # From the same weights, on the same batches; one rounds otherwise than the other, and Flax
    # has no recurrent bias for its candidate, which 25 steps of Adam move by 0.1 at most.
    assert theirs == pytest.approx(ours, abs=1e-5 if library == "keras-jax" else 0.01)
    assert ours < 2.2  # log(8) = 2.08 where it knows nothing


def _entry(library):
    """Return a library as its users call it; skip the test where it is not installed."""
    missing = contenders.missing_package(library)
    if missing is not None:
        pytest.skip(f"{missing} is not installed")
    return contenders.enter(library)[0]


def _altered(program, alter):
    return program._replace(call=lambda: alter(program.call()))

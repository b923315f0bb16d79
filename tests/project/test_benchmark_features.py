"""The benchmark's features are what the equations give, and its check can tell."""

import functools

import jax
import pytest

pytestmark = [
    pytest.mark.slow,
    # Other libraries warn of what is theirs, and some do not know strict promotion.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("default_promotion", "benchmarks_on_path"),
]


@functools.cache
def _entered(library):
    """Return a small case and a library's programs for it, compiled once for all tests."""
    from benchmarks.featured import enter
    from benchmarks.featured.case import draw_case
    from benchmarks.problem import Shape

    # Long enough to have resets and padding at this seed.
    case = draw_case(Shape(batch=4, time=40, inputs=6, units=8))
    return case, enter(library, case)


@pytest.mark.parametrize("library", ["jaxgru", "keras-jax", "torch"])
def test_features_are_what_they_are_called(library):
    from benchmarks.featured import LIBRARIES, expected

    assert library in LIBRARIES
    pytest.importorskip({"keras-jax": "keras"}.get(library, library))
    case, featured = _entered(library)
    expected.check_features(library, featured, case)


def test_jaxgru_has_every_feature():
    from benchmarks.featured.case import FEATURES, KINDS

    rows = _entered("jaxgru")[1].rows
    assert tuple(rows) == FEATURES
    assert all(tuple(programs) == KINDS for programs in rows.values())


@pytest.mark.parametrize("kind", ["forward", "train"])
def test_the_check_finds_each_feature_that_is_wrong(kind):
    from benchmarks.featured import expected

    case, featured = _entered("jaxgru")
    for feature, programs in featured.rows.items():
        wrong = programs[kind]._replace(call=_off_by_a_hundredth(programs[kind].call))
        altered = featured._replace(rows={feature: {**programs, kind: wrong}})
        what = "states" if kind == "forward" else "loss"
        with pytest.raises(ArithmeticError, match=f"jaxgru, {feature}: {what} off by"):
            expected.check_features("jaxgru", altered, case)


def _off_by_a_hundredth(call):
    return lambda: jax.tree.map(lambda leaf: 1.01 * leaf, call())

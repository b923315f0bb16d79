"""The benchmark's contenders compute the GRU, and the gradient, that they are timed for.

The oracle is the benchmark's own: a float64 NumPy loop, and its central differences. How fast
they are is no test's business.
"""

import jax
import pytest

LIBRARIES = (
    "jaxgru", "plain scan", "flax nnx", "flax linen", "equinox", "haiku", "keras-jax", "torch",
    "onnxruntime",
)  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    # Other libraries warn of what is theirs, and some do not know strict promotion.
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("default_promotion", "benchmarks_on_path"),
]


def test_every_contender_is_named_here():
    from benchmarks import contenders

    assert contenders.LIBRARIES == LIBRARIES


@pytest.mark.parametrize("library", LIBRARIES)
def test_contender_computes_the_gru_and_its_gradient(library):
    from benchmarks import contenders
    from benchmarks.check import check

    missing = contenders.missing_package(library)
    if missing is not None:
        pytest.skip(f"{missing} is not installed")
    # As its users call it: what it is entered with beside that, the benchmark checks each time.
    check(contenders.enter(library)[0])


@pytest.mark.parametrize("wrong", ["states", "gradient of the weights", "gradient of the inputs"])
def test_the_check_finds_what_is_wrong(wrong):
    from benchmarks import contenders
    from benchmarks.check import check

    entry = contenders.enter("jaxgru")[0]
    right = entry.contender

    class Wrong(type(right)):
        def forward(self, problem):
            program = right.forward(problem)
            return _altered(program, lambda ys: -ys) if wrong == "states" else program

        def train(self, problem):
            def alter(result):
                loss, (of_weights, of_inputs) = result
                if wrong == "gradient of the inputs":
                    return loss, (of_weights, 2 * of_inputs)
                # One leaf of four: each must count.
                return loss, ([*of_weights[:-1], 2 * of_weights[-1]], of_inputs)

            return _altered(right.train(problem), alter)

    with pytest.raises(ArithmeticError, match=f"jaxgru: {wrong} off by"):
        check(entry._replace(contender=Wrong()))


def _altered(program, alter):
    return program._replace(call=lambda: alter(jax.tree.map(jax.numpy.asarray, program.call())))

"""The native loops: when they serve, what a wrong call of them ends in, and their exact bits.

Values and derivatives are in test_matrix.py and test_linear.py; native/tests has the loops alone,
under sanitizers. The oracle of the errors here is the float64 NumPy loop.
"""

import concurrent.futures

import cases
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest
from jax import export

import jaxgru
from jaxgru._recurrence import implementation, library, native, scan

_INSTALLED = pytest.mark.skipif(
    library.native().reason is not None, reason=str(library.native().reason)
)


def _case(key, rows=3, time=7, inputs=4, units=9, dtype=jnp.float32, **variant):
    params = cases.random_params(key, inputs, units, dtype=dtype, **variant)
    return params, cases.random_inputs(key, (rows, time, inputs), dtype)


def _is_native(function, *arguments):
    return "jaxgru_forward" in jax.jit(function).lower(*arguments).as_text()


def test_without_it_auto_is_a_scan_and_native_an_error(key, monkeypatch):
    missing = library.Native(None, 0, "built with JAXGRU_BUILD_NATIVE=0")
    monkeypatch.setattr(implementation, "native", lambda: missing)
    case = _case(key, units=10)  # of no other test, so nothing compiled is used again
    assert not _is_native(jaxgru.gru, *case)
    message = (
        r"implementation is 'native': expected .* available: built with JAXGRU_BUILD_NATIVE=0$"
    )
    with pytest.raises(ValueError, match=message):
        jaxgru.gru(*case, implementation="native")


@_INSTALLED
@pytest.mark.parametrize(
    ("variant", "options", "reason"),
    [
        ({"activation": "relu"}, {}, "expected the activations tanh and sigmoid, .* relu and"),
        ({"clip": 3.0}, {}, "expected no clip, but the layer has 3.0"),
        ({}, {"precision": "BF16_BF16_F32"}, "expected full precision of products"),
    ],
)
def test_what_it_cannot_serve_is_a_scan_by_default_and_an_error_if_asked(
    key, variant, options, reason
):
    case = _case(key, **variant)
    assert not _is_native(lambda *case: jaxgru.gru(*case, **options), *case)
    with pytest.raises(ValueError, match=f"^implementation is 'native': {reason}"):
        jaxgru.gru(*case, implementation="native", **options)


def _exported(function, *arguments):
    return export.export(jax.jit(function))(*arguments).mlir_module()


def _for_cuda(function, *arguments):
    traced = jax.jit(function).trace(*arguments)
    return traced.lower(lowering_platforms=("cuda",)).as_text()


def _mapped(function, params, xs):
    stacked = jax.tree.map(lambda leaf: jnp.stack([leaf, leaf]), params)
    return jax.jit(jax.vmap(function, in_axes=(0, None))).lower(stacked, xs).as_text()


def _mapped_gradient(function, params, xs):
    return _mapped(jax.grad(lambda params, xs: function(params, xs)[1].sum()), params, xs)


def _on_a_mesh(function, *arguments):
    with jax.set_mesh(jax.make_mesh((1,), ("d",), (jax.sharding.AxisType.Auto,))):
        return jax.jit(function).lower(*arguments).as_text()


def _of_pmap(function, params, xs):
    return jax.pmap(function, in_axes=(None, 0)).lower(params, xs[None]).as_text()


_WITHOUT_MESH = "expected a call without a mesh, and outside jax.pmap and jax.shard_map"
_ELSEWHERE = {
    "exported": (
        _exported,
        "expected a program for this process, but jax.export makes one for others",
    ),
    "for cuda": (_for_cuda, "expected the platform cpu, but the program is for cuda"),
    "mapped": (_mapped, "expected weights without a mapped axis, but jax.vmap maps them"),
    "gradient": (
        _mapped_gradient,
        "expected weights without a mapped axis, but jax.vmap maps them",
    ),
    "mesh": (_on_a_mesh, _WITHOUT_MESH),
    "pmap": (_of_pmap, _WITHOUT_MESH),
}


@_INSTALLED
@pytest.mark.parametrize("where", _ELSEWHERE)
def test_where_it_cannot_serve_is_a_scan_by_default_and_an_error_if_asked(where, key):
    text, reason = _ELSEWHERE[where]
    case = _case(key)
    assert _is_native(jaxgru.gru, *case)
    assert "jaxgru_" not in text(jaxgru.gru, *case)
    with pytest.raises(ValueError, match="implementation is 'native'") as caught:
        text(lambda *case: jaxgru.gru(*case, implementation="native"), *case)
    assert str(caught.value) == f"implementation is 'native': {reason}"


@_INSTALLED
def test_several_devices_are_an_error_if_asked():
    script = """
import jax, jax.numpy as jnp, jaxgru
params, xs = jaxgru.init(jax.random.key(0), 3, 4), jnp.ones((8, 5, 3))
def run(params, xs, given): return jaxgru.gru(params, xs, implementation=given)[0]
assert jax.pmap(run, in_axes=(None, 0, None), static_broadcasted_argnums=2)(
    params, xs, "auto").shape == xs.shape[:2] + (4,)
try:
    run(params, xs, "native")
except ValueError as error:
    print(error)
"""
    printed = fresh.python("-W", "ignore", "-c", script, **fresh.EIGHT_DEVICES)
    assert printed == "implementation is 'native': expected a single device, but JAX has 8\n"


@_INSTALLED
def test_it_serves_without_jit(key, monkeypatch):
    case = _case(key)
    expected, _ = jaxgru.gru(*case, implementation="native")
    monkeypatch.setattr(scan, "forward", None)
    with jax.disable_jit():
        found, _ = jaxgru.gru(*case, implementation="native")
    np.testing.assert_array_equal(found, expected)


@_INSTALLED
@pytest.mark.parametrize("reset_after", [True, False])
def test_error_is_at_most_twice_that_of_a_scan(key, reset_after):
    params, xs = _case(key, rows=5, time=200, inputs=20, units=50, reset_after=reset_after)
    expected, _ = oracle.gru_batch(params, xs)
    errors = {
        given: np.abs(np.asarray(jaxgru.gru(params, xs, implementation=given)[0]) - expected).max()
        for given in ("scan", "native")
    }
    assert errors["native"] <= 2 * errors["scan"]


@_INSTALLED
@pytest.mark.parametrize("reset_after", [True, False])
def test_a_sequence_alone_has_the_bits_of_the_batch(key, reset_after):
    params, xs = _case(key, rows=7, units=21, reset_after=reset_after)
    together, _ = jaxgru.gru(params, xs, implementation="native")
    for row, ys in zip(xs, together, strict=True):
        alone, _ = jaxgru.gru(params, row, implementation="native")
        np.testing.assert_array_equal(alone, ys)


@_INSTALLED
@pytest.mark.parametrize("reset_after", [True, False])
def test_few_steps_have_the_bits_of_many(key, reset_after):
    # Up to 16 steps read matrices of whole vectors unpacked.
    params, xs = _case(key, rows=1, time=40, units=64, reset_after=reset_after)
    together, _ = jaxgru.gru(params, xs, implementation="native")
    # All of these are the full precision, in which a CPU computes.
    h, highest = None, jax.lax.Precision.HIGHEST
    for begin, end, precision in ((0, 1, None), (1, 17, highest), (17, 40, ("high", "high"))):
        options = {"precision": precision, "implementation": "native"}
        ys, h = jaxgru.gru(params, xs[:, begin:end], h, **options)
        np.testing.assert_array_equal(ys, together[:, begin:end])


@_INSTALLED
def test_calls_at_once_have_the_bits_of_one(key):
    # Large enough that each call asks for a second thread.
    params, xs = _case(key, rows=16, time=60, inputs=30, units=64)
    run = jax.jit(lambda xs: jaxgru.gru(params, xs, implementation="native")[0])
    expected = np.asarray(run(xs))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: np.asarray(run(xs)), range(40)):
            np.testing.assert_array_equal(found, expected)


@_INSTALLED
@pytest.mark.slow
def test_bits_do_not_depend_on_the_number_of_threads():
    script = """
import hashlib, jax, jax.numpy as jnp, jaxgru
from jaxgru._recurrence import library
params = jaxgru.init(jax.random.key(0), 30, 64)
digest = hashlib.sha256()
for rows, time in ((1, 300), (40, 20)):
    xs = jax.random.normal(jax.random.key(1), (rows, time, 30))
    loss = lambda params, xs: (jaxgru.gru(params, xs, implementation="native")[0] ** 2).sum()
    for leaf in jax.tree.leaves(jax.jit(jax.value_and_grad(loss))(params, xs)):
        digest.update(leaf.tobytes())
print(library.native().threads, digest.hexdigest())
"""
    printed = [fresh.python("-c", script, JAXGRU_NUM_THREADS=str(n)).split() for n in (1, 2)]
    assert printed[0][0] == "1"
    assert printed[0][1] == printed[1][1]


@_INSTALLED
def test_a_call_of_wrong_sizes_is_an_error_and_no_crash():
    sequence, state = jnp.zeros((3, 2, 4)), jnp.zeros((2, 4))
    absent = None
    coefficients = [sequence] * 4

    def call(*operands):
        results = [state.shape, sequence.shape]
        options = {"reverse": False}
        return native._call("jaxgru_linear", list(operands), results, state.dtype, 0, **options)

    rest = [sequence, state, absent, absent, absent]
    call(*coefficients, absent, jnp.zeros((12, 4)), *rest)
    for wrong, message in [
        ([*coefficients, absent, jnp.zeros((12, 5)), *rest], "transposed_kernel: expected shape"),
        ([*coefficients, absent, jnp.zeros((12, 4)), sequence, state], "factors is missing"),
        ([state, *coefficients[1:], absent, jnp.zeros((12, 4)), *rest], "z: expected 3 axes"),
        ([jnp.zeros((0, 2, 4))] * 4 + [absent, jnp.zeros((12, 4)), *rest], "sequence: expected"),
        ([jnp.zeros((3, 2, 4), jnp.int32), *coefficients[1:], *rest], "expected float32 or"),
    ]:
        with pytest.raises((ValueError, jax.errors.JaxRuntimeError), match=message):
            jax.block_until_ready(call(*wrong))


@_INSTALLED
@pytest.mark.slow
@pytest.mark.parametrize("inner", ["of xs, with the gates", "of the weights, the last state alone"])
def test_second_derivatives_through_a_scan_of_checkpoints(key, x64, inner):
    # JAX drops the custom rule there, and differentiates the primitive. The oracle is the scan.
    params, parts = _case(key, rows=4, time=6, dtype=jnp.float64)
    xs, weights = parts.reshape(2, 2, 6, 4), cases.random_inputs(key, (2, 9), jnp.float64)
    of_xs = inner.startswith("of xs")

    def second(implementation):
        @jax.checkpoint
        def part(h, at):
            xs, weights = at
            ys, h = jaxgru.gru(params, xs, h, return_sequences=of_xs, implementation=implementation)
            return h, (ys @ jnp.sin(weights)).sum()

        def loss(xs, weights):
            return jax.lax.scan(part, jnp.ones((2, 9)), (xs, weights))[1].sum()

        def slope(xs):
            gradient = jax.grad(loss, argnums=0 if of_xs else 1)(xs, weights)
            return (gradient * (xs if of_xs else weights)).sum()

        return jax.jit(jax.grad(slope))(xs)

    # Double precision: the same sums in another order.
    np.testing.assert_allclose(second("native"), second("scan"), rtol=1e-11, atol=1e-12)

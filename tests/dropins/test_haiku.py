"""``jaxgru.haiku`` in place of Haiku's unroll. The oracle is Haiku."""

import jax
import jax.numpy as jnp
import live_params
import pytest
from compared import assert_alike, assert_no_worse, assert_same_gradients, weighted

import jaxgru

hk = pytest.importorskip("haiku")
ours = pytest.importorskip("jaxgru.haiku")

pytestmark = [
    pytest.mark.live,
    pytest.mark.usefixtures("default_promotion"),
]

BATCH, TIME, INPUTS, UNITS = 3, 7, 5, 6


def transformed(unrolled, core=None, **options):
    """Return a function of inputs and a first state, of an unroll with a core of its own."""
    core = core or (lambda: hk.GRU(UNITS))
    return hk.without_apply_rng(hk.transform(lambda xs, h: unrolled(core(), xs, h, **options)))


def both(key, *arguments, core=None, **options):
    """Return the two functions with parameters, and the parameters, drawn at random."""
    runs = [transformed(u, core, **options) for u in (ours.dynamic_unroll, hk.dynamic_unroll)]
    first = [run.init(jax.random.key(0), *arguments) for run in runs]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, *first))
    return [run.apply for run in runs], live_params.random_like(key, first[0])


def reset_core():
    return ours.ResetCore(hk.GRU(UNITS))


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (TIME, BATCH, INPUTS))


@pytest.fixture
def state(key):
    return jax.random.normal(key, (BATCH, UNITS))


@pytest.mark.parametrize(
    "options",
    [{}, {"reverse": True}, {"return_all_states": True}, {"time_major": False}, {"unroll": 2},
     {"time_major": False, "reverse": True, "return_all_states": True}],
)  # fmt: skip
@pytest.mark.parametrize("has_resets", [False, True])
def test_outputs_and_gradients_are_those_of_haiku(has_resets, options, key, xs, state):
    flags = jax.random.bernoulli(key, 0.4, (TIME, BATCH))
    if not options.get("time_major", True):
        xs, flags = xs.swapaxes(0, 1), flags.swapaxes(0, 1)
    inputs = (xs, flags) if has_resets else xs
    runs, params = both(key, inputs, state, core=reset_core if has_resets else None, **options)
    assert_alike(*(run(params, inputs, state) for run in runs))
    gradients = [
        jax.grad(lambda p, h, run=run: weighted(run(p, inputs, h)), (0, 1))(params, state)
        for run in runs
    ]
    assert_same_gradients(*gradients)


@pytest.mark.parametrize("flags", [jnp.float32, jnp.int32])
def test_flags_may_be_numbers_and_one_for_the_batch(flags, key, xs, state):
    by_step = (jnp.arange(TIME) % 3 == 1).astype(flags)
    for resets in (by_step, jnp.broadcast_to(by_step[:, None], (TIME, BATCH))):
        runs, params = both(key, (xs, resets), state, core=reset_core)
        assert_alike(*(run(params, (xs, resets), state) for run in runs))


@pytest.mark.parametrize("time", [1, 4])
def test_no_batch_and_one_step(time, key, xs, state):
    runs, params = both(key, xs[:time, 0], state[0])
    assert_alike(*(run(params, xs[:time, 0], state[0]) for run in runs))
    pair = xs[:time, 0], jnp.arange(time) == 2
    runs, params = both(key, pair, state[0], core=reset_core)
    assert_alike(*(run(params, pair, state[0]) for run in runs))


def test_no_step_gives_the_first_state(key, xs, state):
    (run, _), params = both(key, xs, state)
    ys, last = run(params, xs[:0], state)
    assert jnp.array_equal(last, state)
    assert ys.shape == (0, BATCH, UNITS)


def test_one_step_at_a_time_is_the_whole(key, xs, state):
    (run, _), params = both(key, xs, state)
    whole, _ = run(params, xs, state)
    steps = []
    for t in range(TIME):
        y, state = run(params, xs[t : t + 1], state)
        steps.append(y)
    assert_alike(jnp.concatenate(steps), whole)


def test_half_precision_has_the_type_of_haiku_and_no_larger_error(key, xs, state):
    xs, state = xs.astype(jnp.bfloat16), jnp.zeros_like(state, jnp.bfloat16)
    runs, params = both(key, xs, state)
    found, expected = (run(params, xs, state)[0].swapaxes(0, 1) for run in runs)
    assert_no_worse(found, expected, jaxgru.from_haiku(params), xs.swapaxes(0, 1))


def test_a_getter_of_parameters_is_asked(key, xs, state):
    def halve(next_getter, value, context):
        return 0.5 * next_getter(value)

    def within(unroll):
        def run(core, xs, h):
            with hk.custom_getter(halve):
                return unroll(core, xs, h)

        return run

    runs = [transformed(within(u)) for u in (ours.dynamic_unroll, hk.dynamic_unroll)]
    params = live_params.random_like(key, runs[0].init(jax.random.key(0), xs, state))
    assert_alike(*(run.apply(params, xs, state) for run in runs))


def _of_single_units(xs):
    return xs, jnp.ones((TIME, BATCH, UNITS), bool)


HANDED_OVER = {
    "another core": (lambda: hk.VanillaRNN(UNITS), lambda xs: xs, "the core is a VanillaRNN"),
    "single units": (reset_core, _of_single_units, "the flags are not"),
}


@pytest.mark.parametrize("case", HANDED_OVER)
def test_what_jaxgru_lacks_runs_in_haiku_with_a_warning(case, key, xs, state):
    core, alter, reason = HANDED_OVER[case]
    mine, theirs = (transformed(u, core) for u in (ours.dynamic_unroll, hk.dynamic_unroll))
    params = theirs.init(jax.random.key(0), alter(xs), state)
    with pytest.warns(UserWarning, match=f"^haiku.dynamic_unroll runs .* own loop: {reason}"):
        found = mine.apply(params, alter(xs), state)
    assert_alike(found, theirs.apply(params, alter(xs), state), atol=0)


@pytest.mark.parametrize("shape", [(TIME, 1), (TIME, BATCH - 1), (TIME, BATCH, 1), ()])
def test_flags_of_another_shape_are_refused_by_haiku(shape, xs, state):
    run = transformed(ours.dynamic_unroll, reset_core)
    params = run.init(jax.random.key(0), (xs, jnp.ones((TIME, BATCH), bool)), state)
    with (
        pytest.warns(UserWarning, match="the flags are not"),
        pytest.raises((ValueError, IndexError), match=r"not compatible|out of range"),
    ):
        run.apply(params, (xs, jnp.ones(shape, bool)), state)


def test_an_interceptor_is_not_left_out(key, xs, state):
    def halve(method, args, kwargs, context):
        found = method(*args, **kwargs)
        is_cell = isinstance(context.module, hk.GRU) and context.method_name == "__call__"
        return jax.tree.map(lambda x: 0.5 * x, found) if is_cell else found

    def within(unroll):
        def run(core, xs, h):
            with hk.intercept_methods(halve):
                return unroll(core, xs, h)

        return run

    runs = [transformed(within(u)) for u in (ours.dynamic_unroll, hk.dynamic_unroll)]
    params = live_params.random_like(key, runs[1].init(jax.random.key(0), xs, state))
    with pytest.warns(UserWarning, match="a method interceptor is active"):
        assert_alike(*(run.apply(params, xs, state) for run in runs), atol=0)


def test_any_function_is_a_core_outside_of_a_transformed_function():
    with pytest.warns(UserWarning, match="the core is a function"):
        ys, last = ours.dynamic_unroll(lambda x, s: (x + 1, s + 1), jnp.arange(8), 0)
    assert jnp.array_equal(ys, jnp.arange(9)[1:])
    assert last == 8

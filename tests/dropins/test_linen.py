"""``jaxgru.linen`` in place of Flax's modules. The oracle is Flax."""

import jax
import jax.numpy as jnp
import live_params
import numpy as np
import pytest
from compared import assert_alike, assert_no_worse, assert_same_gradients, weighted

import jaxgru

nn = pytest.importorskip("flax.linen")
linen = pytest.importorskip("jaxgru.linen")

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

BATCH, TIME, INPUTS, UNITS = 3, 7, 5, 6
LENGTHS = jnp.array([3, 7, 1])
CALLS = {
    "outputs alone": {},
    "carry": {"return_carry": True},
    "first carry": {"return_carry": True, "initial_carry": jnp.full((BATCH, UNITS), 0.3)},
    "reverse": {"return_carry": True, "reverse": True},
    "reverse, order kept": {"return_carry": True, "reverse": True, "keep_order": True},
    "lengths": {"return_carry": True, "seq_lengths": LENGTHS},
    "lengths, outputs alone": {"seq_lengths": LENGTHS},
    "lengths, reverse": {"return_carry": True, "seq_lengths": LENGTHS, "reverse": True},
    "lengths, reverse, order kept": {
        "return_carry": True, "seq_lengths": LENGTHS, "reverse": True, "keep_order": True,
    },
    "time first": {"return_carry": True, "time_major": True},
    "time first, lengths, reverse": {
        "return_carry": True, "time_major": True, "seq_lengths": LENGTHS, "reverse": True,
        "keep_order": True,
    },
}  # fmt: skip
ASSUMED = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}


def drawn(key, module, *arguments, **options):
    """Return variables of a module with random numbers, biases included."""
    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments, **options))
    return live_params.random_like(key, shapes)


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


@pytest.mark.parametrize("call", CALLS)
def test_outputs_and_gradients_are_those_of_flax(call, key, xs):
    options = CALLS[call]
    xs = xs.swapaxes(0, 1) if options.get("time_major") else xs
    modules = [library.RNN(nn.GRUCell(UNITS)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    runs = [lambda v, xs, m=m: m.apply(v, xs, **options) for m in modules]
    assert_alike(runs[1](variables, xs), runs[0](variables, xs))
    gradients = [
        jax.grad(lambda v, xs, r=r: weighted(r(v, xs)), (0, 1))(variables, xs) for r in runs
    ]
    assert_same_gradients(gradients[1], gradients[0])


def test_options_of_the_constructor_count_like_those_of_the_call(key, xs):
    options = {"return_carry": True, "reverse": True, "keep_order": True, "unroll": 2}
    modules = [library.RNN(nn.GRUCell(UNITS), **options) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    for call in ({}, {"reverse": False}, {"keep_order": False}):
        assert_alike(*(module.apply(variables, xs, **call) for module in modules[::-1]))


@pytest.mark.parametrize("shape", [(), (1,), (2, 3)])
@pytest.mark.parametrize("time", [1, 4])
def test_any_batch_axes_and_one_step(shape, time, key):
    xs = jax.random.normal(key, (*shape, time, INPUTS))
    modules = [library.RNN(nn.GRUCell(UNITS), return_carry=True) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    assert_alike(*(module.apply(variables, xs) for module in modules[::-1]))


def test_no_step_gives_the_first_carry(key, xs):
    module = linen.RNN(nn.GRUCell(UNITS), return_carry=True)
    variables = drawn(key, module, xs)
    first = jax.random.normal(key, (BATCH, UNITS))
    for options in ({}, {"seq_lengths": jnp.zeros(BATCH, int)}):
        carry, ys = module.apply(variables, xs[:, :0], initial_carry=first, **options)
        assert jnp.array_equal(carry, first)
        assert ys.shape == (BATCH, 0, UNITS)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_length_of_zero_gives_the_first_carry(reverse, key, xs):
    modules = [library.RNN(nn.GRUCell(UNITS), return_carry=True) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    first = jax.random.normal(key, (BATCH, UNITS))
    options = {"seq_lengths": jnp.array([3, 0, 9]), "initial_carry": first, "reverse": reverse}
    (theirs, expected), (carry, ys) = (m.apply(variables, xs, **options) for m in modules)
    assert_alike(ys, expected)
    assert jnp.array_equal(carry[1], first[1])
    if not reverse:  # Flax turns a sequence of more than T steps round in its own way
        assert_alike(carry[::2], theirs[::2])


def test_one_step_at_a_time_is_the_whole(key, xs):
    module = linen.RNN(nn.GRUCell(UNITS), return_carry=True)
    variables = drawn(key, module, xs)
    _, whole = module.apply(variables, xs)
    carry, steps = jnp.zeros((BATCH, UNITS)), []
    for t in range(TIME):
        carry, y = module.apply(variables, xs[:, t : t + 1], initial_carry=carry)
        steps.append(y)
    assert_alike(jnp.concatenate(steps, 1), whole)


@pytest.mark.parametrize("types", ["bfloat16 parameters", "float32, computed in bfloat16"])
def test_half_precision_has_the_type_of_flax_and_no_larger_error(types, key, xs):
    xs = xs.astype(jnp.bfloat16)
    own = types.startswith("bfloat16")
    # Flax cannot draw its default, an orthogonal matrix, in bfloat16.
    init = {"recurrent_kernel_init": nn.initializers.lecun_normal()}
    options = {"param_dtype": jnp.bfloat16} | init if own else {"dtype": jnp.bfloat16}
    modules = [library.RNN(nn.GRUCell(UNITS, **options)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    expected, found = (module.apply(variables, xs) for module in modules)
    assert_no_worse(found, expected, jaxgru.from_flax(variables, assume=ASSUMED), xs)


def test_the_tree_and_its_first_numbers_are_those_of_flax(xs):
    class Model(nn.Module):
        library: object

        @nn.compact
        def __call__(self, xs):
            ys = self.library.RNN(nn.GRUCell(UNITS))(xs)
            both = self.library.Bidirectional(
                self.library.RNN(nn.GRUCell(4)), self.library.RNN(nn.GRUCell(4))
            )
            return nn.Dense(2)(both(ys))

    variables = [Model(library).init(jax.random.key(1), xs) for library in (nn, linen)]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, *variables))
    assert_alike(*(Model(library).apply(variables[0], xs) for library in (linen, nn)))


@pytest.mark.parametrize("options", [{}, {"seq_lengths": LENGTHS}])
def test_both_directions(options, key, xs):
    modules = [
        library.Bidirectional(
            *(library.RNN(nn.GRUCell(UNITS)) for _ in range(2)), return_carry=True
        )
        for library in (nn, linen)
    ]
    variables = drawn(key, modules[0], xs)
    assert_alike(*(module.apply(variables, xs, **options) for module in modules[::-1]))


def test_other_activations(key, xs):
    cell = {"activation_fn": nn.relu, "gate_fn": nn.hard_sigmoid}
    modules = [library.RNN(nn.GRUCell(UNITS, **cell)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    assert_alike(*(module.apply(variables, xs) for module in modules[::-1]))


def test_boxed_parameters(key, xs):
    init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, "units"))
    modules = [library.RNN(nn.GRUCell(UNITS, kernel_init=init)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    assert isinstance(variables["params"]["cell"]["iz"]["kernel"], nn.Partitioned)
    assert_alike(*(module.apply(variables, xs) for module in modules[::-1]))


HANDED_OVER = {
    "another cell": ({"cell": nn.OptimizedLSTMCell(UNITS)}, "the cell is a OptimizedLSTMCell"),
    "an activation": ({"cell": nn.GRUCell(UNITS, gate_fn=lambda x: nn.sigmoid(2 * x))}, "lacks"),
    "keys": ({"cell": nn.GRUCell(UNITS), "split_rngs": {"params": False, "a": True}}, "splits"),
}


@pytest.mark.parametrize("case", HANDED_OVER)
def test_what_jaxgru_lacks_runs_in_flax_with_a_warning(case, key, xs):
    options, reason = HANDED_OVER[case]
    variables = drawn(key, nn.RNN(**options), xs)
    with pytest.warns(UserWarning, match=f"^linen.RNN runs the library's own loop: .*{reason}"):
        found = linen.RNN(**options, return_carry=True).apply(variables, xs)
    assert_alike(found, nn.RNN(**options, return_carry=True).apply(variables, xs), atol=0)


def test_an_interceptor_of_the_cell_is_not_left_out(key, xs):
    def halve(method, args, kwargs, context):
        found = method(*args, **kwargs)
        is_cell = isinstance(context.module, nn.GRUCell) and context.method_name == "__call__"
        return jax.tree.map(lambda x: 0.5 * x, found) if is_cell else found

    modules = [library.RNN(nn.GRUCell(UNITS)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    with nn.intercept_methods(halve):
        expected = modules[0].apply(variables, xs)
        with pytest.warns(UserWarning, match="interceptor"):
            assert_alike(modules[1].apply(variables, xs), expected, atol=0)


def test_a_carry_that_changes_is_refused_by_flax(key, xs):
    module = linen.RNN(nn.GRUCell(UNITS))
    variables = drawn(key, module, xs)
    with pytest.raises(TypeError, match="carry"):
        module.apply(variables, xs, initial_carry=jnp.zeros((BATCH, UNITS), jnp.bfloat16))


class TheirScannedRNN(nn.Module):
    """The recurrence of PureJaxRL: Flax's cell in a scan, from zero where an episode begins."""

    @nn.compact
    def __call__(self, carry, x):
        cells = nn.GRUCell(carry.shape[-1], name="GRUCell_0")

        def step(cell, carry, x):
            inputs, resets = x
            return cell(jnp.where(resets[:, None], jnp.zeros_like(carry), carry), inputs)

        scan = nn.scan(step, variable_broadcast="params", split_rngs={"params": False})
        return scan(cells, carry, x)


@pytest.mark.parametrize("flags", [bool, jnp.float32, jnp.int32])
def test_episodes_begin_at_zero(flags, key, xs):
    resets = jax.random.bernoulli(key, 0.4, (TIME, BATCH)).astype(flags)
    carry, x = jax.random.normal(key, (BATCH, UNITS)), (xs.swapaxes(0, 1), resets)
    ours, theirs = linen.ScannedGRU(), TheirScannedRNN()
    first = [module.init(jax.random.key(0), carry, x) for module in (ours, theirs)]
    assert jax.tree.all(jax.tree.map(jnp.array_equal, *first))
    variables = live_params.random_like(key, first[0])
    assert_alike(ours.apply(variables, carry, x), theirs.apply(variables, carry, x))
    gradients = [
        jax.grad(lambda v, h, m=m: weighted(m.apply(v, h, x)), (0, 1))(variables, carry)
        for m in (ours, theirs)
    ]
    assert_same_gradients(*gradients)


def test_the_names_are_those_of_purejaxrl(xs):
    class Agent(nn.Module):
        @nn.compact
        def __call__(self, carry, x):
            return linen.ScannedGRU()(carry, x)

    carry = linen.ScannedGRU.initialize_carry(BATCH, UNITS)
    x = xs.swapaxes(0, 1), jnp.zeros((TIME, BATCH), bool)
    params = Agent().init(jax.random.key(0), carry, x)["params"]
    assert sorted(params["ScannedRNN_0"]["GRUCell_0"]) == ["hn", "hr", "hz", "in", "ir", "iz"]
    named = linen.ScannedGRU(cell_name="memory", cell_options={"bias_init": nn.initializers.ones})
    params = named.init(jax.random.key(0), carry, x)["params"]
    assert jnp.all(params["memory"]["iz"]["bias"] == 1)
    unknown = linen.ScannedGRU(cell_options={"gate_fn": lambda x: x**2})
    with pytest.raises(ValueError, match=r"^ScannedRNN cannot run its cell: jaxgru lacks"):
        unknown.init(jax.random.key(0), carry, x)


def test_checkpoints_are_read_by_either(key, xs, tmp_path):
    serialization = pytest.importorskip("flax.serialization")
    orbax = pytest.importorskip("orbax.checkpoint")
    modules = [library.RNN(nn.GRUCell(UNITS)) for library in (nn, linen)]
    variables = drawn(key, modules[0], xs)
    expected = modules[0].apply(variables, xs)
    for i, (writer, reader) in enumerate((modules, modules[::-1])):
        written = jax.tree.map(
            lambda _, drawn: drawn, writer.init(jax.random.key(0), xs), variables
        )
        target = reader.init(jax.random.key(1), xs)
        read = serialization.from_bytes(target, serialization.to_bytes(written))
        assert_alike(reader.apply(read, xs), expected)
        with orbax.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / str(i), written)
            checkpointer.wait_until_finished()
            read = checkpointer.restore(tmp_path / str(i), target)
        assert_alike(reader.apply(read, xs), expected)


def test_transformations(key, xs):
    module = linen.RNN(nn.GRUCell(UNITS))
    variables = [drawn(k, module, xs) for k in jax.random.split(key)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *variables)
    found = jax.jit(jax.vmap(module.apply, (0, None)))(stacked, xs)
    np.testing.assert_allclose(
        found, jnp.stack([nn.RNN(nn.GRUCell(UNITS)).apply(v, xs) for v in variables]), atol=2e-6
    )

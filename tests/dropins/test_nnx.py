"""``jaxgru.nnx`` in place of Flax's modules. The oracle is Flax."""

import jax
import jax.numpy as jnp
import live_params
import numpy as np
import pytest
from compared import assert_alike, assert_no_worse, assert_same_gradients, weighted

import jaxgru

nnx = pytest.importorskip("flax.nnx")
ours = pytest.importorskip("jaxgru.nnx")

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

BATCH, TIME, INPUTS, UNITS = 3, 7, 5, 6
LENGTHS = jnp.array([3, 7, 1])
CALLS = {
    "outputs alone": {},
    "first carry": {"return_carry": True, "initial_carry": jnp.full((BATCH, UNITS), 0.3)},
    "reverse": {"return_carry": True, "reverse": True},
    "reverse, order kept": {"reverse": True, "keep_order": True},
    "lengths": {"return_carry": True, "seq_lengths": LENGTHS},
    "lengths, reverse": {"return_carry": True, "seq_lengths": LENGTHS, "reverse": True},
    "time first, lengths, reverse": {
        "return_carry": True, "time_major": True, "seq_lengths": LENGTHS, "reverse": True,
        "keep_order": True,
    },
}  # fmt: skip


def pair(key, **options):
    """Return Flax's module and that of jaxgru with one state, of random numbers."""
    modules = [library.RNN(nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(0), **options))
               for library in (nnx, ours)]  # fmt: skip
    state = live_params.random_like(key, nnx.state(modules[0], nnx.Param))
    for module in modules:
        nnx.update(module, state)
    return modules


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (BATCH, TIME, INPUTS))


@pytest.mark.parametrize("call", CALLS)
def test_outputs_and_gradients_are_those_of_flax(call, key, xs):
    options = CALLS[call]
    xs = xs.swapaxes(0, 1) if options.get("time_major") else xs
    theirs, mine = pair(key)
    assert_alike(mine(xs, **options), theirs(xs, **options))

    def gradients(module):
        loss = lambda m, xs: weighted(m(xs, **options))  # noqa: E731
        by_module, by_xs = nnx.grad(loss, argnums=(0, 1))(module, xs)
        return nnx.to_pure_dict(by_module), by_xs

    assert_same_gradients(gradients(mine), gradients(theirs))


@pytest.mark.parametrize("shape", [(), (2, 3)])
@pytest.mark.parametrize("time", [1, 4])
def test_any_batch_axes_and_one_step(shape, time, key):
    xs = jax.random.normal(key, (*shape, time, INPUTS))
    theirs, mine = pair(key)
    assert_alike(mine(xs, return_carry=True), theirs(xs, return_carry=True))


def test_no_step_and_a_length_of_zero_give_the_first_carry(key, xs):
    theirs, mine = pair(key)
    first = jax.random.normal(key, (BATCH, UNITS))
    carry, ys = mine(xs[:, :0], initial_carry=first, return_carry=True)
    assert jnp.array_equal(carry, first)
    assert ys.shape == (BATCH, 0, UNITS)
    options = {"initial_carry": first, "return_carry": True, "seq_lengths": jnp.array([3, 0, 7])}
    (carry, ys), (expected, expected_ys) = mine(xs, **options), theirs(xs, **options)
    assert_alike(ys, expected_ys)
    assert_alike(carry[::2], expected[::2])
    assert jnp.array_equal(carry[1], first[1])


def test_one_step_at_a_time_is_the_whole(key, xs):
    _, mine = pair(key)
    carry, steps = jnp.zeros((BATCH, UNITS)), []
    for t in range(TIME):
        carry, y = mine(xs[:, t : t + 1], initial_carry=carry, return_carry=True)
        steps.append(y)
    assert_alike(jnp.concatenate(steps, 1), mine(xs))


def test_a_carry_that_is_drawn_is_flax_own_and_the_keys_go_on_alike(key, xs):
    with pytest.warns(UserWarning, match="carry_init is provided"):
        modules = pair(key, carry_init=nnx.initializers.normal(1.0))
    for _ in range(2):
        theirs, mine = (module(xs, return_carry=True) for module in modules)
        assert_alike(mine, theirs)
    theirs, mine = (module(xs, rngs=nnx.Rngs(carry=7)) for module in modules)
    assert_alike(mine, theirs)


@pytest.mark.parametrize("types", ["bfloat16 parameters", "float32, computed in bfloat16"])
def test_half_precision_has_the_type_of_flax_and_no_larger_error(types, key, xs):
    xs = xs.astype(jnp.bfloat16)
    own = types.startswith("bfloat16")
    theirs, mine = pair(key, **({} if own else {"dtype": jnp.bfloat16}))
    if own:
        for module in (theirs, mine):
            state = nnx.state(module, nnx.Param)
            nnx.update(module, jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), state))
    first = jnp.zeros((BATCH, UNITS), jnp.bfloat16 if own else jnp.float32)
    expected, found = (module(xs, initial_carry=first) for module in (theirs, mine))
    defaults = {"activation": "tanh", "recurrent_activation": "sigmoid", "reverse": False}
    params = jaxgru.from_flax(nnx.to_pure_dict(nnx.state(theirs, nnx.Param)), assume=defaults)
    assert_no_worse(found, expected, params, xs)


def test_both_directions(key, xs):
    models = []
    for library in (nnx, ours):
        cells = [nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(i)) for i in range(2)]
        models.append(library.Bidirectional(*map(library.RNN, cells), return_carry=True))
    state = live_params.random_like(key, nnx.state(models[0], nnx.Param))
    for model in models:
        nnx.update(model, state)
    for options in ({}, {"seq_lengths": LENGTHS}):
        assert_alike(models[1](xs, **options), models[0](xs, **options))


def test_ensembles(key, xs):
    """Members by ``nnx.vmap``, and layers above each other by ``nnx.scan``."""

    def outputs(library):
        @nnx.split_rngs(splits=4)
        @nnx.vmap
        def make(rngs):
            return library.RNN(nnx.GRUCell(INPUTS, INPUTS, rngs=rngs), rngs=False)

        members = make(nnx.Rngs(0))
        first = jnp.zeros((BATCH, INPUTS))
        run = nnx.vmap(lambda member, xs: member(xs, initial_carry=first), in_axes=(0, None))
        stack = nnx.scan(
            lambda xs, layer: layer(xs, initial_carry=first),
            in_axes=(nnx.Carry, 0), out_axes=nnx.Carry,
        )  # fmt: skip
        return run(members, xs), stack(xs, members)

    assert_alike(outputs(ours), outputs(nnx))


def _lora(cell):
    cell.dense_h = nnx.LoRALinear(UNITS, 3 * UNITS, lora_rank=2, use_bias=False, rngs=nnx.Rngs(1))


HANDED_OVER = {
    "another cell": (lambda: nnx.OptimizedLSTMCell(INPUTS, UNITS, rngs=nnx.Rngs(0)), "is a Opti"),
    "an activation": (
        lambda: nnx.GRUCell(INPUTS, UNITS, gate_fn=lambda x: nnx.sigmoid(2 * x), rngs=nnx.Rngs(0)),
        "lacks an activation",
    ),
    "LoRA": (lambda: _changed(_lora), "dense_h of the cell is a LoRALinear"),
    "a product": (
        lambda: _changed(lambda cell: setattr(cell.dense_i, "dot_general", _twice)),
        "dense_i of the cell has a custom promotion or product",
    ),
}  # fmt: skip


def _changed(change):
    cell = nnx.GRUCell(INPUTS, UNITS, rngs=nnx.Rngs(0))
    change(cell)
    return cell


def _twice(*arguments, **options):
    return 2 * jax.lax.dot_general(*arguments, **options)


@pytest.mark.parametrize("case", HANDED_OVER)
def test_what_jaxgru_lacks_runs_in_flax_with_a_warning(case, xs):
    make, reason = HANDED_OVER[case]
    with pytest.warns(UserWarning, match=f"^nnx.RNN runs the library's own loop: .*{reason}"):
        found = ours.RNN(make())(xs)
    assert_alike(found, nnx.RNN(make())(xs), atol=0)


def test_checkpoints_are_read_by_either(key, xs, tmp_path):
    orbax = pytest.importorskip("orbax.checkpoint")
    modules = pair(key)
    expected = modules[0](xs)
    for i, (writer, reader) in enumerate((modules, modules[::-1])):
        with orbax.StandardCheckpointer() as checkpointer:
            checkpointer.save(tmp_path / str(i), nnx.to_pure_dict(nnx.state(writer, nnx.Param)))
            checkpointer.wait_until_finished()
            nnx.update(reader, jax.tree.map(jnp.zeros_like, nnx.state(reader, nnx.Param)))
            target = nnx.state(reader, nnx.Param)
            read = checkpointer.restore(tmp_path / str(i), nnx.to_pure_dict(target))
        nnx.replace_by_pure_dict(target, read)
        nnx.update(reader, target)
        assert_alike(reader(xs), expected)


def test_an_optimizer_trains_both_alike(key, xs):
    optax = pytest.importorskip("optax")
    losses = []
    for module in pair(key):
        optimizer = nnx.Optimizer(module, optax.sgd(0.1), wrt=nnx.Param)

        @nnx.jit
        def step(module, optimizer):
            loss, gradient = nnx.value_and_grad(lambda m: (m(xs) ** 2).mean())(module)
            optimizer.update(module, gradient)
            return loss

        losses.append([float(step(module, optimizer)) for _ in range(5)])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    assert losses[0][-1] < losses[0][0]

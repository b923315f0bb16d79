"""``jaxgru.equinox`` for Equinox's cell. The oracle is Equinox's cell in ``jax.lax.scan``."""

import jax
import jax.numpy as jnp
import live_params
import pytest
from compared import assert_alike, assert_no_worse, assert_same_gradients, weighted

import jaxgru

eqx = pytest.importorskip("equinox")
ours = pytest.importorskip("jaxgru.equinox")

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("default_promotion")]

TIME, INPUTS, UNITS = 7, 5, 6


def make(key, **options):
    return eqx.nn.GRUCell(INPUTS, UNITS, key=key, **options)


@pytest.fixture
def cell(key):
    return live_params.random_like(key, make(key))


@pytest.fixture
def xs(key):
    return jax.random.normal(key, (TIME, INPUTS))


def theirs(cell, xs, h0, resets=None, *, reverse=False):
    """Return what a user of Equinox writes."""
    resets = jnp.zeros(len(xs), bool) if resets is None else resets
    if reverse:  # an episode begins at its last step
        resets = jnp.roll(resets, -1).at[-1].set(False if resets.dtype == bool else 0)

    def step(h, x):
        x, is_first = x
        h = cell(x, jnp.where(is_first, jnp.zeros_like(h), h))
        return h, h

    return jax.lax.scan(step, h0, (xs, resets), reverse=reverse)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("resets", [None, bool, jnp.float32])
@pytest.mark.parametrize("use_bias", [True, False])
def test_states_and_gradients_are_those_of_equinox(use_bias, resets, reverse, key, xs):
    cell = live_params.random_like(key, make(key, use_bias=use_bias))
    h0 = jax.random.normal(key, (UNITS,))
    if resets is not None:
        resets = (jnp.arange(TIME) % 3 == 1).astype(resets)
    runs = [
        lambda arguments, run=run: run(*arguments, resets=resets, reverse=reverse)
        for run in (ours.scan, theirs)
    ]
    assert_alike(*(run((cell, xs, h0)) for run in runs))
    assert_same_gradients(
        *(eqx.filter_grad(lambda a, run=run: weighted(run(a)))((cell, xs, h0)) for run in runs)
    )


def test_one_step_and_none(cell, key):
    h0 = jax.random.normal(key, (UNITS,))
    x = jax.random.normal(key, (1, INPUTS))
    assert_alike(ours.scan(cell, x, h0), theirs(cell, x, h0))
    h, ys = ours.scan(cell, x[:0], h0)
    assert jnp.array_equal(h, h0)
    assert ys.shape == (0, UNITS)


def test_one_step_at_a_time_is_the_whole(cell, xs):
    _, whole = ours.scan(cell, xs)
    h, steps = jnp.zeros(UNITS), []
    for t in range(TIME):
        h, y = ours.scan(cell, xs[t : t + 1], h)
        steps.append(y)
    assert_alike(jnp.concatenate(steps), whole)


def test_half_precision_has_the_type_of_the_cell_and_no_larger_error(cell, xs):
    cell, xs = jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), (cell, xs))
    (_, expected), (_, found) = theirs(cell, xs, jnp.zeros(UNITS, xs.dtype)), ours.scan(cell, xs)
    assert_no_worse(found, expected, jaxgru.from_equinox(cell), xs)


def test_filtered_transformations(key, xs):
    """An ensemble, made and run by ``filter_vmap``, in ``filter_jit`` and ``filter_grad``."""
    members = eqx.filter_vmap(lambda k: ours.GRU(make(k)))(jax.random.split(key, 4))
    batch = jax.random.normal(key, (2, TIME, INPUTS))

    @eqx.filter_jit
    def outputs(members, run):
        one = lambda member, xs: run(member, xs)  # noqa: E731
        return eqx.filter_vmap(eqx.filter_vmap(one, in_axes=(None, 0)), in_axes=(0, None))(
            members, batch
        )

    def by_hand(member, xs):
        return theirs(member.cell, xs, jnp.zeros(UNITS))

    runs = (lambda member, xs: member(xs)), by_hand
    assert_alike(*(outputs(members, run) for run in runs))
    gradients = [
        eqx.filter_grad(lambda m, run=run: weighted(outputs(m, run)))(members) for run in runs
    ]
    assert_same_gradients(*gradients)


def test_batch_axes(cell, key):
    batch = jax.random.normal(key, (2, 3, TIME, INPUTS))
    expected = jax.vmap(jax.vmap(lambda xs: theirs(cell, xs, jnp.zeros(UNITS))))(batch)
    assert_alike(ours.scan(cell, batch), expected)


def test_another_cell_is_refused(key, xs):
    with pytest.raises(ValueError, match=r"^cell is a LSTMCell: expected an equinox.nn.GRUCell$"):
        ours.scan(eqx.nn.LSTMCell(INPUTS, UNITS, key=key), xs)


def test_files_are_read_by_either(cell, key, xs, tmp_path):
    path = tmp_path / "cell.eqx"
    eqx.tree_serialise_leaves(path, cell)
    read = eqx.tree_deserialise_leaves(path, ours.GRU(make(key)))
    assert_alike(read(xs), theirs(cell, xs, jnp.zeros(UNITS)))
    eqx.tree_serialise_leaves(path, ours.GRU(cell))
    assert_alike(ours.scan(eqx.tree_deserialise_leaves(path, make(key)), xs), read(xs), atol=0)

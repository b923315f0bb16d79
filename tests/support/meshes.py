"""Run by test_sharding.py on eight simulated devices: meshes as JAX makes them by default.

The expected results are those of the same program on one device. Other sums are split up among
the devices: float32 sums of about a hundred terms near 1.
"""

import sys

import cases
import jax
import numpy as np
from jax import lax
from jax.sharding import NamedSharding, PartitionSpec

import jaxgru

_FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
_BATCH, _TIME = 16, 6


def main(check):
    assert jax.device_count() == 8
    keys = jax.random.split(jax.random.key(0), 6)
    after, before = (cases.random_params(keys[i], 3, 5, reset_after=i == 0) for i in (0, 1))
    net = (jaxgru.Bidirectional(after, before), cases.random_params(keys[2], 10, 16))
    batch = (
        jax.random.normal(keys[3], (_BATCH, _TIME, 3)),
        jax.random.randint(keys[4], (_BATCH,), 0, _TIME + 1),
        jax.random.bernoulli(keys[5], 0.3, (_BATCH, _TIME)),
    )
    {"explicit": _explicit, "shard_map": _shard_map, "two axes": _two_axes}[check](net, batch)
    print("passed")


def _loss(net, xs, lengths=None, resets=None):
    ys, h = jaxgru.gru(net, xs, lengths=lengths, resets=resets)
    return (ys**2).sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(h))


def _derivatives(net, *batch):
    """Return gradients of the weights and inputs, and a second derivative."""
    gradients = jax.grad(_loss, argnums=(0, 1))(net, *batch)
    second = jax.jvp(lambda net: jax.grad(_loss)(net, *batch), (net,), (net,))[1]
    return _loss(net, *batch), gradients, second


def _explicit(net, batch):
    """Under ``jax.set_mesh`` with the default axis type, and no initial state."""
    expected = jax.jit(_derivatives)(net, *batch)
    mesh = jax.make_mesh((8,), ("data",))
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, NamedSharding(mesh, PartitionSpec("data")))
        whole = jax.device_put(net, NamedSharding(mesh, PartitionSpec()))
        _assert_close(jax.jit(_derivatives)(whole, *placed), expected)
        ys, h = jaxgru.gru(whole, placed[0])
        for array in (ys, *jax.tree.leaves(h)):
            assert jax.typeof(array).sharding.spec[0] == "data", jax.typeof(array)
        # An initial state that lies elsewhere comes to where the inputs are.
        h0 = jax.tree.map(np.asarray, h)
        again, _ = jaxgru.gru(whole, placed[0], h0)
        assert jax.typeof(again).sharding.spec[0] == "data"


def _shard_map(net, batch):
    """With ``check_vma`` as it is by default: gradients within and without."""
    expected = jax.jit(_derivatives)(net, *batch)
    mesh = jax.make_mesh((8,), ("data",))
    data, whole = PartitionSpec("data"), PartitionSpec()

    def total(net, *batch):
        return lax.psum(_loss(net, *batch), "data")

    specs = (whole, data, data, data)
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, NamedSharding(mesh, data))
        net = jax.device_put(net, NamedSharding(mesh, whole))
    without = jax.shard_map(total, mesh=mesh, in_specs=specs, out_specs=whole)
    _assert_close(jax.jit(without)(net, *placed), expected[0])
    _assert_close(jax.jit(jax.grad(without, argnums=(0, 1)))(net, *placed), expected[1])
    within = jax.shard_map(jax.grad(total), mesh=mesh, in_specs=specs, out_specs=whole)
    _assert_close(jax.jit(within)(net, *placed), expected[1][0])


def _two_axes(net, batch):
    """Two batch axes, each shared out."""
    expected = jax.jit(_derivatives)(net, batch[0])
    mesh = jax.make_mesh((2, 4), ("replica", "data"))
    xs = batch[0].reshape(4, 4, _TIME, 3)
    with jax.set_mesh(mesh):
        xs = jax.device_put(xs, NamedSharding(mesh, PartitionSpec("replica", "data")))
        net = jax.device_put(net, NamedSharding(mesh, PartitionSpec()))
        value, (dnet, dxs), second = jax.jit(_derivatives)(net, xs)
    dxs = np.asarray(dxs).reshape(batch[0].shape)
    _assert_close((value, (dnet, dxs), second), expected)


def _assert_close(found, expected):
    jax.tree.map(
        lambda one, other: np.testing.assert_allclose(
            np.asarray(one), np.asarray(other), **_FLOAT32
        ),
        found,
        expected,
    )


if __name__ == "__main__":
    main(sys.argv[1])

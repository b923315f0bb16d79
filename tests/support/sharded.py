"""Run by test_sharding.py on eight simulated devices: ``python sharded.py CHECK ...``.

The expected results are those of the same program on one of the devices; what devices exchange is
read from the compiled program.
"""

import re
import sys

import cases
import chex
import jax
import nets
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import jaxgru

# Other sums are split up among the devices: float32 sums of about a hundred terms near 1.
_FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
_BATCH, _TIME = 16, 6
_DATA, _WHOLE = PartitionSpec("data"), PartitionSpec()


def main(checks):
    assert jax.device_count() == 8
    key = jax.random.key(0)
    net = nets.random_net(key, "concat"), cases.random_params(key, 8, 2, reset_after=False)
    xs = jax.random.normal(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))
    h0 = nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))
    lengths = jax.random.randint(jax.random.fold_in(key, 3), (_BATCH,), 0, _TIME + 1)
    resets = jax.random.bernoulli(jax.random.fold_in(key, 4), 0.3, (_BATCH, _TIME))
    for check in checks:
        globals()[f"_{check}"](net, (xs, lengths, resets, h0))
        print(check, "passed")


def _run(net, xs, lengths=None, resets=None, h0=None):
    start = None if resets is None else h0
    return jaxgru.gru(net, xs, h0, lengths=lengths, resets=resets, reset_state=start)


def _loss(net, *batch):
    ys, h = _run(net, *batch)
    return (ys**2).sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(h))


def _derivatives(net, *batch):
    """Return gradients of the weights and inputs, and a second derivative."""
    gradients = jax.grad(_loss, argnums=(0, 1))(net, *batch)
    second = jax.jvp(lambda net: jax.grad(_loss)(net, *batch), (net,), (net,))[1]
    return _loss(net, *batch), gradients, second


# Meshes of axes that the compiler divides by itself.


def _values(net, batch):
    compiled = _compare(_run, net, batch, out_specs=_DATA)
    assert _collectives(compiled.as_text()) == []


def _gradients(net, batch):
    gradients = jax.grad(_loss, argnums=(0, 1, 4))
    compiled = _compare(gradients, net, batch, out_specs=(_WHOLE, _DATA, _DATA))
    found = _collectives(compiled.as_text())
    # The gradients of the weights are summed over the batch, and nothing else is exchanged.
    assert found, "the gradients of the weights cannot have been summed"
    assert {kind for kind, _ in found} == {"all-reduce"}, found
    assert not any(in_loop for _, in_loop in found), found


def _hidden(net, batch):
    """Units may be shared out too: the devices then exchange the state at each step."""
    params, xs = net[0].forward, batch[0]
    mesh = jax.make_mesh((2, 4), ("data", "units"), axis_types=(AxisType.Auto,) * 2)
    over = jax.tree.map(
        lambda leaf: NamedSharding(mesh, PartitionSpec(*[None] * (leaf.ndim - 1), "units")), params
    )
    found = jax.jit(jaxgru.gru, in_shardings=(over, NamedSharding(mesh, _DATA)))(params, xs)
    _assert_close(found, jaxgru.gru(params, xs))


# Meshes as JAX makes them by default.


def _explicit(net, batch):
    """Under ``jax.set_mesh`` with the default axis type, and no initial state."""
    batch = batch[:3]
    expected = jax.jit(_derivatives)(net, *batch)
    mesh = jax.make_mesh((8,), ("data",))
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, NamedSharding(mesh, _DATA))
        whole = jax.device_put(net, NamedSharding(mesh, _WHOLE))
        _assert_close(jax.jit(_derivatives)(whole, *placed), expected)
        ys, h = jaxgru.gru(whole, placed[0])
        for array in (ys, *jax.tree.leaves(h)):
            assert jax.typeof(array).sharding.spec[0] == "data", jax.typeof(array)
        # An initial state that lies elsewhere comes to where the inputs are.
        again, _ = jaxgru.gru(whole, placed[0], jax.tree.map(np.asarray, h))
        assert jax.typeof(again).sharding.spec[0] == "data"


def _shard_map(net, batch):
    """With ``check_vma`` as it is by default: gradients within and without."""
    batch = batch[:3]
    expected = jax.jit(_derivatives)(net, *batch)
    mesh = jax.make_mesh((8,), ("data",))

    def total(net, *batch):
        return lax.psum(_loss(net, *batch), "data")

    specs = {"mesh": mesh, "in_specs": (_WHOLE, *[_DATA] * 3), "out_specs": _WHOLE}
    with jax.set_mesh(mesh):
        placed = jax.device_put(batch, NamedSharding(mesh, _DATA))
        net = jax.device_put(net, NamedSharding(mesh, _WHOLE))
    without = jax.shard_map(total, **specs)
    _assert_close(jax.jit(without)(net, *placed), expected[0])
    _assert_close(jax.jit(jax.grad(without, argnums=(0, 1)))(net, *placed), expected[1])
    within = jax.shard_map(jax.grad(total), **specs)
    _assert_close(jax.jit(within)(net, *placed), expected[1][0])


def _two_axes(net, batch):
    """Two batch axes, each shared out."""
    expected = jax.jit(_derivatives)(net, batch[0])
    mesh = jax.make_mesh((2, 4), ("replica", "data"))
    xs = batch[0].reshape(4, 4, _TIME, 3)
    with jax.set_mesh(mesh):
        xs = jax.device_put(xs, NamedSharding(mesh, PartitionSpec("replica", "data")))
        net = jax.device_put(net, NamedSharding(mesh, _WHOLE))
        value, (dnet, dxs), second = jax.jit(_derivatives)(net, xs)
    dxs = np.asarray(dxs).reshape(batch[0].shape)
    _assert_close((value, (dnet, dxs), second), expected)


def _assert_close(*trees):
    chex.assert_trees_all_close(*(jax.tree.map(np.asarray, tree) for tree in trees), **_FLOAT32)


def _compare(function, net, batch, out_specs):
    """Compare shared-out results with those of one device; return the compiled program."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=(AxisType.Auto,))
    out = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        out_specs,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    shared = jax.device_put(batch, NamedSharding(mesh, _DATA))
    arguments = (jax.device_put(net, NamedSharding(mesh, _WHOLE)), *shared)
    compiled = jax.jit(function, out_shardings=out).lower(*arguments).compile()
    expected = jax.jit(function)(*jax.device_put((net, *batch), jax.devices()[0]))
    _assert_close(compiled(*arguments), expected)
    return compiled


_COLLECTIVE = (
    r"= .*?\b(all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter)(-start)?\("
)


def _collectives(text):
    """Return each exchange between devices: its kind, and whether it is within a loop."""
    computations, name = {}, None
    for line in text.splitlines():
        if header := re.match(r"^(?:ENTRY )?%?([\w.\-]+) .*\{$", line):
            name = header[1]
            computations[name] = []
        elif name is not None:
            computations[name].append(line)
    calls = {
        name: set(re.findall(r"(?:to_apply|calls|body|condition)=%?([\w.\-]+)", "\n".join(lines)))
        for name, lines in computations.items()
    }
    looped = set(re.findall(r"(?:body|condition)=%?([\w.\-]+)", text))
    assert looped, "the program has no loop: the text is not what this test reads"
    while more := set().union(*(calls.get(name, set()) for name in looped)) - looped:
        looped |= more
    return [
        (found[1], name in looped)
        for name, lines in computations.items()
        for line in lines
        if (found := re.search(_COLLECTIVE, line))
    ]


if __name__ == "__main__":
    main(sys.argv[1:])

"""Run by test_sharding.py on eight simulated devices: ``python sharded.py CHECK``.

The expected results are those of the same program on one of the devices; what devices say to each
other is read from the compiled program.
"""

import re
import sys

import chex
import jax
import nets
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import jaxgru

# Other sums are split up among the devices: float32 sums of about a hundred terms near 1.
_FLOAT32 = {"rtol": 1e-4, "atol": 1e-5}
_BATCH, _TIME = 16, 6


def main(check):
    assert jax.device_count() == 8
    key = jax.random.key(0)
    net = nets.random_net(key, "bidirectional stack")
    xs = jax.random.normal(jax.random.fold_in(key, 1), (_BATCH, _TIME, 3))
    h0 = nets.random_state(jax.random.fold_in(key, 2), net, (_BATCH,))
    lengths = jax.random.randint(jax.random.fold_in(key, 3), (_BATCH,), 0, _TIME + 1)
    resets = jax.random.bernoulli(jax.random.fold_in(key, 4), 0.3, (_BATCH, _TIME))
    {"values": _values, "gradients": _gradients, "hidden": _hidden}[check](
        net, (xs, h0, lengths, resets)
    )
    print("passed")


def _values(net, batch):
    compiled = _compare(_run, net, batch, out_specs=PartitionSpec("data"))
    assert _collectives(compiled.as_text()) == []


def _gradients(net, batch):
    def gradients(net, xs, h0, lengths, resets):
        def loss(net, xs, h0):
            ys, h = _run(net, xs, h0, lengths, resets)
            return (ys**2).sum() + sum((leaf**2).sum() for leaf in jax.tree.leaves(h))

        return jax.grad(loss, argnums=(0, 1, 2))(net, xs, h0)

    shared, whole = PartitionSpec("data"), PartitionSpec()
    compiled = _compare(gradients, net, batch, out_specs=(whole, shared, shared))
    found = _collectives(compiled.as_text())
    # The gradients of the weights are summed over the batch, and nothing else is said.
    assert found, "the gradients of the weights cannot have been summed"
    assert {kind for kind, _ in found} == {"all-reduce"}, found
    assert not any(in_loop for _, in_loop in found), found


def _hidden(net, batch):
    """Units may be shared out too: the devices then exchange the state at each step."""
    params, xs = net[0].forward, batch[0]
    mesh = jax.make_mesh((2, 4), ("data", "units"), axis_types=_AUTO * 2)
    over = jax.tree.map(
        lambda leaf: NamedSharding(mesh, PartitionSpec(*[None] * (leaf.ndim - 1), "units")), params
    )
    rows = NamedSharding(mesh, PartitionSpec("data"))
    ys, h = jax.jit(jaxgru.gru, in_shardings=(over, rows))(params, xs)
    chex.assert_trees_all_close((ys, h), jaxgru.gru(params, xs), **_FLOAT32)


def _run(net, xs, h0, lengths, resets):
    return jaxgru.gru(net, xs, h0, lengths=lengths, resets=resets)


_AUTO = (jax.sharding.AxisType.Auto,)


def _compare(function, net, batch, out_specs):
    """Compare shared-out results with those of one device; return the compiled program."""
    mesh = jax.make_mesh((8,), ("data",), axis_types=_AUTO)
    whole, shared = (NamedSharding(mesh, spec) for spec in (PartitionSpec(), PartitionSpec("data")))
    out = jax.tree.map(
        lambda spec: NamedSharding(mesh, spec),
        out_specs,
        is_leaf=lambda node: isinstance(node, PartitionSpec),
    )
    arguments = (jax.device_put(net, whole), *jax.device_put(batch, shared))
    compiled = jax.jit(function, out_shardings=out).lower(*arguments).compile()
    one = jax.devices()[0]
    expected = jax.jit(function)(*jax.device_put((net, *batch), one))
    found = compiled(*arguments)
    chex.assert_trees_all_close(
        *(jax.tree.map(np.asarray, tree) for tree in (found, expected)), **_FLOAT32
    )
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
    main(sys.argv[1])

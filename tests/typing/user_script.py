"""What a user writes, as mypy --strict and basedpyright see it; it is checked and never run.

Wrong uses are expected errors: a checker that does not report one reports the ignore as unused.
"""

from typing import Any, assert_type

import jax
import jax.numpy as jnp
import numpy as np

import jaxgru
from jaxgru import finetune
from jaxgru.model import Model

key = jax.random.key(0)
params = jaxgru.init(key, 3, 5)
assert_type(params, jaxgru.GRUParams)
assert_type(params.kernel, jax.Array)
assert_type(params.bias, jax.Array | None)
assert_type(params.hidden_size, int)
jaxgru.GRUParams(np.ones((3, 15)), np.ones((5, 15)), activation="relu")
leaky = jaxgru.Activation("leaky_relu", alpha=0.5)
jaxgru.init(key, 3, 5, activation=leaky, recurrent_activation="hard_sigmoid")

# One layer gives two arrays, whatever array comes in.
xs = np.ones((7, 3), np.float32)
assert_type(jaxgru.gru(params, xs), tuple[jax.Array, jax.Array])
ys, h = jaxgru.gru(params, jnp.ones((7, 3)), jnp.zeros(5), lengths=np.array(3), remat=2)
assert_type(ys, jax.Array)
assert_type(jaxgru.gru_cell(params, h, xs[0]), jax.Array)
assert_type(jaxgru.gru_gates(params, h, xs[0]).update, jax.Array)
gradient = jax.grad(lambda p: jaxgru.gru(p, xs)[0].sum())(params)

# Nets are layers, both directions, the backward one, and sequences of nets.
both = jaxgru.Bidirectional(params, params, "sum")
assert_type(both, jaxgru.Bidirectional[jaxgru.GRUParams])
assert_type(both.forward, jaxgru.GRUParams)
stack = (params, both, (params, jaxgru.Backward(params)))
assert_type(jaxgru.gru(stack, xs, precision="highest"), tuple[Any, Any])
jaxgru.gru([params, params], xs, [None, np.zeros(5)], dropout=jaxgru.Dropout(0.2), key=key)
jaxgru.gru(both, xs, jaxgru.Bidirectional(h, None))


def units(net: jaxgru.Net, state: jaxgru.State = None) -> int:
    """Take any net, and any state."""
    if isinstance(net, jaxgru.GRUParams):
        return net.hidden_size
    if isinstance(net, jaxgru.Bidirectional):
        return units(net.forward)
    return units(net.net if isinstance(net, jaxgru.Backward) else net[-1], state)


# One step at a time, in NumPy's arrays.
stream = jaxgru.Stream(stack, 4, implementation="scan")
assert_type(stream(xs, active=np.ones(4, bool)), np.ndarray)
assert_type(stream.streams, int | None)
stream.state = (None, h)
stream.reset([0, 2])

# Files and objects of other libraries.
assume: jaxgru.Assume = {"activation": leaky, "reset_after": True}
assert_type(jaxgru.load_layer("gru.npz", assume=assume), jaxgru.GRUParams)
assert_type(jaxgru.load_all("gru.npz"), dict[str, jaxgru.Net])
units(jaxgru.load("gru.npz", layer="gru"))
units(jaxgru.from_keras(jaxgru.to_keras(params)))
units(jaxgru.from_torch(jaxgru.to_torch(stack)))
assert_type(jaxgru.from_equinox(jaxgru.to_equinox(params)), jaxgru.GRUParams)
jaxgru.save(stack, "net.safetensors", equations="keras")
assert_type(jaxgru.export(params, "gru.onnx"), jaxgru.Signature)
model = Model(net=params, readout=finetune.linear_readout(key, 5, 2))
assert_type(finetune.low_rank(model, key, rank=1), Model)
assert_type(finetune.low_rank(params, key, rank=1), finetune.LowRank)

# Errors of a checker, as they are errors at run time.
jaxgru.init(key, 3, 5, activation="tnh")  # type: ignore[arg-type]
jaxgru.Activation("leaky", alpha=0.5)  # type: ignore[arg-type]
jaxgru.Bidirectional(params, params, "conat")  # type: ignore[arg-type]
jaxgru.Dropout(0.2, on="inpts")  # type: ignore[arg-type]
jaxgru.gru(params, xs, precision=3.5)  # type: ignore[call-overload]
jaxgru.gru(params, xs, implementation="fast")  # type: ignore[call-overload]
jaxgru.gru({"kernel": xs}, xs)  # type: ignore[call-overload]
jaxgru.gru(params, "xs")  # type: ignore[call-overload]
jaxgru.load("gru.npz", assume={"activaton": "tanh"})  # type: ignore[arg-type]
jaxgru.load("gru.npz", equations="kers")  # type: ignore[arg-type]
kernel = jaxgru.load("gru.npz").kernel  # type: ignore[union-attr]

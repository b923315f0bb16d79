"""Bad arguments: one line that names what was given, what was expected, and where."""

import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxgru
from jaxgru import Backward, Bidirectional, Dropout, GRUParams


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


def layer(inputs, units):
    return GRUParams(ones(inputs, 3 * units), ones(units, 3 * units), *ones(2, 3 * units))


def weights(**fields):
    return dataclasses.replace(_34, **fields)


def init(*sizes, **options):
    return jaxgru.init(jax.random.key(0), *sizes, **options)


class _Tensor:
    """An array of another library, as its users see it: a shape and a conversion."""

    shape = (2, 3)

    def __array__(self, dtype=None, copy=None):
        return np.ones(self.shape)


_Tensor.__module__ = "torch"

_34, _43, _44 = layer(3, 4), layer(4, 3), layer(4, 4)
_NET, _ONE = (_34, Bidirectional(_44, _44)), ones(4)
_FLAGS = ones(4, 5, dtype=bool)
_FLOATING = "expected a floating-point type"
_RATE = "expected a number, at least 0 and below 1"

# What is given beside the net of 3 inputs and 4 units and the inputs (4, 5, 3), and the error.
# fmt: off
_REFUSED = [
    # Weights
    ({"net": weights(recurrent_kernel=ones(4, 9))},
     "recurrent_kernel has shape (4, 9): expected (H, 3H)"),
    ({"net": weights(recurrent_kernel=ones(12))},
     "recurrent_kernel has shape (12,): expected (H, 3H)"),
    ({"net": weights(kernel=ones(3, 9))},
     "kernel has shape (3, 9): expected (I, 12), as recurrent_kernel has 4 units"),
    ({"net": weights(kernel=ones(2, 3, 12))},
     "kernel has shape (2, 3, 12): expected (I, 12), as recurrent_kernel has 4 units"),
    ({"net": weights(bias=ones(4))}, "bias has shape (4,): expected (12,) or None"),
    ({"net": weights(recurrent_bias=ones(1, 12))},
     "recurrent_bias has shape (1, 12): expected (12,) or None"),
    ({"net": weights(kernel=ones(3, 12, dtype="i4"))}, f"kernel has dtype int32: {_FLOATING}"),
    ({"net": weights(bias=ones(12, dtype="c8"))}, f"bias has dtype complex64: {_FLOATING}"),
    ({"net": weights(kernel=None)}, "kernel is a NoneType: expected a JAX or NumPy array"),
    ({"net": weights(bias=[1.0] * 12)},
     "bias is a list: expected a JAX or NumPy array; np.asarray(bias) makes one"),
    # Inputs
    ({"xs": ones(5, 2)}, "xs has shape (5, 2): expected (..., 3), for 3 inputs"),
    ({"xs": ones()}, "xs has shape (): expected (..., 3), for 3 inputs"),
    ({"xs": ones(3)}, "xs has shape (3,): expected (..., T, I), a sequence of inputs"),
    ({"xs": ones(3), "time_major": True},
     "xs has shape (3,): expected (T, ..., I), a sequence of inputs"),
    ({"xs": ones(5, 3, dtype="i4")}, f"xs has dtype int32: {_FLOATING}"),
    ({"xs": ones(5, 3, dtype="c8")}, f"xs has dtype complex64: {_FLOATING}"),
    ({"xs": [[1.0, 2.0, 3.0]]},
     "xs is a list: expected a JAX or NumPy array; np.asarray(xs) makes one"),
    ({"xs": "xs.npy"}, "xs is a str: expected a JAX or NumPy array"),
    ({"xs": None}, "xs is a NoneType: expected a JAX or NumPy array"),
    ({"xs": _Tensor()},
     "xs is a torch._Tensor: expected a JAX or NumPy array; np.asarray(xs) makes one"),
    ({"xs": np.ma.ones((2, 3))}, "xs is a numpy.MaskedArray: expected a JAX or NumPy array; "
     "np.asarray(xs) makes one without its mask"),
    # The first state
    ({"h0": ones(3)}, "h0 has shape (3,): expected (..., 4), for 4 units"),
    ({"h0": ones(3, 4)}, "h0 has shape (3, 4): expected (4, 4), as in xs"),
    ({"xs": ones(5, 3), "h0": ones(1, 4)}, "h0 has shape (1, 4): expected (4,), as in xs"),
    ({"h0": ones(4, dtype="i4")}, f"h0 has dtype int32: {_FLOATING}"),
    # The first state of a net
    ({"net": _NET, "h0": _ONE}, "h0 is a single array of shape (4,): expected a tuple of 2 states, "
     "one for each layer"),
    ({"net": _NET, "h0": [_ONE]},
     "h0 is a list of 1: expected a tuple of 2 states, one for each layer"),
    ({"net": _NET, "h0": (_ONE, (_ONE, _ONE))}, "h0[1] is a tuple of 2: expected a "
     "Bidirectional(state, state), as in the net"),
    ({"net": _NET, "h0": (_ONE[:3], None)}, "h0[0] has shape (3,): expected (..., 4), for 4 units"),
    ({"net": _NET, "h0": ((_ONE, _ONE), None)},
     "h0[0] is a tuple: expected a JAX or NumPy array; np.asarray(h0[0]) makes one"),
    ({"net": _NET, "h0": (None, Bidirectional(None, ones(3, 4)))},
     "h0[1].backward has shape (3, 4): expected (4, 4), as in xs"),
    ({"net": _NET, "h0": (None, Bidirectional(ones(4, dtype="i4"), None))},
     f"h0[1].forward has dtype int32: {_FLOATING}"),
    ({"net": Backward(_34), "h0": _ONE}, "h0 is a single array of shape (4,): expected a "
     "Backward(state), as in the net"),
    # Nets
    ({"net": ()}, "net is an empty tuple: expected at least one layer"),
    ({"net": {"kernel": 1}}, "net is a dict: expected a GRUParams, a Bidirectional, a Backward, or "
     "a tuple or list of them; jaxgru.from_flax and jaxgru.from_haiku make one of their "
     "parameters"),
    ({"net": (_34, (_43, [_44]))},
     "net[1][0] has 3 outputs and net[1][1][0] has 4 inputs: expected equal sizes"),
    ({"net": (_34, _34)}, "net[0] has 4 outputs and net[1] has 3 inputs: expected equal sizes"),
    ({"net": (_34, GRUParams(_44.kernel, ones(4, 9)))},
     "net[1]: recurrent_kernel has shape (4, 9): expected (H, 3H)"),
    ({"net": Bidirectional(_34, _44)},
     "net.forward has 3 inputs and net.backward has 4: expected equal sizes"),
    ({"net": [Bidirectional(_43, _44)]},
     "net[0].forward has 3 units and net[0].backward has 4: expected equal sizes"),
    ({"net": (Bidirectional(_34, _34, None), _44)},
     "net[0] returns a pair of sequences, because its merge is None: expected one "
     "sequence for net[1]"),
    ({"net": Bidirectional(_34, Bidirectional(_34, _34, None))},
     "net.backward returns a pair of sequences: expected a merge other than None"),
    # Padding and episodes
    ({"lengths": np.array([5, 6, 1, 1])},
     "lengths[1] is 6: expected 0 to 5, the number of steps of xs"),
    ({"lengths": np.array([5, 0, -1, 1])},
     "lengths[2] is -1: expected 0 to 5, the number of steps of xs"),
    ({"lengths": np.array([5, 2])}, "lengths has shape (2,): expected (4,), the batch axes of xs"),
    ({"lengths": ones(4)}, "lengths has dtype float32: expected integers"),
    ({"lengths": ones(4, dtype=bool)}, "lengths has dtype bool: expected integers"),
    ({"lengths": [1, 2, 3, 4]},
     "lengths is a list: expected a JAX or NumPy array; np.asarray(lengths) makes one"),
    ({"mask": _FLAGS.T}, "mask has shape (5, 4): expected (4, 5), that of xs but its last axis"),
    ({"mask": ones(4, 5)}, "mask has dtype float32: expected bool, as mask.astype(bool)"),
    ({"resets": _FLAGS[0]},
     "resets has shape (5,): expected (4, 5), that of xs but its last axis"),
    ({"resets": ones(4, 5)}, "resets has dtype float32: expected bool, as resets.astype(bool)"),
    ({"lengths": ones(4, dtype="i4"), "mask": _FLAGS},
     "lengths and mask are both given: expected one of them"),
    ({"reset_state": _ONE}, "reset_state is given without resets: expected both"),
    ({"reset_state": 0}, "reset_state is given without resets: expected both"),
    ({"reset_state": True, "resets": _FLAGS},
     "reset_state is a bool: expected a JAX or NumPy array; np.asarray(reset_state) makes one"),
    ({"reset_state": ones(3), "resets": _FLAGS},
     "reset_state has shape (3,): expected (..., 4), for 4 units"),
    ({"zero_masked": True, "return_sequences": False},
     "zero_masked is given with return_sequences=False: expected only one of them, as no masked "
     "step is returned"),
    # Dropout
    ({"dropout": 1.0}, f"dropout is 1.0: {_RATE}"),
    ({"dropout": "0.5"}, f"dropout is '0.5': {_RATE}"),
    ({"recurrent_dropout": -0.1}, f"recurrent_dropout is -0.1: {_RATE}"),
    ({"recurrent_dropout": 0.5}, "dropout is given without a key: expected key=, a JAX random key"),
    *(({"net": net, "dropout": 0.5, "key": True},
       "dropout of 0.5 acts between layers, but net is not a stack: expected a stack, or "
       "jaxgru.Dropout(rate, on='inputs')") for net in (_34, Bidirectional(Backward(_34), _34))),
    # Segments
    *(({"remat": remat}, f"remat is {remat!r}: expected None, 'states', or an integer from 1 to 5, "
       "for 5 steps") for remat in [0, -3, 6, True, 2.0, "all", "", ("states",), np.arange(3)]),
    ({"xs": ones(5, 2, 3), "time_major": True, "remat": 6},
     "remat is 6: expected None, 'states', or an integer from 1 to 5, for 5 steps"),
    ({"xs": ones(0, 3), "remat": 2},
     "remat is 2: expected None, 'states', or an integer from 1 to 1, for 0 steps"),
    # What runs the loops
    *(({"implementation": given}, f"implementation is {given!r}: expected 'auto', 'scan' or "
       "'native'") for given in ["cuda", None, 1, np.arange(3)]),
]
# fmt: on


@pytest.mark.parametrize(("arguments", "message"), _REFUSED, ids=[row[1] for row in _REFUSED])
def test_what_gru_refuses(arguments, message):
    arguments = {"net": _34, "xs": ones(4, 5, 3)} | arguments
    if "key" in arguments:
        arguments["key"] = jax.random.key(0)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru(**arguments)
    net = arguments["net"]
    if isinstance(net, GRUParams) and net is not _34:
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            jaxgru.gru_cell(net, _ONE, ones(3))


@pytest.mark.parametrize(
    ("h", "x", "message"),
    [
        (_ONE, ones(4), "x has shape (4,): expected (..., 3), for 3 inputs"),
        (ones(3), ones(3), "h has shape (3,): expected (..., 4), for 4 units"),
        (_ONE, ones(3, dtype="i4"), f"x has dtype int32: {_FLOATING}"),
        (ones(4, dtype=bool), ones(3), f"h has dtype bool: {_FLOATING}"),
        (_ONE, 1.0, "x is a float: expected a JAX or NumPy array; np.asarray(x) makes one"),
        (ones(2, 4), ones(5, 3), "h has shape (2, 4) and x (5, 3): expected leading axes that "
         "broadcast together"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("function", [jaxgru.gru_cell, jaxgru.gru_gates])
def test_steps_that_do_not_fit(function, h, x, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(_34, h, x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"reset_state": 0}, "reset_state is given without resets: expected both"),
        ({"resets": ones(2)}, "resets has dtype float32: expected bool, as resets.astype(bool)"),
        ({"resets": _FLAGS[0]}, "resets has shape (5,): expected (2,), as in h and x"),
        ({"resets": _FLAGS[0, :2], "reset_state": ones(3)},
         "reset_state has shape (3,): expected (..., 4), for 4 units"),
        ({"resets": _FLAGS[0, :2], "reset_state": ones(3, 4)},
         "reset_state has shape (3, 4): expected (2, 4), as in h and x"),
    ],
)  # fmt: skip
def test_resets_of_a_step_that_do_not_fit(options, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        jaxgru.gru_cell(_34, _ONE, ones(2, 3), **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Bidirectional(_34, _34, "max"), "merge is 'max': expected one of 'concat', 'sum'"),
        (lambda: Dropout(0.5, on="outputs"), "on is 'outputs': expected 'between' or 'inputs'"),
        (lambda: jaxgru.gru_cell(3, _ONE, ones(3)), "params is a int: expected a GRUParams"),
        (lambda: init(0, 4), "input_size is 0: expected at least 1"),
        (lambda: init(3, -1), "hidden_size is -1: expected at least 1"),
        *((lambda rate=rate: Dropout(rate), f"rate is {rate!r}: {_RATE}")
          for rate in (1, -0.1, np.nan, np.inf, False, "0.5", None)),
        *((lambda dtype=dtype: init(3, 4, dtype=dtype), "dtype is ")
          for dtype in (jnp.int32, jnp.complex64, bool)),
        *((lambda clip=clip: weights(clip=clip), f"clip is {clip!r}: expected None or a positive")
          for clip in (0, 0.0, -1, np.nan, np.inf, -np.inf, "1", True, np.ones(1))),
        *((lambda field=field, name=name: weights(**{field: name}),
           f"{field} {name!r} is unknown: expected one of {', '.join(jaxgru.ACTIVATIONS)}")
          for field in ("activation", "recurrent_activation")
          for name in ("Tanh", "", None, 3, ["tanh"])),
        *((lambda sizes=sizes: jaxgru.gru(layer(*sizes), ones(2, sizes[0])),
           f"kernel has shape {(sizes[0], 3 * sizes[1])}: expected at least one input and one unit")
          for sizes in ((0, 1), (1, 0), (0, 0))),
    ],
)  # fmt: skip
def test_what_cannot_be_made(call, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        call()


@pytest.mark.parametrize("library", ["torch", "keras", "flax", "equinox", "onnx"])
def test_other_nets(library):
    module = type("GRU", (), {"__module__": f"{library}.nn"})
    # A class of the user's own is known by what it inherits from.
    own = type("Mine", (module,), {"__module__": "__main__"})
    for net, name in ((module(), rf"{library}\.GRU"), (own(), ".*Mine")):
        message = rf"^net is a {name}: expected .*; convert it with jaxgru.from_{library}$"
        with pytest.raises(ValueError, match=message):
            jaxgru.gru(net, ones(2, 3))


@pytest.mark.parametrize(
    ("name", "value"), [("reverse", True), ("zero_masked", True), ("remat", 2), ("dropout", 0.5)]
)
def test_traced_flags(name, value):
    message = f"^{name} is a traced value: .* name '{name}' in the static_argnames of jax.jit"
    with pytest.raises(ValueError, match=message):
        jax.jit(jaxgru.gru)(_34, ones(4, 3), **{name: value})


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"kernel": "f8"}, "recurrent_kernel has dtype float32: expected float64"),
        ({"recurrent_kernel": "f8"}, "recurrent_kernel has dtype float64: expected float32"),
        ({"bias": "f8"}, "bias has dtype float64: expected float32"),
        ({"recurrent_bias": "f8"}, "recurrent_bias has dtype float64: expected float32"),
        ({"xs": "f8"}, "xs has dtype float64: expected float32"),
        ({"h0": "f8"}, "h0 has dtype float64: expected float32"),
    ],
)
def test_strict_promotion_names_the_argument(x64, types, message):
    arrays = dataclasses.asdict(_34) | {"xs": ones(5, 3), "h0": _ONE}
    arrays |= {name: jnp.asarray(arrays[name], dtype) for name, dtype in types.items()}
    xs, h0 = arrays.pop("xs"), arrays.pop("h0")
    with pytest.raises(ValueError, match=f"^{message}, as strict dtype promotion is on$"):
        jaxgru.gru(GRUParams(**arrays), xs, h0)


_FUNCTIONS = {
    "gru": lambda precision: jaxgru.gru(_34, ones(5, 3), precision=precision)[1],
    "gru_cell": lambda precision: jaxgru.gru_cell(_34, _ONE, ones(3), precision=precision),
    "gru_gates": lambda precision: jaxgru.gru_gates(_34, _ONE, ones(3), precision=precision).h,
}


@pytest.mark.parametrize("name", _FUNCTIONS)
def test_precision_is_one_that_jax_knows(name):
    for precision in (
        None, "highest", "tensorfloat32", "F32_F32_F32", lax.Precision.HIGH, ("default", "highest"),
        (lax.Precision.HIGH, lax.Precision.DEFAULT), lax.DotAlgorithmPreset.BF16_BF16_F32_X3,
        lax.DotAlgorithm(jnp.float32, jnp.float32, jnp.float32),
    ):  # fmt: skip
        h = jax.eval_shape(lambda precision=precision: _FUNCTIONS[name](precision))
        assert (h.shape, h.dtype) == ((4,), jnp.float32)
    for precision in (
        "exact", 2, True, jnp.float32, ("high",), ["high", "high"], ("high", "exact"),
    ):  # fmt: skip
        message = (
            f"precision is {precision!r}: expected None, 'default', 'high', 'highest' or another "
            "name known to JAX, a jax.lax.Precision, a tuple of two names or of two of these, a "
            "jax.lax.DotAlgorithm or a jax.lax.DotAlgorithmPreset"
        )
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            _FUNCTIONS[name](precision)


def test_remat_that_is_a_number_of_steps():
    for remat, steps in ((None, 5), ("states", 5), (1, 5), (5, 5), (np.int64(5), 5), (1, 0)):
        ys, _ = jax.eval_shape(lambda xs, r=remat: jaxgru.gru(_34, xs, remat=r), ones(steps, 3))
        assert ys.shape == (steps, 4)

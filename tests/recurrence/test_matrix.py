"""Every option of ``gru`` with every other: values, first derivatives and second ones.

Some thirty cases hold every pair of values of any two options. The oracle of the values is the
float64 NumPy loop; that of the derivatives is autograd's, in float64, of a loop over the same
equations. Padding is NaN in the inputs of ``gru``, and zero in those of the oracles. What
dropout draws is given; test_dropout.py has what it draws by itself.

Where the native loops are installed, the cases that they serve are checked with them too.
"""

import contextlib
import warnings
import zlib
from functools import lru_cache, partial
from types import SimpleNamespace
from unittest import mock

import cases
import implementations
import jax
import jax.numpy as jnp
import nets
import numpy as np
import pytest
import variants
from net_oracle import Factors, last_outputs
from net_oracle import run as oracle_net
from pairwise import pairwise
from plain_loop import derivatives, plain_loop
from second_order import ORDERS, to_second_order

import jaxgru
from jaxgru import _sequence as sequence
from jaxgru._recurrence import layer as layer_module
from jaxgru._recurrence import layout

# Relative to the largest number of an array. Double and single precision: sums of some hundred
# terms in another order, through a second derivative at most; seen, 2e-15 and 9e-7. Halves are
# computed in single precision: their own derivatives are rounded, once, to 8 and 11 bits.
_TOLERANCE = {"float64": 1e-12, "float32": 2e-5, "bfloat16": 2e-5, "float16": 2e-5}
_ROUNDING = {"bfloat16": 1.01 * 2**-8, "float16": 1.01 * 2**-11}

# Rows, inputs, units, steps. Few numbers are computed in loops of another kind than many; units are
# rounded up to eight where they are few, and none is added where there are more.
_SIZES = {
    "small": (3, 2, 5, 6),
    "one unit": (9, 1, 1, 5),
    "more rows": (9, 3, 5, 6),
    "more units": (9, 9, 16, 5),
    "no steps": (2, 3, 5, 0),
    "one step": (9, 3, 5, 1),
    "no rows": (0, 3, 5, 4),
}

_RATE = 0.4
_NUMBER = 0.25  # of every unit after a reset
_DROPOUT = {
    "none": 0.0,
    "between": _RATE,
    "inputs": jaxgru.Dropout(_RATE, on="inputs"),
    "inputs, shared": jaxgru.Dropout(_RATE, on="inputs", shared=True),
}

_OPTIONS = {
    "net": ["layer", "backward", "stack", "mul"],
    "reset_after": [True, False],  # of the first layer; a second one has the other
    "slopes": list(variants.SLOPES),
    "biases": ["no bias", "input bias", "recurrent bias", "both biases"],
    "dtype": list(_TOLERANCE),
    "size": ["small", "one unit", "more rows", "more units"],
    "axes": ["batch, time", "time, batch", "time", "batch, batch, time"],
    "padding": ["none", "lengths", "mask"],
    "resets": ["none", "to zeros", "to a number", "to h0", "to a state"],
    "dropout": list(_DROPOUT),
    "recurrent_dropout": [0.0, _RATE],
    "reverse": [False, True],
    "remat": [None, "states", 2, "all"],
    "in_chunks": [False, True],
    "gates_kept": [False, True],
    "h0": ["none", "one row", "every row"],
    "outputs": ["states", "zero where masked", "last"],
    "order": list(ORDERS),
}
_IMPOSSIBLE = {
    frozenset({("outputs", "zero where masked"), ("padding", "none")}),
    *(
        frozenset({("dropout", "between"), ("net", net)})
        for net in _OPTIONS["net"]
        if net != "stack"
    ),
}
_FIRST = {name: values[0] for name, values in _OPTIONS.items()}

# All that acts on single steps at once, in each kind of loop.
_EVERYTHING = [
    _FIRST
    | {"padding": "mask", "resets": "to a state", "recurrent_dropout": _RATE, "h0": "every row"}
    | {"reset_after": reset_after, "slopes": "of outputs", "biases": "both biases"}
    | layout
    for reset_after in (True, False)
    for layout in (
        {"in_chunks": True, "reverse": True},
        {"in_chunks": True, "gates_kept": True},
        {"gates_kept": True, "reverse": True, "remat": 2},
    )
]
_CASES = pairwise(_OPTIONS, _IMPOSSIBLE, _EVERYTHING)

# Of their pairs of activations, cases with slopes of one kind take one after the other.
for _slopes in variants.SLOPES:
    for _turn, _case in enumerate(case for case in _CASES if case["slopes"] == _slopes):
        _case["turn"] = _turn

# Where there is next to nothing to compute, every pair of what still could go wrong.
_EDGES = [
    _FIRST | {"dtype": "float32", "turn": 0} | case
    for case in pairwise(
        {
            "size": ["no steps", "one step", "no rows"],
            "net": ["layer", "stack", "pair"],
            **{name: _OPTIONS[name] for name in ("padding", "resets", "reverse", "outputs")},
        },
        _IMPOSSIBLE,
    )
]


def _name(case):
    return "-".join(str(value).replace(", ", "+").replace(" ", "_") for value in case.values())


def _with_implementations(cases):
    return [
        pytest.param(case, implementation, id=f"{_name(case)}-{implementation}")
        for case in cases
        for implementation in implementations.ALL
        if implementation == "scan" or case["slopes"] == "usual"
    ]


@pytest.mark.parametrize(("case", "implementation"), _with_implementations(_CASES))
def test_case(monkeypatch, case, implementation):
    _check(monkeypatch, case, implementation)


@pytest.mark.parametrize(("case", "implementation"), _with_implementations(_EDGES))
def test_edge(monkeypatch, case, implementation):
    _check(monkeypatch, case, implementation)


def test_every_activation_is_in_either_role():
    used = {"activation": set(), "recurrent_activation": set()}
    for case in _CASES:
        problem = _Problem(case)
        for layer in jax.tree.leaves(problem.net, is_leaf=nets.is_layer):
            for role, names in used.items():
                names.add(getattr(layer, role))
    assert used == {role: set(jaxgru.ACTIVATIONS) for role in used}


def _check(monkeypatch, case, implementation):
    problem, weights, expected_values, expected = _expected(tuple(case.items()))
    case = problem.case
    function = partial(problem.found, implementation)
    with _layout(monkeypatch, case), _types(case):
        found = to_second_order(function, problem.arguments, problem.direction, weights, case.order)
    outputs = found.pop("outputs")
    _assert_close(outputs, expected_values, _TOLERANCE[case.dtype], "outputs")
    for what in found:
        # What derivatives are taken of has the type of the case, and so have the gradients.
        rounding = _ROUNDING.get(case.dtype, 0) if what in ("gradient", "second") else 0
        _assert_close(found[what], expected[what], _TOLERANCE[case.dtype] + rounding, what)


@lru_cache(maxsize=1)  # of one implementation after the other
def _expected(items):
    """Return a problem, the weights of its outputs, the outputs and their derivatives."""
    problem = _Problem(dict(items))
    values = problem.expected(oracle_net, _wide(problem.arguments))
    double = problem.case.dtype == "float64"
    weights = problem.random_like(values, np.float64 if double else np.float32)
    arrays = map(_wide, (problem.arguments, problem.direction, weights))
    return problem, weights, values, derivatives(partial(problem.expected, plain_loop), *arrays)


def _types(case):
    return jax.enable_x64(case.dtype == "float64")


class _Problem:
    """The arrays of a case, its call of ``gru``, and the same for the oracles."""

    def __init__(self, case):
        name = _name(case)
        self.case = case = SimpleNamespace(**case)
        self.rng = rng = np.random.default_rng(zlib.crc32(name.encode()))
        rows, inputs, self.units, self.steps = _SIZES[case.size]
        even = rows + rows % 2
        self.batch = {"time": (), "batch, batch, time": (2, even // 2)}.get(case.axes, (rows,))
        self.rows = int(np.prod(self.batch))
        self.net = self._net(inputs)
        self.arguments = {"net": self.net, "xs": self._normal(self.rows, self.steps, inputs)}
        if case.h0 != "none":
            self.arguments["h0"] = self._state(*[self.rows] * (case.h0 == "every row"))
        if case.resets == "to a state":
            self.arguments["reset_state"] = self._state(self.rows)
        self.direction = self.random_like(self.arguments, case.dtype)
        self.valid = self.resets = None
        if case.padding == "lengths":
            # None far beyond the half, so that a last chunk holds nothing but padding.
            lengths = rng.integers(0, self.steps // 2 + 2, self.rows).clip(max=self.steps)
            self.valid = np.arange(self.steps) < lengths[:, None]
        elif case.padding == "mask":
            self.valid = rng.random((self.rows, self.steps)) < 0.7
            self.valid[:, 2:4] = False  # a chunk
        if case.resets != "none":
            self.resets = rng.random((self.rows, self.steps)) < 0.4
        self.kept = []  # by dropout, in the order of drawing
        self.factors = self._factors()

    def random_like(self, tree, dtype):
        return jax.tree.map(lambda leaf: self._normal(*leaf.shape, dtype=dtype), tree)

    def found(self, implementation, arguments):
        """Return the outputs and last states of ``gru``, with one batch axis first."""
        case, valid = self.case, self.valid
        xs, options = arguments["xs"], {}
        if valid is not None:
            xs = jnp.where(valid[..., None], xs, jnp.nan)
        if case.padding == "lengths":
            options["lengths"] = valid.sum(axis=1).reshape(self.batch)
        elif case.padding == "mask":
            options["mask"] = self._given(valid)
        if self.resets is not None:
            options["resets"] = self._given(self.resets)
        h0 = arguments.get("h0")
        if case.h0 == "every row":
            h0 = jax.tree.map(self._batched, h0)
        if case.resets == "to a state":
            options["reset_state"] = jax.tree.map(self._batched, arguments["reset_state"])
        elif case.resets == "to a number":
            options["reset_state"] = _NUMBER
        elif case.resets == "to h0":
            options["reset_state"] = h0
        kept = iter(self.kept)

        def draw(key, p, shape):
            drawn = next(kept)
            assert (p, shape) == (1 - _RATE, drawn.shape)
            return drawn

        with mock.patch.object(jax.random, "bernoulli", draw), warnings.catch_warnings():
            # Zeros after resets, which were h0 before.
            warnings.simplefilter("ignore", FutureWarning)
            ys, h = jaxgru.gru(
                arguments["net"],
                self._given(xs),
                h0,
                reverse=case.reverse,
                time_major=case.axes == "time, batch",
                return_sequences=case.outputs != "last",
                zero_masked=case.outputs == "zero where masked",
                dropout=_DROPOUT[case.dropout],
                recurrent_dropout=case.recurrent_dropout,
                key=jax.random.key(0),
                remat=max(1, self.steps) if case.remat == "all" else case.remat,
                implementation=implementation,
                **options,
            )
        if case.axes == "time, batch" and case.outputs != "last":
            ys = jax.tree.map(lambda ys: ys.swapaxes(0, 1), ys)
        return jax.tree.map(
            lambda leaf: leaf.reshape(self.rows, *leaf.shape[len(self.batch) :]), (ys, h)
        )

    def expected(self, run, arguments):
        """Return the same by an oracle."""
        case, valid, xs = self.case, self.valid, arguments["xs"]
        if valid is not None:
            xs = xs * valid[..., None].astype(np.float64)
        h0 = arguments.get("h0", jax.tree.map(_zeros, self.net, is_leaf=nets.is_layer))
        if case.h0 != "every row":
            h0 = jax.tree.map(lambda h: h + np.zeros((self.rows, 1)), h0)
        flags = {"valid": valid, "resets": self.resets}
        state = arguments.get("reset_state")
        if case.resets == "to a number":
            state = jax.tree.map(lambda h: 0.0 * h + _NUMBER, h0)
        elif case.resets == "to h0":
            state = h0
        ys, h = run(
            arguments["net"],
            xs,
            h0,
            **flags,
            reset_state=state,
            reverse=case.reverse,
            factors=self.factors,
        )
        if case.outputs == "last":
            ys = last_outputs(h)
        elif case.outputs == "zero where masked":
            ys = jax.tree.map(lambda ys: ys * valid[..., None].astype(np.float64), ys)
        return ys, h

    def _factors(self):
        """Draw what is kept; return the factors of each layer, in the structure of the net."""
        layers, structure = jax.tree.flatten(self.net, is_leaf=nets.is_layer)

        def draw(*shape):
            self.kept.append(self.rng.random(shape) >= _RATE)
            return self.kept[-1] / (1 - _RATE)

        factors = []
        for number, layer in enumerate(layers):
            inputs = state = 1.0
            if self.case.dropout.startswith("inputs") or (self.case.dropout != "none" and number):
                steps = 1 if self.case.dropout == "inputs, shared" else self.steps
                inputs = draw(steps, self.rows, layer.input_size).swapaxes(0, 1)
            if self.case.recurrent_dropout:
                state = draw(self.rows, layer.hidden_size)
            factors.append(Factors(inputs, state))
        return structure.unflatten(factors)

    def _net(self, inputs):
        case, units = self.case, self.units
        pairs = variants.SLOPES[case.slopes]

        def layer(number, inputs):
            activation, recurrent_activation = pairs[(case.turn + number) % len(pairs)]
            # Gates away from 1/2, and no blow-up within a few steps where they are unbounded.
            scale = 0.7 / (inputs + units) ** 0.5
            if case.slopes == "of outputs":
                scale = 0.1 if recurrent_activation == "exponential" else min(scale, 0.25)
            shapes = [(inputs, 3 * units), (units, 3 * units), (3 * units,), (3 * units,)]
            kernel, recurrent_kernel, *biases = (self._normal(*s, scale=scale) for s in shapes)
            has = cases.BIASES[case.biases]
            return jaxgru.GRUParams(
                kernel,
                recurrent_kernel,
                *(bias if is_there else None for bias, is_there in zip(biases, has, strict=True)),
                reset_after=case.reset_after != bool(number),
                activation=activation,
                recurrent_activation=recurrent_activation,
                clip=0.5 if case.slopes == "clipped" else None,
            )

        one = layer(0, inputs)
        if case.net in ("layer", "backward"):
            return one if case.net == "layer" else jaxgru.Backward(one)
        if case.net == "stack":
            return one, layer(1, units)
        merge = None if case.net == "pair" else case.net
        return jaxgru.Bidirectional(one, layer(1, inputs), merge)

    def _state(self, *batch):
        return jax.tree.map(
            lambda layer: self._normal(*batch, layer.hidden_size), self.net, is_leaf=nets.is_layer
        )

    def _normal(self, *shape, dtype=None, scale=1.0):
        numbers = scale * self.rng.standard_normal(shape)
        return numbers.astype(jnp.dtype(dtype or self.case.dtype))

    def _batched(self, array):
        """Return (rows, ...) with the batch axes of the case."""
        return array.reshape((*self.batch, *array.shape[1:]))

    def _given(self, array):
        """Return (rows, steps, ...) in the layout of the case."""
        return array.swapaxes(0, 1) if self.case.axes == "time, batch" else self._batched(array)


@contextlib.contextmanager
def _layout(monkeypatch, case):
    """Cut time into chunks of two steps, and keep the gates, as is done at much larger sizes."""
    sequence._run_net.clear_cache()  # of programs of the same shapes, laid out or drawn otherwise
    with monkeypatch.context() as patch:
        if case.in_chunks:
            patch.setattr(layer_module, "chunk_steps", lambda time, _: min(time, 2))
        if case.gates_kept:
            patch.setattr(layout, "_WIDE", 1)
        yield
    sequence._run_net.clear_cache()


def _wide(tree):
    return jax.tree.map(lambda leaf: leaf.astype(np.float64), tree)


def _zeros(layer):
    return np.zeros(layer.hidden_size)


def _assert_close(found, expected, tolerance, what):
    pairs = zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True)
    for (path, leaf), other in pairs:
        assert leaf.shape == other.shape
        # Gradients in half precision may be beyond its range.
        beyond = np.abs(other) > float(jnp.finfo(leaf.dtype).max)
        leaf, other = (np.asarray(array).astype(np.float64) for array in (leaf, other))
        other = np.where(beyond, np.copysign(np.inf, other), other)
        scale = max(1.0, np.abs(other[~beyond]).max(initial=0))
        where = f"{what}: {jax.tree_util.keystr(path)}"
        np.testing.assert_allclose(leaf / scale, other / scale, 0, tolerance, err_msg=where)

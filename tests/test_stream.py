"""One step at a time: the same states as ``gru``, whatever the arrays, and no step of a wrong one.

The oracles are the float64 loop and ``gru`` itself. Float32 is off by a few roundings of 6e-8 each
over a dozen steps of states within 1. That the native steps are bit-for-bit those of the native
``gru`` is in test_stream_native.py.
"""

import copy
import dataclasses
import pickle
import threading

import cases
import fresh
import jax
import jax.numpy as jnp
import numpy as np
import oracle
import pytest

import jaxgru
from jaxgru import Backward, Bidirectional, Stream
from jaxgru._recurrence import library

TOLERANCE = 1e-6

_ALL = ["native", "scan"] if library.stream_type()[1] is None else ["scan"]
pytestmark = pytest.mark.parametrize("implementation", _ALL)


def _net(key, *sizes, dtype=np.float32, **variant):
    """Return a layer, or a stack for more than two sizes, of NumPy arrays."""
    keys = jax.random.split(key, len(sizes) - 1)
    with jax.enable_x64(True):
        layers = [
            cases.random_params(k, inputs, units, dtype=dtype, **variant)
            for k, inputs, units in zip(keys, sizes, sizes[1:], strict=False)
        ]
        layers = jax.tree.map(np.asarray, layers)
    return layers[0] if len(layers) == 1 else tuple(layers)


def _inputs(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def _expected(net, xs):
    """Return the outputs (..., T, O) of the float64 loop."""
    for params in net if isinstance(net, tuple) else [net]:
        xs, _ = oracle.gru_batch(params, xs)
    return xs


def _assert_close(found, expected, atol=TOLERANCE):
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


@pytest.mark.parametrize("sizes", [(3, 5), (6, 6), (7, 16), (4, 6, 5, 3)])
@pytest.mark.parametrize("reset_after", [True, False])
def test_steps_and_chunks_are_the_whole_run(implementation, key, sizes, reset_after):
    net, xs = _net(key, *sizes, reset_after=reset_after), _inputs(13, sizes[0])
    stream = Stream(net, implementation=implementation)
    assert (stream.input_size, stream.output_size) == (sizes[0], sizes[-1])
    assert (stream.streams, stream.implementation) == (None, implementation)
    out = np.empty(sizes[-1], np.float32)
    ys = [stream(x).copy() if t % 2 else stream(x, out).copy() for t, x in enumerate(xs[:5])]
    many = np.empty((5, sizes[-1]), np.float32)
    assert stream(xs[5:10], out=many) is many
    ys += [*many, *stream(xs[10:10]), *stream(xs[10:])]
    _assert_close(np.stack(ys), _expected(net, xs))
    assert stream(xs[0], out) is out


@pytest.mark.parametrize("biases", cases.BIASES)
def test_biases_that_are_missing(implementation, key, biases):
    net, xs = _net(key, 3, 5, biases=biases), _inputs(6, 3)
    _assert_close(Stream(net, implementation=implementation)(xs), _expected(net, xs))


@pytest.mark.parametrize("sizes", [(3, 5), (4, 6, 5)])
def test_streams_advance_in_one_call_and_only_those_with_new_inputs(implementation, key, sizes):
    net, rows = _net(key, *sizes), 7
    stream = Stream(net, rows, implementation=implementation)
    assert stream.streams == rows
    xs = _inputs(9, rows, sizes[0])
    active = np.random.default_rng(1).random((6, rows)) < 0.6
    active[2], active[3] = True, False
    seen = [[] for _ in range(rows)]  # the inputs of each stream
    last = np.zeros((rows, sizes[-1]))

    def see(xs, flags, ys):
        for row in range(rows):
            if flags[row]:
                seen[row] += list(xs[:, row])
                _assert_close(ys[:, row], _expected(net, np.array(seen[row]))[-len(xs) :])
            else:
                np.testing.assert_array_equal(ys[:, row], np.tile(last[row], (len(xs), 1)))
        last[...] = ys[-1]

    for x, flags in zip(xs, active, strict=False):
        x[~flags] = np.nan  # of no effect
        see(x[None], flags, stream(x, active=flags)[None])
    see(xs[6:8], active[0], stream(xs[6:8], active=active[0]))
    see(xs[8:], np.ones(rows, bool), stream(xs[8:]))


@pytest.mark.parametrize("streams", [None, 1, 3])
def test_the_state_is_read_and_set_as_that_of_gru(implementation, key, streams):
    net = _net(key, 4, 6, 5)
    stream = Stream(net, streams, implementation=implementation)
    leading = () if streams is None else (streams,)
    xs = _inputs(8, *leading, 4)
    stream(xs[:5])
    first, second = kept = stream.state
    assert (first.shape, second.shape) == ((*leading, 6), (*leading, 5))
    assert isinstance(kept, tuple)
    whole = jaxgru.gru(net, jnp.asarray(xs[:5]), time_major=True)[1]
    jax.tree.map(_assert_close, kept, whole)
    rest = stream(xs[5:])
    before = [array.copy() for array in kept]
    stream.state = kept
    np.testing.assert_array_equal(stream(xs[5:]), rest)
    for array, copied in zip(kept, before, strict=True):
        np.testing.assert_array_equal(array, copied)  # a copy, which later steps leave alone

    # Any state of the net: JAX's arrays, one that broadcasts, None for zeros.
    start = np.full(6, 0.5)
    stream.state = (jnp.asarray(start, jnp.float32), None)
    h0 = (jnp.asarray(start, jnp.float32), None)
    _assert_close(stream(xs), jaxgru.gru(net, jnp.asarray(xs), h0, time_major=True)[0])
    stream.state = None
    _assert_close(stream(xs), jaxgru.gru(net, jnp.asarray(xs), time_major=True)[0])


def test_the_state_has_the_structure_of_the_net(implementation, key):
    one, two = _net(key, 4, 4), _net(key, 4, 6)
    stream = Stream([one, (Backward(Backward(one)), two)], implementation=implementation)
    first, (second, third) = stream.state
    assert isinstance(second, Backward)
    assert isinstance(second.net, Backward)
    assert (first.shape, second.net.net.shape, third.shape) == ((4,), (4,), (6,))
    xs = _inputs(5, 4)
    _assert_close(stream(xs), _expected((one, one, two), xs))
    with pytest.raises(ValueError, match=r"state\[1\]\[1\] has shape \(4,\): expected \(..., 6\)"):
        stream.state = [None, (None, np.zeros(4, np.float32))]


@pytest.mark.parametrize(
    ("which", "rows"),
    [
        (None, [0, 1, 2, 3]),
        (2, [2]),
        (-1, [3]),
        (np.int32(1), [1]),
        ([0, 3, 0], [0, 3]),
        (np.array([1, 2]), [1, 2]),
        ([], []),
        ([True, False, False, True], [0, 3]),
        (np.array([False, True, False, False]), [1]),
    ],
)
def test_reset_of_some_streams(implementation, key, which, rows):
    stream = Stream(_net(key, 3, 5, 4), 4, implementation=implementation)
    stream(_inputs(4, 3))
    before = stream.state
    stream.reset(which)
    for array, old in zip(stream.state, before, strict=True):
        assert (old != 0).all()
        expected = old.copy()
        expected[rows] = 0
        np.testing.assert_array_equal(array, expected)


def test_weights_are_copied(implementation, key):
    net, xs = _net(key, 3, 5), _inputs(5, 3)
    net = jax.tree.map(np.array, net)
    stream = Stream(net, implementation=implementation)
    expected = Stream(net, implementation=implementation)(xs)
    for leaf in jax.tree.leaves(net):
        leaf[...] = 0
    np.testing.assert_array_equal(stream(xs), expected)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float32, np.float64])
def test_the_type_is_that_of_the_weights_as_they_are_stored(implementation, key, dtype):
    # Whatever JAX's x64 mode is: it is off here. Half precision is computed in single.
    net, xs = _net(key, 3, 5, dtype=dtype), _inputs(12, 3, dtype=np.float64)
    stream = Stream(net, implementation=implementation)
    state = np.float64 if dtype == np.float64 else np.float32
    ys = stream(xs.astype(state))
    assert ys.dtype == stream.dtype == stream.state.dtype == state
    # Double precision: a dozen steps of roundings of 1e-16.
    atol = 1e-14 if state == np.float64 else TOLERANCE
    _assert_close(ys, _expected(net, xs.astype(state)), atol)
    stream.reset()
    if dtype == np.float64:
        # Of float32 inputs, every digit counts.
        _assert_close(stream(_inputs(12, 3)), _expected(net, _inputs(12, 3)), atol)


def _big_endian(x):
    return x.astype(">f4")


def _misaligned(x):
    memory = np.zeros(x.nbytes + 1, np.uint8)
    view = memory[1:].view(np.float32).reshape(x.shape)
    view[...] = x
    assert not view.flags.aligned
    return view


def _strided(x):
    view = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan, np.float32)[..., ::2]
    view[...] = x
    return view


def _reversed(x):
    return np.ascontiguousarray(x[::-1])[::-1]


def _read_only(x):
    x = x.copy()
    x.flags.writeable = False
    return x


@pytest.mark.parametrize(
    "convert",
    [
        *(_big_endian, _misaligned, _strided, _reversed, _read_only, np.asfortranarray),
        *(np.float64, jnp.asarray, np.ndarray.tolist, lambda x: x.astype(np.float64).astype("O")),
        lambda x: x.view(np.recarray),
        lambda x: np.broadcast_to(x, (1, *x.shape))[0],
    ],
)
@pytest.mark.parametrize("streams", [None, 4])
def test_arrays_of_any_kind_are_taken_by_their_numbers(implementation, key, convert, streams):
    net, xs = _net(key, 3, 5), _inputs(4, 3)
    stream = Stream(net, streams, implementation=implementation)
    expected = Stream(net, streams, implementation=implementation)(xs)
    converted = convert(xs)
    if getattr(converted, "dtype", None) == np.dtype(object):
        with pytest.raises(
            ValueError, match=r"^x has dtype object: expected a floating-point type"
        ):
            stream(converted)
        return
    np.testing.assert_array_equal(stream(converted), expected)


@pytest.mark.parametrize("prepare", [np.array, _misaligned, _strided, _reversed])
def test_outputs_go_into_arrays_of_any_layout(implementation, key, prepare):
    net, xs = _net(key, 3, 5), _inputs(4, 3)
    stream = Stream(net, implementation=implementation)
    expected = Stream(net, implementation=implementation)(xs)
    out = prepare(np.full((4, 5), np.nan, np.float32))
    assert stream(xs, out) is out
    np.testing.assert_array_equal(out, expected)


def test_inputs_and_outputs_may_share_memory(implementation, key):
    net = _net(key, 4, 4)
    stream, other = (Stream(net, 3, implementation=implementation) for _ in range(2))
    memory = _inputs(6, 3, 4)
    expected = other(memory[:5])
    np.testing.assert_array_equal(stream(memory[:5], memory[1:]), expected)
    np.testing.assert_array_equal(memory[1:], expected)
    one = _inputs(3, 4)
    expected = other(one.copy())
    np.testing.assert_array_equal(stream(one, one), expected)
    # The flags within the outputs.
    flags = one.view(np.bool_).reshape(-1)[:3]
    flags[...] = [True, False, True]
    given = flags.copy()
    x = _inputs(3, 4, seed=1)
    expected = other(x, active=given)
    np.testing.assert_array_equal(stream(x, one, active=flags), expected)


_F = np.float32
# The streams, what is given beside a good x, and the error.
_REFUSED = [
    (None, {"x": np.ones(4, _F)}, "x has shape (4,): expected (3,) or (T, 3)"),
    (None, {"x": np.ones((), _F)}, "x has shape (): expected (3,) or (T, 3)"),
    (None, {"x": np.ones((2, 2, 3), _F)}, "x has shape (2, 2, 3): expected (3,) or (T, 3)"),
    (None, {"x": np.ones((3, 0), _F)}, "x has shape (3, 0): expected (3,) or (T, 3)"),
    (2, {"x": np.ones(3, _F)}, "x has shape (3,): expected (2, 3) or (T, 2, 3)"),
    (2, {"x": np.ones((3, 3), _F)}, "x has shape (3, 3): expected (2, 3) or (T, 2, 3)"),
    (2, {"x": np.ones((2, 3, 3), _F)}, "x has shape (2, 3, 3): expected (2, 3) or (T, 2, 3)"),
    (None, {"x": np.ones(3, np.int16)}, "x has dtype int16: expected a floating-point type"),
    (None, {"x": [1, 2, 3]}, "x has dtype int64: expected a floating-point type"),
    (None, {"x": np.ones(3, bool)}, "x has dtype bool: expected a floating-point type"),
    (None, {"x": np.ones(3, complex)}, "x has dtype complex128: expected a floating-point type"),
    (None, {"x": None}, "x has dtype object: expected a floating-point type"),
    (None, {"x": np.ma.masked_array(np.ones(3, _F), [True, False, False])},
     "x is a numpy.MaskedArray: expected a JAX or NumPy array"),
    (None, {"out": np.ones(5)}, "out has dtype float64 and shape (5,): expected float32 and (5,)"),
    (None, {"out": np.ones(5, ">f4")}, "out has dtype >f4 and shape (5,): expected float32"),
    (None, {"out": np.ones(4, _F)}, "out has dtype float32 and shape (4,): expected float32 and"),
    (None, {"out": np.ones((1, 5), _F)}, "out has dtype float32 and shape (1, 5): expected"),
    (None, {"out": np.ones(0, _F)}, "out has dtype float32 and shape (0,): expected float32 and"),
    (None, {"x": np.ones((2, 3), _F), "out": np.ones(5, _F)},
     "out has dtype float32 and shape (5,): expected float32 and (2, 5), for this x"),
    (None, {"out": _read_only(np.ones(5, _F))}, "out is read-only: expected an array that can be"),
    (None, {"out": [0.0] * 5}, "out is a list: expected a NumPy array"),
    (None, {"out": jnp.zeros(5)}, "out is a jaxlib."),
    (None, {"out": np.ma.zeros(5, _F)}, "out is a numpy.MaskedArray: expected a NumPy array"),
    (None, {"active": np.ones(1, bool)}, "active is given, and streams is None: expected None"),
    (2, {"active": np.ones(3, bool)}, "active has dtype bool and shape (3,): expected bool and (2"),
    (2, {"active": True}, "active has dtype bool and shape (): expected bool and (2,)"),
    (2, {"active": np.ones(2, np.uint8)}, "active has dtype uint8 and shape (2,): expected bool"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("streams", "given", "message"), _REFUSED, ids=[f"{row[0]}: {row[2]}" for row in _REFUSED]
)
def test_what_does_not_fit_is_an_error_and_no_step(implementation, key, streams, given, message):
    stream = Stream(_net(key, 3, 5), streams, implementation=implementation)
    good = np.ones(3 if streams is None else (streams, 3), np.float32)
    stream(good)
    before, weak = stream.state, dict(given)
    x = weak.pop("x", good)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        stream(x, **weak)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(stream.state, before)
    stream(good)  # it goes on


@pytest.mark.parametrize(
    ("streams", "which", "message"),
    [
        (None, 0, "which is 0, and streams is None: expected None"),
        (3, 3, "which is 3: expected indices below 3, or that many booleans"),
        (3, -4, "which is -4: expected indices below 3"),
        (3, [0, 3], "which is [0, 3]: expected indices below 3"),
        (3, [True, False], "which is [True, False]: expected indices below 3"),
        (3, True, "which is True: expected indices below 3"),
        (3, 1.0, "which is 1.0: expected indices below 3"),
        (3, [[0]], "which is [[0]]: expected indices below 3"),
        (3, "1", "which is '1': expected indices below 3"),
    ],
)
def test_which_streams_there_are(implementation, key, streams, which, message):
    stream = Stream(_net(key, 3, 5), streams, implementation=implementation)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        stream.reset(which)
    assert str(caught.value).startswith(message)


def test_nets_and_numbers_of_streams_that_are_refused(implementation, key):
    layer = _net(key, 4, 4)
    for net, message in [
        (Backward(layer), "net.net runs backward, from the last step: expected a forward net"),
        ((layer, Backward(layer)), "net[1].net runs backward, from the last step"),
        ((layer, Bidirectional(layer, layer)), "net[1].backward runs backward"),
        (Bidirectional(layer, Backward(layer)), "net is a Bidirectional: expected a forward net"),
        ((layer, _net(key, 3, 4)), "net[0] has 4 outputs and net[1] has 3 inputs"),
        ("gru.npz", "net is a str: expected a GRUParams"),
    ]:
        with pytest.raises(ValueError) as caught:  # noqa: PT011
            Stream(net, implementation=implementation)
        assert str(caught.value).startswith(message)
    for streams in (0, -1, 1.0, "2", True):
        message = f"streams is {streams!r}: expected None or an integer from 1"
        with pytest.raises(ValueError, match=message):
            Stream(layer, streams, implementation=implementation)


@pytest.mark.parametrize("streams", [None, 3])
@pytest.mark.parametrize(
    "again", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy]
)
def test_a_copy_has_the_weights_and_the_state_and_goes_its_own_way(
    implementation, key, streams, again
):
    stream = Stream(_net(key, 4, 6, 5), streams, implementation=implementation)
    xs = _inputs(9, *([] if streams is None else [streams]), 4)
    stream(xs[:4])
    other = again(stream)
    assert repr(other) == repr(stream)
    assert type(other.state) is tuple
    found = other(xs[4:])
    np.testing.assert_array_equal(stream(xs[4:]), found)
    stream.reset()
    jax.tree.map(np.testing.assert_array_equal, other.state[1], found[-1])


def test_a_second_thread_is_an_error(implementation, key):
    stream = Stream(_net(key, 3, 5), implementation=implementation)
    x, errors = np.ones(3, np.float32), []

    def use():
        for action in (
            lambda: stream(x),
            lambda: stream(x.tolist()),
            stream.reset,
            lambda: stream.state,
            lambda: setattr(stream, "state", None),
        ):
            try:
                action()
            except RuntimeError as error:
                errors.append(str(error))

    with stream._steps:  # what each use of the stream does
        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
    message = "the stream is in use by another thread: expected one thread at a time"
    assert errors == [message] * 5
    assert (stream.state == 0).all()
    use()  # one after the other is none
    assert len(errors) == 5


def test_one_stream_after_the_other_in_threads(implementation, key):
    net, xs = _net(key, 3, 5), _inputs(40, 3)
    expected = Stream(net, implementation=implementation)(xs)
    streams = [Stream(net, implementation=implementation) for _ in range(4)]
    found = [[] for _ in streams]

    def use(i):
        found[i] += [streams[i](x) for x in xs]

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for ys in found:
        _assert_close(np.array(ys), expected)


def test_a_traced_value_is_an_error(implementation, key):
    stream = Stream(_net(key, 3, 5), implementation=implementation)
    with pytest.raises(ValueError, match=r"^x is a traced value: expected a NumPy array"):
        jax.jit(stream)(np.ones(3, np.float32))


def test_numbers_that_are_not_finite(implementation, key):
    stream = Stream(_net(key, 3, 5), 2, implementation=implementation)
    x = np.ones((2, 3), np.float32)
    x[0, 1] = np.nan
    ys = stream(x)
    assert np.isnan(ys[0]).all()
    assert np.isfinite(ys[1]).all()
    stream.reset(0)
    assert np.isfinite(stream(np.ones((2, 3), np.float32))).all()


def test_it_runs_in_a_fresh_process_with_warnings_as_errors(implementation, tmp_path, key):
    stream = Stream(_net(key, 3, 5), implementation=implementation)
    stream(_inputs(4, 3))
    path = tmp_path / "stream.pickle"
    path.write_bytes(pickle.dumps(stream))
    script = f"""
import pickle, pathlib, numpy as np
stream = pickle.loads(pathlib.Path({str(path)!r}).read_bytes())
print(stream, stream(np.ones(3, np.float32)).tobytes().hex())
"""
    expected = stream(np.ones(3, np.float32)).tobytes().hex()
    assert fresh.python("-c", script).split()[-1] == expected


def test_an_activation_of_its_own_takes_a_compiled_step(implementation, key):
    net, xs = _net(key, 3, 5, activation="softsign"), _inputs(6, 3)
    stack = (net, dataclasses.replace(_net(key, 5, 5), clip=0.5))
    for given in (net, stack):
        if implementation == "native":
            with pytest.raises(ValueError, match=r"^implementation is 'native': expected "):
                Stream(given, implementation=implementation)
        stream = Stream(given)
        assert stream.implementation == "scan"
        _assert_close(stream(xs), _expected(given, xs))

"""A GRU over whole sequences: layout, initial states, padding, episodes, and nets of layers."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxgru.checks import check_last_axis, check_precision, check_remat, to_state_dtype
from jaxgru.dropout import Dropout, as_dropout, check_rate
from jaxgru.masks import check_masks, within
from jaxgru.net import Net, check_net, has_stack, map_state
from jaxgru.network import NetRun, layer_keys
from jaxgru.params import GRUParams
from jaxgru.recurrence import Remat
from jaxgru.recurrence.step import Precision

Array = jax.Array


def gru(
    net: Net,
    xs: Array,
    h0: Any = None,
    *,
    lengths: Array | None = None,
    mask: Array | None = None,
    resets: Array | None = None,
    reset_state: Any = None,
    reverse: bool = False,
    time_major: bool = False,
    zero_masked: bool = False,
    return_sequences: bool = True,
    dropout: float | Dropout = 0.0,
    recurrent_dropout: float = 0.0,
    key: Array | None = None,
    precision: Precision = None,
    remat: Remat = None,
) -> tuple[Any, Any]:
    """Return the states of a GRU at every step of its input, and the last state.

    With ``cell`` the step of ``GRUParams``: ``h_t = cell(h_{t-1}, x_t)`` for t = 1 ... T. In a
    stack, the states of a layer are the inputs of the next. Passing the last state of one chunk
    as ``h0`` of the next gives what the whole gives.

    Args:
        net: a layer, a ``Bidirectional`` of two nets, or a stack of nets, first layer first: a
            tuple or a list. I inputs, and O outputs: H of the last layer, or 2H of both directions.
        xs: the input, ``(..., T, I)``, or ``(T, ..., I)`` with ``time_major``; any batch axes.
        h0: the state before the first step, in the structure of the net, with ``(..., H)`` or
            anything that broadcasts to it for each layer. None, here or within, is zeros.
        lengths: integers ``(...)``, 0 to T: how many steps of each sequence count. Under
            ``jax.jit``, where values cannot be looked at, one below 0 counts as 0 and one above T
            as T. Steps beyond the longest cost time: cut xs there.
        mask: booleans ``(..., T)``, or ``(T, ...)`` with ``time_major``: True at the steps that
            count. At the others the state is held, to the bit, and what their input holds, NaN
            included, reaches nothing. Give ``lengths`` or ``mask``, not both.
        resets: booleans in the shape of a mask, True at each step that begins an episode. The
            sequence is cut there: the state before the step is ``reset_state``. Going backwards it
            is cut at the same place, and the state before the last step of an episode is
            ``reset_state``. A step that does not count begins none.
        reset_state: the state at the begin of each such episode, like ``h0``; h0 if None.
        reverse: go from the last step to the first. The state at index t is then the one after
            steps T ... t, and the last state is that of index 0. (Keras' ``go_backwards`` gives
            the states in the order of computing.)
        time_major: time is the first axis of xs, mask, resets and ys.
        zero_masked: ys are zero where masked, as PyTorch's packed sequences and ONNX have them.
            They repeat the held state otherwise, as Keras has them.
        return_sequences: return all states. If False, ys are those of the last state alone, and
            the others are not kept in memory.
        dropout: a rate for what passes between the layers of a stack, as PyTorch's ``dropout``, or
            a ``jaxgru.Dropout``, which can say what Keras' ``dropout`` is.
        recurrent_dropout: a rate for the state where it enters the products: one draw for each
            sequence, unit and layer, for all steps and gates. (Keras draws for each gate.)
        key: a JAX random key: what is dropped depends on nothing else.
        precision: of the matrix products, as in ``jax.lax.dot_general``. JAX's default multiplies
            in TF32 on recent NVIDIA GPUs and in bfloat16 on TPUs: ask for ``"highest"`` to have
            the exact numbers of a CPU there.
        remat: what is kept for a gradient. An integer K, 1 to T: the states of every K-th step, the
            rest being computed again. "states": the states alone. None: whatever is fastest.

    Returns:
        The outputs ``ys``, ``(..., T, O)``, or ``(T, ..., O)`` with ``time_major``, or ``(..., O)``
        without ``return_sequences``; a pair of such where a merge is None. Then the last state,
        ``(..., H)`` for each layer, in the structure of the net. Their type is that of the
        arguments promoted, and at least float32.

    Raises:
        ValueError: layers do not fit together, a shape or dtype does not fit them, a length is not
            within 0 to T, remat not within 1 to T, precision unknown, dropout has no key or
            nothing to drop, or two arguments contradict.

    >>> import jax, jax.numpy as jnp, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> ys, h = jaxgru.gru(params, jnp.ones((2, 7, 3)), lengths=jnp.array([7, 4]))
    >>> ys.shape, h.shape
    ((2, 7, 5), (2, 5))
    >>> bool(jnp.all(ys[:, -1] == h)), bool(jnp.all(ys[1, 3] == h[1]))
    (True, True)
    >>> stack = (params, jaxgru.init(jax.random.key(1), 5, 4))
    >>> ys, (h1, h2) = jaxgru.gru(stack, jnp.ones((2, 7, 3)))
    >>> ys.shape, h1.shape, h2.shape
    ((2, 7, 4), (2, 5), (2, 4))

    Source: Cho et al. 2014 (arXiv:1406.1078), in the convention of Keras.
    """
    inputs, _ = check_net(net)
    check_last_axis("xs", xs, inputs, "inputs")
    if jnp.ndim(xs) < 2:
        layout = "(T, ..., I)" if time_major else "(..., T, I)"
        raise ValueError(f"xs has shape {jnp.shape(xs)}: expected {layout}, a sequence of inputs")
    *steps, _ = xs.shape
    time, *batch = steps if time_major else (steps[-1], *steps[:-1])
    check_masks(lengths, mask, resets, tuple(steps), tuple(batch), time)
    if reset_state is not None and resets is None:
        raise ValueError("reset_state is given without resets: expected both")
    if zero_masked and not return_sequences:
        raise ValueError(
            "zero_masked is given without return_sequences: no masked step is returned"
        )
    drop = as_dropout(dropout)
    if drop is not None and drop.on == "between" and not has_stack(net):
        raise ValueError(
            f"dropout of {drop.rate} acts between layers and net has no two of them: expected a "
            "stack, or jaxgru.Dropout(rate, on='inputs')"
        )
    check_rate("recurrent_dropout", recurrent_dropout)
    check_precision(precision)
    remat = check_remat(remat, time)
    if drop is None and not recurrent_dropout:
        key = None
    elif key is None:
        raise ValueError("dropout is given without a key: expected key=, a JAX random key")
    for name, state in (("h0", h0), ("reset_state", reset_state)):
        map_state(functools.partial(_check_state, tuple(batch)), net, state, name)
    net, xs, h0, reset_state = to_state_dtype(net, xs=xs, h0=h0, reset_state=reset_state)
    options = _Options(
        reverse=reverse,
        zero_masked=zero_masked,
        return_sequences=return_sequences,
        dropout=drop,
        recurrent_dropout=float(recurrent_dropout),
        precision=precision,
        remat=remat,
    )
    if not time_major:
        xs = jnp.moveaxis(xs, -2, 0)
        mask, resets = (None if f is None else jnp.moveaxis(f, -1, 0) for f in (mask, resets))
    arrays = _Arrays(xs, h0, lengths, mask, resets, reset_state, key)
    ys, h = _run(net, arrays, options)
    if return_sequences and not time_major:
        ys = jax.tree.map(lambda ys: jnp.moveaxis(ys, 0, -2), ys)
    return ys, h


def _check_state(batch: tuple[int, ...], layer: GRUParams, h: Any, where: str) -> None:
    if h is None:
        return
    check_last_axis(where, h, layer.hidden_size, "units")
    shape = (*batch, layer.hidden_size)
    try:
        fits = jnp.broadcast_shapes(h.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(f"{where} has shape {h.shape}: expected {shape}, as xs has it")


class _Arrays(NamedTuple):
    """The arguments of gru that are arrays or structures of arrays, time first."""

    xs: Array
    h0: Any
    lengths: Array | None
    mask: Array | None
    resets: Array | None
    reset_state: Any
    key: Array | None


class _Options(NamedTuple):
    """Those that are not."""

    reverse: bool
    zero_masked: bool
    return_sequences: bool
    dropout: Dropout | None
    recurrent_dropout: float
    precision: Precision
    remat: Remat


# Compiled as a whole, so that a call outside jit compiles once for its shapes, not every time.
@functools.partial(jax.jit, static_argnames="options")
def _run(net: Net, given: _Arrays, options: _Options) -> tuple[Any, Any]:
    """Run the net over arrays of one batch axis, ``(T, B, .)``, and give that its axes again."""
    time, *batch, inputs = given.xs.shape
    rows = math.prod(batch)

    def unflattened(array: Array) -> Array:
        *time, _, last = array.shape
        return array.reshape(*time, *batch, last)

    def full_state(layer: GRUParams, h: Array | None, where: str) -> Array:
        shape = (*batch, layer.hidden_size)
        h = jnp.zeros(shape, given.xs.dtype) if h is None else jnp.broadcast_to(h, shape)
        return h.reshape(rows, layer.hidden_size)

    xs, valid, resets = given.xs.reshape(time, rows, inputs), None, None
    if given.lengths is not None:
        valid = within(given.lengths.reshape(rows), time)
    if given.mask is not None:
        valid = given.mask.reshape(time, rows)
    if given.resets is not None:
        resets = given.resets.reshape(time, rows)
    if valid is not None:
        # Before all else: what padding holds reaches neither a value nor a derivative.
        xs = jnp.where(valid[..., None], xs, jnp.zeros((), xs.dtype))
    h0 = map_state(full_state, net, given.h0, "h0")
    if given.reset_state is None:
        reset_state = h0
    else:
        reset_state = map_state(full_state, net, given.reset_state, "reset_state")
    run = NetRun(
        valid=valid,
        resets=resets,
        dropout=options.dropout,
        recurrent_dropout=options.recurrent_dropout,
        keys=layer_keys(net, given.key),
        precision=options.precision,
        remat=options.remat,
    )
    ys, h = run.outputs(
        net, xs, h0, reset_state, reverse=options.reverse, last_only=not options.return_sequences
    )
    if options.zero_masked and valid is not None:
        ys = jax.tree.map(lambda ys: jnp.where(valid[..., None], ys, jnp.zeros((), ys.dtype)), ys)
    ys, h = jax.tree.map(unflattened, (ys, h))
    return ys, h

"""One step at a time, from NumPy arrays to NumPy arrays, with the state kept."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from jaxgru._checks import check_implementation, check_state, shape_of
from jaxgru._net import Layer, Net, State, check_net, fold, map_layers, unroll
from jaxgru._recurrence.implementation import Implementation
from jaxgru._steps import CompiledSteps, native_steps
from jaxgru.streaming import state_dtype


class Stream:
    """A net that runs step by step as its inputs come, with its state kept from call to call.

    ``y = stream(x)`` is one step of ``jaxgru.gru``, or several, from NumPy arrays to NumPy arrays::

        ys, h = gru(net, xs, h);  y = ys[-1]

    The native loops compute it without a call of JAX, in a few microseconds, bit-for-bit as ``gru``
    with ``implementation="native"``. Elsewhere a compiled step of JAX does.

    The weights are copied when the stream is made, so a later change of them has no effect. The
    state begins as zeros. Pickles and copies keep the weights and the state. A stream serves one
    thread at a time, which may change; other Python threads run during a call of more than
    about 0.1 ms.

    Args:
        net: a layer, or a tuple or list of layers, a stack, first layer first. It has I inputs and
            O outputs. A net that runs backward cannot be a stream.
        streams: the number n of independent streams that each call advances; None for one, whose
            arrays have no axis of streams.
        implementation: what runs the steps. "native": the compiled loops, for tanh and sigmoid
            without a clip. "scan": a compiled step of JAX, on its default device. "auto":
            native where it serves, else scan.

    Attributes:
        streams: as given.
        implementation: "native" or "scan", whichever runs the steps.
        dtype: the type of the state and of the outputs: that of the weights as they are stored, and
            at least float32.
        input_size: the number of inputs, I.
        output_size: the number of outputs, O.

    Raises:
        ValueError: layers do not fit together or run backward, streams is below 1, or
            implementation is "native" and cannot serve.

    >>> import jax, numpy as np, jaxgru
    >>> params = jaxgru.init(jax.random.key(0), 3, 5)
    >>> stream = jaxgru.Stream(params)
    >>> y = np.empty(5, np.float32)
    >>> for x in np.ones((7, 3), np.float32):
    ...     _ = stream(x, out=y)
    >>> bool(np.allclose(y, jaxgru.gru(params, np.ones((7, 3), np.float32))[1], atol=1e-6))
    True
    >>> stream.reset()
    >>> stream(np.ones((7, 3), np.float32)).shape
    (7, 5)

    Source: the equations of ``GRUParams``.
    """

    def __init__(
        self, net: Net, streams: int | None = None, *, implementation: Implementation = "auto"
    ) -> None:
        self.input_size, output_size = check_net(net)
        fold(_forward, net, merge=_both)
        assert output_size is not None  # of a net without a pair of outputs
        self.output_size = output_size
        check_implementation(implementation)
        if streams is not None and not (
            isinstance(streams, int | np.integer) and not isinstance(streams, bool) and streams >= 1
        ):
            raise ValueError(f"streams is {streams!r}: expected None or an integer from 1")
        self.streams = None if streams is None else int(streams)
        self.dtype = state_dtype(net)
        self._asked = implementation
        self._net = map_layers(self._copied, net)
        layers = [layer.params for layer in unroll(self._net)]
        shape = (1 if self.streams is None else self.streams,)
        self._states = [np.zeros((*shape, params.hidden_size), self.dtype) for params in layers]
        batched, steps = self.streams is not None, None
        if implementation != "scan":
            steps, reason = native_steps(layers, self._states, batched)
            if steps is None and implementation == "native":
                raise ValueError(f"implementation is 'native': {reason}")
        self.implementation = "scan" if steps is None else "native"
        # What takes arrays as they are, or returns NotImplemented; and what takes prepared ones.
        self._at_once: Callable[..., Any] = _unprepared if steps is None else steps.run
        self._steps = steps or CompiledSteps(self._net, self._states, batched)

    def __call__(
        self, x: ArrayLike, out: np.ndarray | None = None, *, active: ArrayLike | None = None
    ) -> np.ndarray:
        """Run one step, or a chunk of T steps, and return the outputs.

        Nothing is converted or allocated if x is a dense array in the type of the stream, and out
        is given.

        Args:
            x: the inputs, ``(I,)`` or ``(T, I)``; with n streams ``(n, I)`` or ``(T, n, I)``.
                Floating-point numbers of another type are rounded to that of the stream.
            out: the array for the outputs; a new one if None. It may be x.
            active: booleans ``(n,)``, False for streams without new inputs: their states are held
                bit-for-bit, their inputs have no effect, and their outputs are those of the step
                before. All are active if None.

        Returns:
            The outputs of each step, ``(O,)``, ``(T, O)``, ``(n, O)`` or ``(T, n, O)``; out if that
            is given.

        Raises:
            ValueError: x, out or active has another shape or type, or out cannot be written to.
            RuntimeError: another thread runs this stream.
        """
        y = self._at_once(x, out, active)
        return self._run_prepared(x, out, active) if y is NotImplemented else y

    @property
    def state(self) -> Any:
        """The states after the last step, copies in the structure of the net.

        Each is ``(H,)``, or ``(n, H)`` with n streams. It may be set to any state of the net, as
        ``h0`` of ``jaxgru.gru``: arrays that broadcast to these, or None for zeros.
        """
        with self._steps:
            copies = iter([state.copy() for state in self._states])
        return map_layers(lambda _: self._outer(next(copies)), self._net)

    @state.setter
    def state(self, value: State) -> None:
        leading = () if self.streams is None else (self.streams,)
        given: list[np.ndarray] = []

        def check(layer: Layer, h: Any) -> None:
            name, units = f"state{layer.path}", layer.params.hidden_size
            check_state(name, h, leading, units, "as the stream has it")
            h = np.zeros(units, self.dtype) if h is None else np.asarray(h)
            _check_floating(name, h)
            given.append(h.astype(self.dtype))

        map_layers(check, self._net, state=value)
        with self._steps:
            for state, h in zip(self._states, given, strict=True):
                state[...] = h

    def reset(self, which: ArrayLike | None = None) -> None:
        """Set the states to zeros, as before the first step.

        Args:
            which: the streams: an index, a list or array of them, or booleans ``(n,)``; all if
                None.

        Raises:
            ValueError: which names no streams of these.
            RuntimeError: another thread runs this stream.
        """
        rows: Any = slice(None) if which is None else self._rows(which)
        with self._steps:
            for state in self._states:
                state[rows] = 0

    def __repr__(self) -> str:
        """Show sizes and what runs the steps."""
        return (
            f"Stream({self.input_size} inputs, {self.output_size} outputs, streams={self.streams}, "
            f"{self.dtype.name}, {self.implementation})"
        )

    def __getstate__(self) -> tuple[Any, ...]:
        return self._net, self.streams, self._asked, self.state

    def __setstate__(self, kept: tuple[Any, ...]) -> None:
        net, streams, asked, state = kept
        self.__init__(net, streams, implementation=asked)  # type: ignore[misc]
        self.state = state

    def _copied(self, layer: Layer) -> Any:
        """Return the weights of a layer as arrays of NumPy of their own, in the stream's type."""
        return jax.tree.map(lambda leaf: np.array(leaf, self.dtype, order="C"), layer.params)

    def _outer(self, array: np.ndarray) -> np.ndarray:
        """Return the state of a layer as users see it."""
        return array[0] if self.streams is None else array

    def _rows(self, which: Any) -> np.ndarray:
        many = "None" if self.streams is None else f"indices below {self.streams}, or booleans"
        rows = np.asarray(which)
        expected = f"expected {many}, as streams is {self.streams}"
        if self.streams is None:
            raise ValueError(f"which is {which!r}: {expected}")
        if rows.dtype == np.bool_ and rows.shape == (self.streams,):
            return rows
        if rows.size == 0 and rows.ndim == 1:
            return rows.astype(np.intp)
        inside = np.issubdtype(rows.dtype, np.integer) and rows.ndim <= 1
        if not inside or rows.max() >= self.streams or rows.min() < -self.streams:
            raise ValueError(f"which is {which!r}: {expected}")
        return rows

    def _run_prepared(self, x: Any, out: Any, active: Any) -> np.ndarray:
        """Run the steps on arguments that are checked and converted here."""
        x = self._prepared_inputs(x)
        if active is not None:
            active = self._prepared_flags(active)
        if out is None:
            return self._steps.run(x, None, active)
        self._check_out(out, (*x.shape[:-1], self.output_size))
        plain = type(out) is np.ndarray and out.flags.c_contiguous and out.flags.aligned
        if plain and not any(np.may_share_memory(out, given) for given in (x, active)):
            return self._steps.run(x, out, active)
        out[...] = self._steps.run(x, None, active)
        return out

    def _prepared_inputs(self, x: Any) -> np.ndarray:
        x = _array("x", x)
        _check_floating("x", x)
        shape = (self.input_size,) if self.streams is None else (self.streams, self.input_size)
        if x.shape != shape and x.shape[1:] != shape:
            of_step, of_steps = (
                f"({', '.join(map(str, sizes))})" for sizes in (shape, ("T", *shape))
            )
            if len(shape) == 1:
                of_step = f"({self.input_size},)"
            raise ValueError(f"x has shape {x.shape}: expected {of_step} or {of_steps}")
        return np.require(x, self.dtype, ["C", "A"])

    def _prepared_flags(self, active: Any) -> np.ndarray:
        active = _array("active", active)
        if self.streams is None:
            raise ValueError("active is given, and streams is None: expected None")
        if active.dtype != np.bool_ or active.shape != (self.streams,):
            raise ValueError(
                f"active has dtype {active.dtype} and shape {active.shape}: expected bool and "
                f"({self.streams},)"
            )
        return np.require(active, requirements=["C", "A"])

    def _check_out(self, out: Any, shape: tuple[int, ...]) -> None:
        if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
            raise ValueError(f"out is a {type(out).__name__}: expected a NumPy array")
        if out.dtype != self.dtype or out.shape != shape:
            raise ValueError(
                f"out has dtype {out.dtype} and shape {out.shape}: expected {self.dtype} and "
                f"{shape}, as x has {len(shape)} axes"
            )
        if not out.flags.writeable:
            raise ValueError("out is read-only: expected an array that can be written to")


def _unprepared(*_: Any) -> Any:
    return NotImplemented


def _forward(layer: Layer, *_: Any) -> tuple[None, None]:
    if layer.reverse:
        raise ValueError(f"{layer.place} runs backward: expected a net that starts with any step")
    return None, None


def _both(path: str, *_: Any) -> None:
    raise ValueError(f"net{path} is a Bidirectional: expected layers that run forward")


def _array(name: str, value: Any) -> np.ndarray:
    if isinstance(value, jax.core.Tracer):
        raise ValueError(
            f"{name} is a traced value: expected a NumPy array; jaxgru.gru_cell traces"
        )
    if isinstance(value, np.ma.MaskedArray):
        shape_of(name, value)  # raises
    return np.asarray(value)


def _check_floating(name: str, array: np.ndarray) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise ValueError(f"{name} has dtype {array.dtype.name}: expected a floating-point type")

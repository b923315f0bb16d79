"""One step at a time, from NumPy arrays to NumPy arrays, with the state kept."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.typing import ArrayLike

from jaxgru._checks import check_implementation, check_state
from jaxgru._net import Layer, Net, State, check_net, fold, map_layers, unroll
from jaxgru._recurrence.implementation import Implementation
from jaxgru._steps import CompiledSteps, native_steps
from jaxgru._stream_arrays import Layout, check_floating, is_plain
from jaxgru.streaming import state_dtype


class Stream:
    """A net that runs step by step as inputs arrive, and keeps its state between calls.

    ``y = stream(x)`` is one step of ``jaxgru.gru``, or several, from NumPy arrays to NumPy arrays::

        ys, h = gru(net, xs, h);  y = ys[-1]

    The native loops compute it in a few microseconds without calling JAX, and the results are
    bit-for-bit identical to those of ``gru`` with ``implementation="native"``. Without them, a
    compiled step of JAX runs.

    The weights are copied when the stream is created, so later changes have no effect. The initial
    state is zero. Pickles and copies keep the weights and the state. Only one thread at a time may
    use a stream: another one gets a RuntimeError. Other Python threads run during a call of more
    than about 0.1 ms.

    Args:
        net: a layer, or a tuple or list of layers, a stack, first layer first. It has I inputs and
            O outputs. A net that runs backward cannot be a stream.
        streams: the number n of independent streams that each call advances; None for one, whose
            arrays have no axis of streams.
        implementation: the implementation of the steps. "native": the compiled loops, for tanh and
            sigmoid without a clip. "scan": a compiled step of JAX, on its default device. "auto":
            native where it supports the net, otherwise scan.

    Attributes:
        streams: as given.
        implementation: the implementation in use, "native" or "scan".
        dtype: the type of the state and of the outputs: that of the weights as they are stored, and
            at least float32.
        input_size: the number of inputs, I.
        output_size: the number of outputs, O.

    Raises:
        ValueError: layers do not fit together or run backward, streams is below 1, or
            implementation is "native" and does not support the net.

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
        fold(_check_forward, net, merge=_refuse_both)
        assert output_size is not None  # of a net without a pair of outputs
        self.output_size = output_size
        check_implementation(implementation)
        self._asked = implementation
        self.streams = _checked_streams(streams)
        self.dtype = state_dtype(net)
        self._layout = Layout(self.streams, self.input_size, self.output_size, self.dtype)
        self._net = map_layers(self._copied, net)
        layers = [layer.params for layer in unroll(self._net)]
        batched, rows = self.streams is not None, self.streams or 1
        self._states = [np.zeros((rows, params.hidden_size), self.dtype) for params in layers]
        native = None
        if implementation != "scan":
            native, reason = native_steps(layers, self._states, batched)
            if native is None and implementation == "native":
                raise ValueError(f"implementation is 'native': {reason}")
        self.implementation = "scan" if native is None else "native"
        self._steps: Any = native
        if native is None:
            self._steps = CompiledSteps(self._net, self._states, batched)
        # Accepts prepared arrays, and returns NotImplemented for others.
        self._run: Callable[..., np.ndarray] = self._steps.run
        self._try_run: Callable[..., Any] = _no_run if native is None else self._run

    def __call__(
        self, x: ArrayLike, out: np.ndarray | None = None, *, active: ArrayLike | None = None
    ) -> np.ndarray:
        """Run one step, or a chunk of T steps, and return the outputs.

        Nothing is converted or allocated if x is a contiguous array in the dtype of the stream, and
        out is given.

        Args:
            x: the inputs, ``(I,)`` or ``(T, I)``; with n streams ``(n, I)`` or ``(T, n, I)``.
                Floating-point numbers of another type are rounded to that of the stream.
            out: the array for the outputs; a new one if None. It may be x.
            active: booleans ``(n,)``, False for streams without new inputs: their states stay
                bit-for-bit identical, their inputs have no effect, and their outputs are those of
                the previous step. All are active if None.

        Returns:
            The outputs of each step, ``(O,)``, ``(T, O)``, ``(n, O)`` or ``(T, n, O)``; out if that
            is given.

        Raises:
            ValueError: x, out or active has another shape or dtype, or out is not writable.
            RuntimeError: another thread runs this stream.
        """
        y: np.ndarray = self._try_run(x, out, active)
        if y is NotImplemented:
            y = self._run_prepared(x, out, active)
        return y

    @property
    def state(self) -> Any:  # Any: arrays in the structure of the net
        """The states after the last step, copies in the structure of the net.

        Each is ``(H,)``, or ``(n, H)`` with n streams. It can be set to any state of the net, like
        ``h0`` of ``jaxgru.gru``: arrays that broadcast to these shapes, or None for zeros.
        """
        with self._steps:
            copies = iter([state.copy() for state in self._states])
        one: Any = 0 if self.streams is None else ...
        return map_layers(lambda _: next(copies)[one], self._net)

    @state.setter
    def state(self, value: State) -> None:
        leading = () if self.streams is None else (self.streams,)
        given: list[np.ndarray] = []

        def check(layer: Layer, h: Any) -> None:
            name, units = f"state{layer.path}", layer.params.hidden_size
            check_state(name, h, leading, units, "as in the stream")
            h = np.zeros(units, self.dtype) if h is None else np.asarray(h)
            check_floating(name, h)
            given.append(h.astype(self.dtype))

        map_layers(check, self._net, state=value)
        with self._steps:
            for state, h in zip(self._states, given, strict=True):
                state[...] = h

    def reset(self, which: ArrayLike | Sequence[int] | None = None) -> None:
        """Set the states to zeros, as before the first step.

        Args:
            which: the streams: an index, a list or array of them, or booleans ``(n,)``; all if
                None.

        Raises:
            ValueError: which does not select existing streams.
            RuntimeError: another thread runs this stream.
        """
        rows = self._layout.as_rows(which)
        with self._steps:
            for state in self._states:
                state[rows] = 0

    def __repr__(self) -> str:
        """Show the sizes, the dtype and the implementation."""
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

    def _run_prepared(self, x: Any, out: np.ndarray | None, active: Any) -> np.ndarray:
        """Run the steps on arguments that are checked and converted here."""
        x = self._layout.as_inputs(x)
        read = [x]
        if active is not None:
            active = self._layout.as_active(active)
            read.append(active)
        if out is None:
            return self._run(x, None, active)
        self._layout.check_out(out, x.shape[:-1])
        if is_plain(out) and not any(np.may_share_memory(out, array) for array in read):
            return self._run(x, out, active)
        out[...] = self._run(x, None, active)
        return out


def _no_run(*_: Any) -> Any:
    return NotImplemented


def _checked_streams(streams: Any) -> int | None:
    if streams is None:
        return None
    if not isinstance(streams, int | np.integer) or isinstance(streams, bool) or streams < 1:
        raise ValueError(f"streams is {streams!r}: expected None or an integer from 1")
    return int(streams)


def _check_forward(layer: Layer, *_: Any) -> tuple[None, None]:
    if layer.reverse:
        raise ValueError(f"{layer.place} runs backward, from the last step: expected a forward net")
    return None, None


def _refuse_both(path: str, *_: Any) -> None:
    raise ValueError(f"net{path} is a Bidirectional: expected a forward net")

"""The training step, from a state and a batch to the next state."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jaxgru.finetune._batches import Batch
from jaxgru.finetune._losses import Loss, total_loss
from jaxgru.finetune._model import RunOptions, run_model
from jaxgru.finetune._trainable import combine, partition
from jaxgru.model import Model

Array = jax.Array


class TrainState(NamedTuple):
    """The state of training, as one pytree.

    Args:
        model: the weights.
        optimizer_state: the state of the optimizer for the trained weights.
        step: the number of completed steps.
        key: a JAX random key, the same at every step; key and step determine the dropout.
        carry: with windows, the states of the nets after the last window, by the names of their
            layers; None otherwise.
    """

    model: Model
    optimizer_state: optax.OptState
    step: Array
    key: Array
    carry: dict[str, Any] | None  # Any: a state in the structure of its net


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    *,
    mask: Any,  # Any: a pytree
    key: Array,
    carry: dict[str, Any] | None = None,  # Any: a state
) -> TrainState:
    """Return the state before the first step.

    Args:
        model: the initial weights.
        optimizer: an Optax optimizer.
        mask: the trained weights, as ``trainable_mask`` returns them.
        key: a JAX random key, for dropout.
        carry: with windows, states of the nets for B sequences, as ``model(xs,
            return_state=True)`` returns them; their values are not used. None without windows.

    >>> import jax, jaxgru, optax
    >>> from jaxgru.finetune import init_state, trainable_mask
    >>> from jaxgru.model import Model
    >>> model = Model(net=jaxgru.init(jax.random.key(0), 3, 5))
    >>> mask = trainable_mask(model, "bias")
    >>> state = init_state(model, optax.adam(1e-3), mask=mask, key=jax.random.key(1))
    >>> [leaf.shape for leaf in jax.tree.leaves(state.optimizer_state)]
    [(), (15,), (15,)]
    """
    trained, _ = partition(model, mask)
    with _optax_promotion():
        optimizer_state = optimizer.init(trained)
    return TrainState(
        model=model,
        optimizer_state=optimizer_state,
        step=jnp.zeros((), jnp.int32),
        key=key,
        carry=carry,
    )


def make_train_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    mask: Any,  # Any: a pytree
    options: RunOptions = RunOptions(),  # noqa: B008 (an immutable tuple)
) -> Callable[[TrainState, Batch], tuple[TrainState, Array]]:
    """Return the compiled training step.

    With ``w`` the trained weights and ``L`` the mean loss of the batch::

        G = d/dw L(w)        w <- w + optimizer(G)

    With windows, the state carried over from the previous window is a constant, so gradients do not
    flow between windows (truncated backpropagation).

    Args:
        loss: the loss.
        optimizer: an Optax optimizer, which may include clipping, schedules and decay.
        mask: the trained weights, in the structure of the model.
        options: options for running the nets.

    Returns:
        A function of a ``TrainState`` and a ``Batch`` that returns the next state and the mean loss
        of the batch, computed before the update. It does not donate its arguments.

    >>> import jax, jax.numpy as jnp, jaxgru, optax
    >>> from jaxgru.finetune import (
    ...     Batch, init_state, make_train_step, regression, trainable_mask)
    >>> from jaxgru.model import Model
    >>> model = Model(net=jaxgru.init(jax.random.key(0), 3, 5))
    >>> mask = trainable_mask(model, "*")
    >>> optimizer = optax.sgd(0.1)
    >>> step = make_train_step(regression(), optimizer, mask=mask)
    >>> state = init_state(model, optimizer, mask=mask, key=jax.random.key(1))
    >>> batch = Batch(jnp.ones((4, 7, 3)), jnp.zeros((4, 7, 5)), lengths=None, begins=True)
    >>> state, before = step(state, batch)
    >>> state, after = step(state, batch)
    >>> bool(after < before), int(state.step)
    (True, 2)

    Source: Werbos 1990 and Williams and Peng 1990 for truncated backpropagation through time.
    """
    # Some optimizers, such as optax.lbfgs, use the value and the function. Others ignore them.
    optimizer = optax.with_extra_args_support(optimizer)

    @jax.jit
    def step(state: TrainState, batch: Batch) -> tuple[TrainState, Array]:
        trained, fixed = partition(state.model, mask)
        key = jax.random.fold_in(state.key, state.step)
        h0 = jax.tree.map(lambda h: jnp.where(batch.begins, jnp.zeros_like(h), h), state.carry)

        def objective(trained: Any) -> tuple[Array, Any]:
            run = run_model(
                combine(trained, fixed),
                batch.inputs,
                batch.lengths,
                h0,
                loss=loss,
                options=options,
                key=key,
            )
            total, count = total_loss(loss, run.predictions, batch.targets, run.counted)
            # The mask of a model may leave no valid prediction in a batch.
            return total / jnp.maximum(count, jnp.ones_like(count)), run.states

        (mean, states), gradient = jax.value_and_grad(objective, has_aux=True)(trained)
        with _optax_promotion():
            updates, optimizer_state = optimizer.update(
                gradient,
                state.optimizer_state,
                trained,
                value=mean,
                grad=gradient,
                value_fn=lambda trained: objective(trained)[0],
            )
            trained = optax.apply_updates(trained, updates)
        after = TrainState(
            model=combine(trained, fixed),
            optimizer_state=optimizer_state,
            step=state.step + 1,
            key=state.key,
            carry=None if state.carry is None else states,
        )
        return after, mean

    return step


@contextlib.contextmanager
def _optax_promotion() -> Iterator[None]:
    """Set JAX's default promotion of dtypes and ranks, which Optax needs."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield

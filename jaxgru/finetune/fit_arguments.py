"""The arguments of ``fit``: checked, and made what the pieces take."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxgru.finetune.lora import LowRank, merge
from jaxgru.finetune.losses import Loss
from jaxgru.finetune.model import Model, run_model
from jaxgru.finetune.trainable import leaf_paths
from jaxgru.net import Backward, Bidirectional


def check_sizes(**sizes: int | None) -> None:
    """Raise ValueError, by the name of the argument, for any that is given and below 1."""
    for name, size in sizes.items():
        if size is not None and size < 1:
            raise ValueError(f"{name} is {size}: expected at least 1")


def check_choices(
    steps: int | None, epochs: int | None, patience: int | None, validation: Any
) -> None:
    """Raise ValueError unless these arguments go together."""
    if (steps is None) == (epochs is None):
        raise ValueError(f"steps is {steps} and epochs is {epochs}: expected one of them")
    if patience is not None and validation is None:
        raise ValueError(f"patience is {patience} and there is no validation: expected both")


def as_model(net: Any, readout: Any) -> Model:
    """Return net and readout as one pytree of JAX arrays.

    Raises ValueError, by its path, for what is no array, as a function in a readout.
    """
    model = Model(net, readout)
    for path, leaf in zip(leaf_paths(model), jax.tree.leaves(model), strict=True):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int):
            raise ValueError(
                f"{path} is a {type(leaf).__name__}: expected an array; what is none belongs into "
                "the function of a Readout"
            )
    # Each of its own type: the weak type of a Python number would be another one after a step.
    arrays: Model = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.result_type(leaf)), model)
    return arrays


def trained_by_default(model: Model) -> list[str]:
    """Return the patterns of what is trained unless it is said: all, but of a low-rank net."""
    if not isinstance(model.net, LowRank):
        return ["*"]
    return ["net.deltas.*", *(["readout.*"] if jax.tree.leaves(model.readout) else [])]


def check_trained(model: Model, mask: Any) -> None:
    """Raise ValueError for a trained weight that has no gradient."""
    for path, leaf, is_trained in zip(
        leaf_paths(model), jax.tree.leaves(model), jax.tree.leaves(mask), strict=True
    ):
        if is_trained and not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise ValueError(
                f"{path} has dtype {leaf.dtype}: expected a floating-point type, as it is trained"
            )


def first_carry(model: Model, loss: Loss, inputs: np.ndarray, batch_size: int) -> Any:
    """Return the state of the net before the first window, for a batch.

    Raises ValueError where windows cannot be.
    """
    if loss.on != "steps":
        raise ValueError("window is given and the loss is on 'last': expected one on 'steps'")
    net = merge(model.net)
    nodes = jax.tree.leaves(net, is_leaf=_goes_backward)
    if any(map(_goes_backward, nodes)):
        raise ValueError(
            "window is given and a part of the net goes backward: expected a net that goes "
            "forward, as the state of the other direction comes from later windows"
        )
    batch = np.broadcast_to(np.zeros((), inputs.dtype), (batch_size, *inputs.shape[1:]))
    run = functools.partial(run_model, lengths=None, h0=None, on="steps")
    _, h = jax.eval_shape(run, model, batch)
    return jax.tree.map(lambda state: jnp.zeros(state.shape, state.dtype), h)


def _goes_backward(node: Any) -> bool:
    return isinstance(node, Backward | Bidirectional)

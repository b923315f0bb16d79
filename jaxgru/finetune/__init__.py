"""Fine-tuning: a small trainer, and its parts for custom loops."""

from jaxgru import _public
from jaxgru.finetune import _optax  # noqa: F401 (first, for its error)
from jaxgru.finetune._batches import Batch, Position, batches
from jaxgru.finetune._data import Sequences, next_step
from jaxgru.finetune._evaluate import evaluate
from jaxgru.finetune._fit import Result, fit
from jaxgru.finetune._history import plot_history, read_history, write_history
from jaxgru.finetune._loop import Epochs, FinetuneWarning, Round, Steps, patience
from jaxgru.finetune._lora import LowRank, low_rank, merge
from jaxgru.finetune._losses import Loss, classification, regression
from jaxgru.finetune._model import LinearReadout, RunOptions, linear_readout, predict
from jaxgru.finetune._model import Model as Model  # of the version before, deprecated
from jaxgru.finetune._sharding import data_mesh
from jaxgru.finetune._train_step import TrainState, init_state, make_train_step
from jaxgru.finetune._trainable import leaf_paths, trainable_mask

__all__ = [
    "Batch",
    "Epochs",
    "FinetuneWarning",
    "LinearReadout",
    "Loss",
    "LowRank",
    "Position",
    "Result",
    "Round",
    "RunOptions",
    "Sequences",
    "Steps",
    "TrainState",
    "batches",
    "classification",
    "data_mesh",
    "evaluate",
    "fit",
    "init_state",
    "leaf_paths",
    "linear_readout",
    "low_rank",
    "make_train_step",
    "merge",
    "next_step",
    "patience",
    "plot_history",
    "predict",
    "read_history",
    "regression",
    "trainable_mask",
    "write_history",
]

_public.set_modules(__name__)

"""Fine-tuning: a small trainer, and its parts for custom loops."""

from jaxgru._optional import need

# Nearly every module below imports Optax. If it is missing, this is the error.
need("optax", "finetune", "fine-tuning")

from jaxgru.finetune._batches import Batch, Position, batches  # noqa: E402
from jaxgru.finetune._data import Sequences, next_step  # noqa: E402
from jaxgru.finetune._evaluate import evaluate  # noqa: E402
from jaxgru.finetune._fit import Result, fit  # noqa: E402
from jaxgru.finetune._history import plot_history, read_history, write_history  # noqa: E402
from jaxgru.finetune._loop import (  # noqa: E402
    Epochs,
    FinetuneWarning,
    Round,
    Steps,
    patience,
)
from jaxgru.finetune._lora import LowRank, low_rank, merge  # noqa: E402
from jaxgru.finetune._losses import Loss, classification, regression  # noqa: E402
from jaxgru.finetune._model import (  # noqa: E402
    LinearReadout,
    Model,
    RunOptions,
    linear_readout,
    predict,
)
from jaxgru.finetune._optimizers import averaged, pulled  # noqa: E402
from jaxgru.finetune._sharding import data_mesh  # noqa: E402
from jaxgru.finetune._train_step import TrainState, init_state, make_train_step  # noqa: E402
from jaxgru.finetune._trainable import leaf_paths, trainable_mask  # noqa: E402

__all__ = [
    "Batch",
    "Epochs",
    "FinetuneWarning",
    "LinearReadout",
    "Loss",
    "LowRank",
    "Model",
    "Position",
    "Result",
    "Round",
    "RunOptions",
    "Sequences",
    "Steps",
    "TrainState",
    "averaged",
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
    "pulled",
    "read_history",
    "regression",
    "trainable_mask",
    "write_history",
]

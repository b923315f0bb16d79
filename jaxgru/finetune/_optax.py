"""The check for Optax, which nearly every module of this package imports."""

from jaxgru._optional import need

need("optax", "finetune", "fine-tuning")

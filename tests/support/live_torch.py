"""PyTorch's own GRUs, with every option they have, and the files that PyTorch makes of them.

PyTorch is imported on the first call; who calls skips the test before where it is not installed.
"""

import jax
import numpy as np

INPUTS, UNITS = 3, 4

_VARIANTS = {
    "layer": {},
    "no bias": {"bias": False},
    "bidirectional": {"bidirectional": True},
    "stack": {"num_layers": 2},
    "bidirectional stack, no bias": {"num_layers": 2, "bidirectional": True, "bias": False},
    "cell": {},
    "cell, no bias": {"bias": False},
}


def variants():
    """Return the names of all variants."""
    return list(_VARIANTS)


def build(variant, key, dtype="float32"):
    """Return a torch.nn.GRU or GRUCell with random weights, biases included."""
    import torch

    options = {"dtype": getattr(torch, dtype), **_VARIANTS[variant]}
    if variant.startswith("cell"):
        module = torch.nn.GRUCell(INPUTS, UNITS, **options)
    else:
        module = torch.nn.GRU(INPUTS, UNITS, batch_first=True, **options)
    random = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    for parameter in module.parameters():
        # Gates away from 1/2 and from 0 and 1.
        values = 0.5 * random.normal(size=parameter.shape)
        with torch.no_grad():
            parameter.copy_(torch.from_numpy(values))
    return module


def outputs(module, xs):
    """Return what a module gives for ``xs (batch, time, inputs)``, a cell step by step."""
    import torch

    xs = torch.from_numpy(xs)
    with torch.no_grad():
        if isinstance(module, torch.nn.GRU):
            return module(xs)[0].numpy()
        states = [None]
        for x in xs.unbind(1):
            states.append(module(x, states[-1]))
        return torch.stack(states[1:], 1).numpy()


def write(module, path, *, legacy=False):
    """Write the module's state dict to a file, in the format before PyTorch 1.6 if it is asked."""
    import torch

    torch.save(module.state_dict(), path, _use_new_zipfile_serialization=not legacy)

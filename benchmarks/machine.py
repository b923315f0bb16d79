"""A description of the machine."""

import datetime
import importlib.metadata
import os
import platform
import re
from pathlib import Path
from typing import Any

import jax

# Names of distributions, some of which differ from the imported names.
_DISTRIBUTIONS = (
    "jaxgru", "jax", "jaxlib", "numpy", "flax", "equinox", "dm-haiku", "keras", "torch",
    "onnxruntime", "openvino", "ai-edge-litert",
)  # fmt: skip


def describe_machine() -> dict[str, Any]:
    """Return the processor, its cores, JAX's device, the libraries' versions and the date."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": jax.devices()[0].device_kind,
        "platform": jax.default_backend(),
        "python": platform.python_version(),
        "versions": _versions(),
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def heading(machine: dict[str, Any]) -> str:
    """Return one line for the heading of a table or plot."""
    where = f"{machine['cpu']}, {machine['cores']} cores"
    if machine["platform"] != "cpu":
        where = f"{machine['device']} ({where})"
    return f"{where}, JAX {machine['versions']['jax']}, float32, {machine['date']}"


def accelerator_note(machine: dict[str, Any]) -> str:
    """Return a note on accelerators."""
    if machine["platform"] == "cpu":
        return "no accelerator: nothing measured there"
    return f"measured on {machine['device']}; JAX_PLATFORMS=cpu measures the CPU"


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except FileNotFoundError:  # not Linux
        return platform.processor() or platform.machine()
    first = text.split("\n\n", 1)[0]
    fields = dict(re.findall(r"^([\w ]+?)\s*: (.+)$", first, flags=re.MULTILINE))
    # The model name of a virtual machine may be just the brand, so family and model are added.
    name = fields.get("model name", platform.machine())
    numbers = [
        f"{key.split()[-1]} {fields[key]}" for key in ("cpu family", "model") if key in fields
    ]
    return f"{name} ({', '.join(numbers)})" if numbers else name


def _versions() -> dict[str, str]:
    versions = {}
    for name in _DISTRIBUTIONS:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions

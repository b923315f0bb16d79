"""Settings and fixtures of the whole suite."""

import importlib.metadata
import os
import zlib
from collections.abc import Iterator

# Before JAX and Keras are imported: they read these once. Whoever sets them decides.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("KERAS_BACKEND", "jax")
# Unoptimized programs are compiled in half of the time, and compiling is what takes time here.
# XLA ends the process at a flag that it lacks, and jaxlib 0.12 lacks the second: its fusion
# emitters cannot be turned off, and take two to three times as long to compile.
if int(importlib.metadata.version("jaxlib").split(".")[1]) < 12:
    os.environ.setdefault(
        "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
    )
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import hypothesis
import jax
import psutil
import pytest

# A user may run with either of these on, so nothing in jaxgru may lean on implicit promotion.
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Derandomised: a run of one commit gives one result, so a failure is the commit's and everybody
# sees it again. No deadline, as the first example of a shape pays for its compilation.
hypothesis.settings.register_profile("suite", derandomize=True, deadline=None, max_examples=25)
hypothesis.settings.load_profile("suite")

# What one process of the suite may take, compiled programs included.
_WORKER_BYTES = 2.5 * 2**30


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return what ``-n auto`` means, and let a process take tests from another's queue."""
    if config.option.dist == "no":
        config.option.dist = "worksteal"
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    # Hyperthreads do not help: compiling fills a core.
    cores = psutil.cpu_count(logical=False) or 1
    return max(1, min(cores, int(memory // _WORKER_BYTES)))


@pytest.fixture(scope="module", autouse=True)
def _forget_compiled_programs() -> Iterator[None]:
    """Keep a process small: what one file of tests compiles, others rarely use."""
    yield
    if psutil.Process().memory_info().rss > _WORKER_BYTES / 2:
        jax.clear_caches()


@pytest.fixture
def key(request: pytest.FixtureRequest) -> jax.Array:
    """A random key of the test's own: the same in any order, and in any process."""
    return jax.random.key(zlib.crc32(request.node.nodeid.encode()) & 0x7FFFFFFF)


@pytest.fixture
def x64() -> Iterator[None]:
    """Double precision for one test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def default_promotion() -> Iterator[None]:
    """JAX's own promotion for one test: other libraries' layers are written for it."""
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield

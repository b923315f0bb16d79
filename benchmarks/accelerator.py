"""Values, derivatives and speed on an accelerator: ``python -m benchmarks.accelerator``.

In about ten minutes on a GPU: the tests of values and derivatives, on that device; jaxgru and
``torch.nn.GRU`` (cuDNN) in float32 and bfloat16; the scan unrolled 1 to 32 times; the operations of
one training step, by a profile. Each part is written to JSON when it is done. ``--quick`` tries all
of it with small sizes, on a CPU too.
"""

import argparse
import collections
import os
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

# As much as is used, not three quarters of the memory at once: PyTorch and the tests need some too.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from benchmarks.check import check
from benchmarks.contenders import Program, enter, missing_package
from benchmarks.contenders.jaxgru_layer import Jaxgru
from benchmarks.machine import describe_machine, heading
from benchmarks.problem import Problem, Shape, Weights, draw_problem
from benchmarks.reference import gru_states
from benchmarks.report import RESULTS, save_json
from benchmarks.timing import Effort, time_interleaved
from jaxgru._recurrence import scan

_ROOT = Path(__file__).parents[1]
_TESTS = (
    "tests/recurrence/test_matrix.py",
    "tests/recurrence/test_derivatives.py",
    "tests/recurrence/test_held.py",
    "tests/recurrence/test_infinite.py",
    "tests/test_cell.py",
    "tests/test_sequence.py",
    "tests/test_dtypes.py",
)
_SHAPES = (
    Shape(1, 1000, 6, 6),
    Shape(1, 500, 40, 64),
    Shape(1, 256, 128, 256),
    Shape(32, 256, 64, 128),
    Shape(64, 128, 256, 512),
    Shape(1024, 128, 64, 128),  # of recurrent PPO
)
_SMALL = (Shape(1, 20, 6, 6), Shape(2, 10, 8, 16))
_KINDS = ("forward", "train")
_DTYPES = ("float32", "bfloat16")
_UNROLLS = (1, 2, 4, 8, 16, 32)
_SECONDS = {"tests": 180, "peers": 210, "unroll": 150}  # at most, but for what has begun


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accelerator", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small sizes, to try the script")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the JSON")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    machine = describe_machine()
    path = options.out / f"accelerator-{machine['platform']}.json"
    shapes = _SMALL if options.quick else _SHAPES
    effort = Effort(seconds=0.3 if options.quick else 3.0, least_rounds=2, most_rounds=20)
    print(heading(machine))
    found: dict[str, Any] = {"machine": machine}
    for part, run in {
        "tests": lambda: _tests(_TESTS[-2:] if options.quick else _TESTS),
        "peers": lambda: list(_within("peers", _peers(shapes, effort))),
        "unroll": lambda: list(_within("unroll", _unrolled(shapes[::2], effort))),
        "profile": lambda: _profile(shapes[-1]),
    }.items():
        print(part, flush=True)
        found[part] = run()
        save_json(path, found)


def _within(part: str, rows: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Print and yield the rows of a part that begin in its seconds, and one for what is left."""
    end = time.monotonic() + _SECONDS[part]
    for row in rows:
        print("  ", row, flush=True)
        yield row
        if time.monotonic() > end:
            yield {"left out": f"the rest: {_SECONDS[part]} seconds are over"}
            return


def _tests(files: Sequence[str]) -> dict[str, Any]:
    """Run tests on JAX's device, with products in full precision; return their last lines."""
    environment = {
        "JAX_PLATFORMS": {"gpu": "cuda,cpu"}.get(jax.default_backend(), jax.default_backend()),
        "JAX_DEFAULT_MATMUL_PRECISION": "highest",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
    }
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *files]
    try:
        done = subprocess.run(
            command,
            cwd=_ROOT,
            env=os.environ | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS["tests"],
        )
    except subprocess.TimeoutExpired as error:
        output = error.stdout or b""
        return {"unfinished": output.decode() if isinstance(output, bytes) else output}
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    print("  ", *failed, *lines[-1:], sep="\n  ")
    return {"exit code": done.returncode, "summary": lines[-1:], "failed": failed}


def _peers(shapes: Sequence[Shape], effort: Effort) -> Iterator[dict[str, Any]]:
    """Yield the times of jaxgru and PyTorch, and the errors of their states."""
    entries = []
    for library in ("jaxgru", "torch"):
        missing = missing_package(library)
        if missing is not None:
            yield {"library": library, "left out": f"{missing} is not installed"}
            continue
        try:
            entries.append(enter(library)[0])
        except ValueError as error:
            yield {"library": library, "left out": str(error)}
            continue
        check(entries[-1])
    for shape in shapes:
        exact = gru_states(*draw_problem(shape)[1:]) if shape.batch * shape.time < 4096 else None
        for dtype in _DTYPES:
            problem = _as_type(draw_problem(shape), dtype)
            for kind in _KINDS:
                programs = {e.library: getattr(e.contender, kind)(problem) for e in entries}
                timings = time_interleaved(programs, effort)
                for entry in entries:
                    row = _row(kind, shape, programs[entry.library], timings[entry.library].median)
                    row |= {"library": entry.library, "dtype": dtype}
                    if kind == "forward" and exact is not None:
                        states = entry.contender.to_numpy(programs[entry.library].call())
                        states = entry.contender.layout(np.float64(states))
                        row["largest error"] = float(np.abs(states - exact).max())
                    yield row


def _as_type(problem: Problem, dtype: str) -> Problem:
    weights = Weights(*(weight.astype(jnp.dtype(dtype)) for weight in problem.weights))
    return problem._replace(weights=weights, xs=problem.xs.astype(jnp.dtype(dtype)))


def _unrolled(shapes: Sequence[Shape], effort: Effort) -> Iterator[dict[str, Any]]:
    """Yield the times of jaxgru's scans, unrolled."""
    for shape in shapes:
        for kind in _KINDS:
            programs = {}
            for count in _UNROLLS:
                with mock.patch.object(scan, "lax", _lax_that_unrolls(count)):
                    programs[str(count)] = getattr(Jaxgru("scan"), kind)(draw_problem(shape))
            timings = time_interleaved(programs, effort)
            for count, program in programs.items():
                yield {"unroll": int(count)} | _row(kind, shape, program, timings[count].median)


def _lax_that_unrolls(count: int) -> Any:
    """Return ``jax.lax`` with scans that are unrolled; programs are compiled anew for each."""

    def unrolled(*arguments: Any, **options: Any) -> Any:
        return lax.scan(*arguments, **options | {"unroll": count})

    jax.clear_caches()
    return types.SimpleNamespace(**vars(lax) | {"scan": unrolled})


def _profile(shape: Shape) -> list[dict[str, Any]]:
    """Return the operations of a training step that take most of the time of a call."""
    program = Jaxgru("scan").train(draw_problem(shape))
    program.call()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            program.call()
        (file,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(file))
    totals: collections.Counter[str] = collections.Counter()
    calls: collections.Counter[str] = collections.Counter()
    for plane in data.planes:
        # Those of a device; on a CPU, the host's, where the threads of XLA are.
        if jax.default_backend() == "cpu" or plane.name.startswith("/device:"):
            for line in plane.lines:
                if line.name != "python":
                    for event in line.events:
                        name = f"{line.name.split('/')[0]}: {event.name}"
                        totals[name] += event.duration_ns
                        calls[name] += 1
    return [
        {"operation": name, "calls": calls[name], "microseconds": total / 1e3}
        for name, total in totals.most_common(40)
    ]


def _row(kind: str, shape: Shape, program: Program, median: float) -> dict[str, Any]:
    return {
        "kind": kind,
        "shape": shape._asdict(),
        "median": median,
        "compile_seconds": program.compile_seconds,
        "temp_bytes": program.temp_bytes,
    }


if __name__ == "__main__":
    main()

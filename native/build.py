"""Compile the native loops, or their tests, with any C++17 compiler.

``python native/build.py`` compiles the library of a checkout; hatch_build.py that of a wheel. The
environment variables CXX, CXXFLAGS and LDFLAGS are heeded, and JAXGRU_BUILD_NATIVE: 0 for none, or
instruction sets such as ``avx2,portable``.
"""

import argparse
import concurrent.futures
import hashlib
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence

_HERE = pathlib.Path(__file__).parent
_SOURCES = ("cores", "instruction_set", "pages", "scratch", "stream", "threads")
_SETS = {
    "avx512": ["-mavx512f", "-mavx512dq", "-mfma"],
    "avx2": ["-mavx2", "-mfma"],
    "portable": [],
}
# Of a library: the loops for each instruction set, of which the best is chosen at run time. A
# processor of x86-64 without AVX2 has the scans.
_DEFAULT = {"x86_64": ["avx512", "avx2"]}
LIBRARY = "loops.so"


class BuildError(Exception):
    """There is no library; the message has the reason in one line."""


def build(output: pathlib.Path, *, tests: bool = False, options: Sequence[str] = ()) -> str | None:
    """Compile the library, or the program that tests its loops.

    The library is a module of Python as well, with the type behind ``jaxgru.Stream``.

    Args:
        output: the file to write.
        tests: the program of ``tests/loops_test.cc`` in place of the library, with every
            instruction set.
        options: of the compiler, after its own.

    Returns:
        Why the library is no module of Python; None if it is one.

    Raises:
        BuildError: JAXGRU_BUILD_NATIVE leaves the library out, or the compiler fails or is missing.
    """
    asked = os.environ.get("JAXGRU_BUILD_NATIVE") or "1"
    if asked == "0":
        raise BuildError("built with JAXGRU_BUILD_NATIVE=0")
    compiler = shlex.split(os.environ.get("CXX", "")) or ["c++"]
    if shutil.which(compiler[0]) is None:
        raise BuildError(f"built without a C++ compiler: no {compiler[0]} (CXX names another)")
    machine = _run([*compiler, "-dumpmachine"]).partition("-")[0]
    sets = ["avx512", "avx2", "portable"] if machine == "x86_64" else ["portable"]
    if asked != "1":
        sets = asked.split(",")
    elif not tests:
        sets = _DEFAULT.get(machine, sets)
    unknown = [name for name in sets if name not in _SETS]
    if unknown:
        raise BuildError(
            f"JAXGRU_BUILD_NATIVE is {asked!r}: expected 0, 1 or some of {', '.join(_SETS)}"
        )

    flags = ["-std=c++17", "-fPIC", "-fvisibility=hidden", "-pthread", "-O3", "-DNDEBUG"]
    # Sums and products are fused where the machine can; nothing else is reordered: NaN stays NaN.
    flags += ["-ffp-contract=fast", f"-I{_HERE / 'src'}"]
    flags += [f"-DJAXGRU_{name.upper()}" for name in sets]  # of the files that choose
    flags += [*shlex.split(os.environ.get("CXXFLAGS", "")), *options]
    link = [*([] if tests else ["-shared"]), *shlex.split(os.environ.get("LDFLAGS", ""))]

    module, reason = ([], None) if tests else _module()
    if module and sys.platform == "darwin":  # the functions of Python are those of its process
        link += ["-undefined", "dynamic_lookup"]

    # What was built of the same is used again, in a checkout.
    said = _run([*compiler, "--version"])
    key = hashlib.sha256(repr((compiler, said, flags, module, link)).encode())
    for source in sorted(_HERE.glob("*/*.*")):
        key.update(source.read_bytes())
    kept = _HERE.parent / "build/native" / key.hexdigest()[:16]
    if not kept.exists():
        own = _HERE / "tests/loops_test.cc" if tests else _HERE / "src/handlers.cc"
        units = [(_HERE / "src/kernel.cc", [f"-DJAXGRU_KERNEL={s}", *_SETS[s]]) for s in sets]
        units += [(path, []) for path in (own, *(_HERE / f"src/{name}.cc" for name in _SOURCES))]
        units += module
        _compile([*compiler, *flags], units, link, kept)
    output.parent.mkdir(parents=True, exist_ok=True)
    _put(kept, output)
    return reason


def _module() -> tuple[list[tuple[pathlib.Path, list[str]]], str | None]:
    """Return what makes the library a module of Python, with its options, or why nothing does."""
    headers = sysconfig.get_path("include")
    if not pathlib.Path(headers, "Python.h").exists():
        return [], f"built without Python's headers: no {headers}/Python.h"
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return [], "built by a free-threaded Python, which has no stable interface"
    return [(_HERE / "src/module.cc", [f"-I{headers}"])], None


def _compile(
    compiler: list[str],
    units: list[tuple[pathlib.Path, list[str]]],
    link: list[str],
    output: pathlib.Path,
) -> None:
    """Compile each source with its own options, and link the objects."""
    with tempfile.TemporaryDirectory() as folder:
        objects = [f"{folder}/{i}.o" for i in range(len(units))]
        commands = [
            [*compiler, *options, "-c", str(source), "-o", target]
            for (source, options), target in zip(units, objects, strict=True)
        ]
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        linked = pathlib.Path(folder, "linked")
        _run([*compiler, *objects, *link, "-o", str(linked)])
        output.parent.mkdir(parents=True, exist_ok=True)
        _put(linked, output)


def _put(source: pathlib.Path, target: pathlib.Path) -> None:
    """Copy a file at once: another process may have loaded the old one."""
    part = target.with_name(f"{target.name}.{os.getpid()}")
    shutil.copy(source, part)
    part.replace(target)


def _run(command: list[str]) -> str:
    """Return the output of a command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except OSError as error:
        raise BuildError(f"built without a C++ compiler: {command[0]}: {error.strerror}") from error
    except subprocess.CalledProcessError as error:
        said = [line for line in error.stderr.splitlines() if "error" in line] or [
            f"exit code {error.returncode}"
        ]
        raise BuildError(f"built without the loops: {command[0]} failed: {said[0]}") from error
    return done.stdout


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    package = _HERE.parent / "jaxgru/_recurrence"
    parser.add_argument("output", nargs="?", default=package / LIBRARY, type=pathlib.Path)
    parser.add_argument("--tests", action="store_true", help="the program that tests the loops")
    options, flags = parser.parse_known_args()  # the others are the compiler's
    try:
        reason = build(options.output, tests=options.tests, options=flags)
    except BuildError as error:
        sys.exit(f"{parser.prog}: {error}")
    if reason is not None:
        print(f"{parser.prog}: jaxgru.Stream takes compiled steps of JAX: {reason}")


if __name__ == "__main__":
    main()

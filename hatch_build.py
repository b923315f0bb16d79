"""The build of a wheel: with the native loops where a C++17 compiler is at hand, else without.

A wheel, or an editable install, holds either the library or a text with the reason why not.
"""

import pathlib
import sys
import sysconfig
import tempfile
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_PLACE = "jaxgru/_recurrence"
_REASON = "loops.txt"


class NativeLoops(BuildHookInterface):  # type: ignore[type-arg]
    """Compiles native/src."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile the library and add it to the wheel."""
        root = pathlib.Path(self.root)
        sys.path.insert(0, str(root / "native"))
        from build import LIBRARY, BuildError, build  # native/build.py

        sys.path.pop(0)
        self._temporary = tempfile.TemporaryDirectory()
        folder = root / _PLACE if version == "editable" else pathlib.Path(self._temporary.name)
        library, reason = folder / LIBRARY, folder / _REASON
        try:
            without_module = build(library)
            made, other = library, reason
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            # The module is of the stable interface; else nothing depends on a version of Python.
            python = "py3-none" if without_module else "cp311-abi3"
            build_data["tag"] = f"{python}-{platform}"
            if without_module:
                self.app.display_warning(f"jaxgru.Stream is slower here: {without_module}")
        except BuildError as error:
            self.app.display_warning(f"jaxgru is installed without its native loops: {error}")
            reason.write_text(f"{error}\n")
            made, other = reason, library
        other.unlink(missing_ok=True)  # of an earlier editable install
        if version != "editable":
            build_data["force_include"][str(made)] = f"{_PLACE}/{made.name}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Delete what the wheel has taken."""
        self._temporary.cleanup()

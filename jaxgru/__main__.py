"""``python -m jaxgru`` is the command ``jaxgru``."""

import sys

from jaxgru.cli import main

if __name__ == "__main__":
    sys.exit(main())

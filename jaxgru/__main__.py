"""``python -m jaxgru`` is the command ``jaxgru``."""

from jaxgru._cli.command import run_and_exit

if __name__ == "__main__":
    run_and_exit()

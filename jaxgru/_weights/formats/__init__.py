"""The formats of weights files, one module or package each."""

"""One file or folder a format of weights files."""

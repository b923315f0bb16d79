"""Tasks to learn from scratch, made here, and how the libraries are run on them side by side."""

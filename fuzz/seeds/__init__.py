"""Small real files of every format, written by the libraries of the formats."""

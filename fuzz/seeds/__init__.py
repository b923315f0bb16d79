"""Small real files of every format, made by the libraries whose formats they are."""

"""Exact graph rewrites, one a file, the algebra in its docstring."""

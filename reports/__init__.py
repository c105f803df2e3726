"""Rows in; tables, plots, verdicts out. Imports itself, `android_bench.rows`, deploy's leaves."""

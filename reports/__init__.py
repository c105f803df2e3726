"""Rows in; tables, plots and verdicts out. Imports itself, `android_bench.rows`, `deploy.errors`."""

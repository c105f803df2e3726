"""Artifact and device in, rows out. Imports itself, `deploy.errors` and `deploy.artifact` only."""

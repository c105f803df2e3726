"""Artifact and device in, rows out. Imports itself, `deploy.artifact` and deploy's leaves."""

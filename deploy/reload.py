"""Run one saved model in a process of its own: `python -m deploy.reload MODEL IN OUT LEVEL K=V...`.

IN and OUT are .npy files of one batch (1, C, H, W) float32.
"""

import sys
from pathlib import Path

import numpy as np

from deploy.inference import open_run


def main(model: str, given: str, got: str, level: str, *config: str) -> None:
    """Load, run once, save."""
    entries = dict(entry.split("=", 1) for entry in config)
    run = open_run(Path(model), level=level, config=entries)
    np.save(got, run(np.load(given)))


if __name__ == "__main__":
    main(*sys.argv[1:])

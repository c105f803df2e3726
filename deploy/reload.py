"""Run saved models in a process of its own, where nothing of this one is left.

`python -m deploy.reload MODEL IN OUT LEVEL K=V...` loads one, runs it once and saves its output. IN
and OUT are .npy files of one batch (1, C, H, W) float32.
"""

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from deploy.errors import FidelityError, GraphError
from deploy.inference import open_run

TIMEOUT_S = 120


def require_same_in_fresh_process(
    model: Path,
    crop: np.ndarray,
    expected: np.ndarray,
    *,
    level: str,
    config: Mapping[str, str],
) -> None:
    """Check that a saved model gives the very same output where nothing of this process is left.

    Args:
        model: in ONNX or ONNX Runtime's own format.
        crop: (1, C, H, W) float32.
        expected: the output, of the model's own shape.
        level, config: as `deploy.inference.open_session`.

    Raises:
        GraphError: it does not load or run there.
        FidelityError: it gives another output.
    """
    output = _output_in_fresh_process(model, crop, level, config)
    if not np.array_equal(output, expected):
        raise FidelityError(
            f"{model} gives another output in a fresh process", "report it with the model"
        )


def _output_in_fresh_process(
    model: Path, crop: np.ndarray, level: str, config: Mapping[str, str]
) -> np.ndarray:
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "in.npy"), Path(folder, "out.npy")
        np.save(given, crop)
        entries = [f"{key}={value}" for key, value in config.items()]
        # -P: a user's own deploy.py in the current folder is not ours
        command = [sys.executable, "-P", "-m", "deploy.reload", model, given, got, level]
        try:
            done = subprocess.run(
                [str(part) for part in (*command, *entries)],
                capture_output=True,
                text=True,
                timeout=TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise GraphError(
                f"{model} took over {TIMEOUT_S} s in a fresh process",
                "nothing was written; try again on a machine that does less",
            ) from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise GraphError(
                f"{model} does not load in a fresh process ({reason})",
                "nothing was written; report the model to ONNX Runtime",
            )
        output: np.ndarray = np.load(got)
        return output


def main(model: str, given: str, got: str, level: str, *config: str) -> None:
    """Load, run once, save."""
    entries = dict(entry.split("=", 1) for entry in config)
    run = open_run(Path(model), level=level, config=entries)
    np.save(got, run(np.load(given)))


if __name__ == "__main__":
    main(*sys.argv[1:])

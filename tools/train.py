"""Train any network on a folder of image pairs, from the start or from a checkpoint.

    python tools/train.py --model nafnet-tiny --roadmap-step middle --checkpoint partial.safetensors
        --data photos/train --held-out photos/test --loss charbonnier+0.01fft --out mid.safetensors

`--data` and `--held-out` have input/ and target/ with the same file names. `--checkpoint` gives
what fits by name and shape, so that a step of the roadmap starts from the step before it; then
`mofa-deploy roadmap nafnet-tiny --weights middle=mid.safetensors --held-out photos/test` measures
its quality too.

Seeded and resumable: every step draws its crops from (seed, step), so the same command after an
interruption goes on from the last saved state and ends with the same weights. Needs the package
with its `export` extra.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from training import Batches, Plan, evaluate, facts_of, train, write_weights

from calib.images import image_size
from calib.pairs import Pair, load_pairs
from deploy.commands.stages import model_spec
from deploy.errors import CheckpointError, DataError, MofaError, UsageError
from deploy.files import file_sha256, unfinished
from deploy.pipeline import Pipeline
from deploy.spec import ModelSpec
from deploy.zoo.checkpoint import read_state_dict
from deploy.zoo.roadmap import PMRID_THRESHOLD, branching_steps

IMAGES_IN_MEMORY = 64
SHOWN_NAMES = 4
LAST_RATE = 1e-3  # of the first one


class FolderBatches(Batches):
    """Random crops of a folder's pairs, turned and mirrored where the pipeline allows it."""

    def __init__(
        self, pairs: Sequence[Pair], pipeline: Pipeline, crop: int, batch: int, seed: int
    ) -> None:
        """Keep what to draw from; images are read when they are drawn.

        Raises:
            DataError: a pair that is smaller than a crop, or does not say its ISO.
        """
        self.pairs, self.pipeline, self.batch, self.seed = pairs, pipeline, batch, seed
        self.side = crop * pipeline.px
        for pair in pairs:
            height, width = image_size(pair.degraded_path)
            pipeline.for_image(pair.name)
            if min(height, width) < self.side:
                raise DataError(
                    f"{pair.degraded_path} is {width}x{height}, a crop needs {self.side} a side",
                    "remove it, or pass a smaller --crop",
                )

    def __getitem__(self, step: int, /) -> tuple[Tensor, Tensor]:
        rng = np.random.default_rng([self.seed, step])
        drawn = [self._draw(rng) for _ in range(self.batch)]
        degraded, sharp = (np.concatenate(side) for side in zip(*drawn, strict=True))
        return torch.from_numpy(degraded), torch.from_numpy(sharp)

    def _draw(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        pair = self.pairs[int(rng.integers(len(self.pairs)))]
        images, px = _images(pair), self.pipeline.px
        top, left = (
            px * int(rng.integers((length - self.side) // px + 1)) for length in images[0].shape[:2]
        )
        windows = [image[top : top + self.side, left : left + self.side] for image in images]
        if self.pipeline.turns:
            quarters, mirrored = int(rng.integers(4)), rng.random() < 0.5
            windows = [np.rot90(window, quarters) for window in windows]
            windows = [window[:, ::-1] if mirrored else window for window in windows]
        pipeline = self.pipeline.for_image(pair.name)
        degraded, sharp = map(pipeline.to_network, windows)
        return degraded, sharp


@lru_cache(IMAGES_IN_MEMORY)
def _images(pair: Pair) -> tuple[np.ndarray, np.ndarray]:
    return pair.degraded, pair.sharp


def load_fitting(network: nn.Module, path: Path) -> dict[str, list[str]]:
    """Load what fits by name and shape; say what did.

    Returns:
        Names under "loaded", "fresh" (the network's own weights stay) and "unused".

    Raises:
        CheckpointError: the file cannot be read, or nothing in it fits.
    """
    given, own = read_state_dict(path), network.state_dict()
    fitting = {
        key: value for key, value in given.items() if key in own and own[key].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(
            f"nothing in {path} fits {type(network).__name__}",
            "`mofa-deploy models --identify` says which network it belongs to",
        )
    network.load_state_dict({**own, **fitting})
    return {
        "loaded": list(fitting),
        "fresh": [key for key in own if key not in fitting],
        "unused": [key for key in given if key not in fitting],
    }


def build(spec: ModelSpec, roadmap_step: str | None, threshold: int, seed: int) -> nn.Module:
    """Give the network with seeded weights, or one step of its roadmap.

    Raises:
        UsageError: no such step, the network is not U-Net-like, or it is none to train.
    """
    if roadmap_step is None:
        torch.manual_seed(seed)
        network = spec.factory()
        if not isinstance(network, nn.Module) or not list(network.parameters()):
            raise UsageError(
                f"{spec.source} gave a {type(network).__name__} without parameters",
                "return an nn.Module that can be trained",
            )
        return network
    batch, channels, height, width = spec.inputs[0].shape
    shape = (batch, channels, height, width)
    steps = branching_steps(spec.factory, threshold=threshold, input_shape=shape, seed=seed)
    if roadmap_step not in steps:
        raise UsageError(f"unknown step {roadmap_step!r} of the roadmap", f"use {', '.join(steps)}")
    return steps[roadmap_step]


def run(options: argparse.Namespace) -> None:
    """Do what the command line asks."""
    _require_positive(options)
    spec = model_spec(options.model, None, None, pipeline=options.pipeline)
    pairs = load_pairs(options.data, spec.pipeline.read)
    held_out = load_pairs(options.held_out, spec.pipeline.read) if options.held_out else []
    batches = FolderBatches(pairs, spec.pipeline, options.crop, options.batch, options.seed)
    network = build(spec, options.roadmap_step, options.threshold, options.seed)
    fit = load_fitting(network, options.checkpoint) if options.checkpoint else None
    if fit:
        _say_fit(fit, options.checkpoint)
    what = {
        "model": options.model,
        "roadmap_step": options.roadmap_step,
        "threshold": options.threshold if options.roadmap_step else None,
        "pipeline": spec.pipeline.record(),
        "checkpoint": file_sha256(options.checkpoint) if options.checkpoint else None,
        "pairs": [pair.name for pair in pairs],
        "crop": options.crop,
        "batch": options.batch,
    }
    plan = Plan(
        what=json.dumps(what),
        steps=options.steps,
        seed=options.seed,
        loss=options.loss,
        learning_rate=(options.learning_rate, options.learning_rate * LAST_RATE),
        peak=spec.pipeline.peak,
        save_every=options.save_every,
    )
    state_file = options.state or options.out.with_suffix(".state.pt")
    trained = train(
        network, batches, plan, state_file, device=options.device, workers=options.workers
    )
    rows = evaluate(network, held_out, spec.pipeline)
    write_weights(network, options.out)
    facts = {**what, **facts_of(plan, trained), "held_out": rows, "checkpoint_fit": fit}
    with unfinished(options.out.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(facts, indent=1) + "\n")
    for row in rows:
        before, after = row["degraded_psnr_db"], row["restored_psnr_db"]
        print(f"{row['photograph']}: {before:.2f} -> {after:.2f} dB")
    print(options.out)


def _require_positive(options: argparse.Namespace) -> None:
    if options.seed < 0:
        raise UsageError(f"--seed is {options.seed}", "it must be 0 or more")
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise UsageError("--device cuda is not to be had here", "leave it out to train on the CPU")
    for name in ("steps", "crop", "batch", "save_every", "learning_rate"):
        value = getattr(options, name)
        if not value > 0:
            raise UsageError(f"--{name.replace('_', '-')} is {value}", "it must be above 0")


def _say_fit(fit: dict[str, list[str]], path: Path) -> None:
    total = len(fit["loaded"]) + len(fit["fresh"])
    print(f"{path}: {len(fit['loaded'])} of the network's {total} tensors loaded")
    for kind, meaning in (("fresh", "not in it, or of another shape"), ("unused", "left out")):
        names = fit[kind]
        if names:
            more = f" and {len(names) - SHOWN_NAMES} more" if len(names) > SHOWN_NAMES else ""
            print(f"  {meaning}: {', '.join(names[:SHOWN_NAMES])}{more}")


def parser() -> argparse.ArgumentParser:
    """Give the command line."""
    best = "cuda" if torch.cuda.is_available() else "cpu"
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = command.add_argument
    add("--model", required=True, help="a name of `mofa-deploy models`, or package.module:factory")
    add("--roadmap-step", help="train this step, as `mofa-deploy roadmap` names it")
    add("--threshold", type=int, default=PMRID_THRESHOLD, help="of the roadmap's depthwise steps")
    add("--pipeline", type=Path, help="JSON file, as for `mofa-deploy export`")
    add("--checkpoint", type=Path, help="weights to start from, as far as they fit")
    add("--data", type=Path, required=True, help="folder with input/ and target/")
    add("--held-out", type=Path, help="folder with input/ and target/ to judge on at the end")
    add("--loss", default="psnr", help="psnr, charbonnier, fft, or a sum: charbonnier+0.01fft")
    add("--crop", type=int, default=256, help="side of a crop as the network sees it")
    add("--batch", type=int, default=8, help="crops in a step")
    add("--steps", type=int, default=20_000)
    add("--learning-rate", type=float, default=1e-3, help="falls to a thousandth of it")
    add("--seed", type=int, default=0)
    add("--save-every", type=int, default=500, help="steps between saved states")
    add("--workers", type=int, default=0, help="processes that read images ahead")
    add("--device", choices=("cpu", "cuda"), default=best)
    add("--state", type=Path, help="saved state  [default: beside --out]")
    add("--out", type=Path, required=True, help="weights to write, .safetensors")
    return command


def main() -> None:
    """Train; say an expected error in one line."""
    options = parser().parse_args()
    try:
        run(options)
    except MofaError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from the last saved state", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

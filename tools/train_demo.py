"""Train the demo network: NAFNet-tiny against noise and mild motion blur on bundled photographs.

    python tools/train_demo.py --out deploy/zoo/weights

`tools/train.py` with data that is made and not read. Seeded and resumable as that is. Writes the
checkpoint, the measured facts as JSON, and the model card.
"""

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2 import Template
from torch import Tensor
from training import Batches, Plan, evaluate, facts_of, train, write_weights

from calib.degrade import Degradation, degrade
from calib.photographs import HELD_OUT, TRAINING, degraded_pair, load_photograph
from deploy.errors import MofaError
from deploy.files import file_sha256
from deploy.zoo.nafnet import nafnet_tiny

NAME = "nafnet-tiny-demo"
PIXELS_PER_STEP = 16 * 64 * 64
# Small crops see more photographs per second; the last steps use the deployed size, because the
# channel attention averages over the whole crop and its statistics change with the size.
CROP_SCHEDULE = ((0.60, 64), (0.80, 128), (1.00, 256))
MARGIN_PX = 8  # room around a crop so that blur has real pixels to draw from


@dataclass(frozen=True)
class HeldOutPair:
    """A held-out photograph, degraded in float as the training crops are."""

    name: str
    degraded: np.ndarray
    sharp: np.ndarray


class DemoBatches(Batches):
    """Photographs degraded anew for each crop; crops grow as the run goes on."""

    def __init__(self, steps: int, seed: int) -> None:
        self.steps, self.seed = steps, seed
        self.photographs = [load_photograph(name) for name in TRAINING]

    def __getitem__(self, step: int, /) -> tuple[Tensor, Tensor]:
        return draw_batch(self.photographs, self.seed, step, crop_side(step, self.steps))


def draw_batch(
    photographs: list[np.ndarray], seed: int, step: int, crop: int
) -> tuple[Tensor, Tensor]:
    """Give (degraded, sharp), each (N, 3, crop, crop), the same for the same (seed, step)."""
    rng = np.random.default_rng([seed, step])
    pairs = [_draw_pair(photographs, rng, crop) for _ in range(PIXELS_PER_STEP // crop**2)]
    degraded, sharp = (np.stack(side).transpose(0, 3, 1, 2) for side in zip(*pairs, strict=True))
    return torch.from_numpy(degraded.copy()), torch.from_numpy(sharp.copy())


def _draw_pair(
    photographs: list[np.ndarray], rng: np.random.Generator, crop: int
) -> tuple[np.ndarray, np.ndarray]:
    photograph = photographs[rng.integers(len(photographs))]
    size = min(crop + 2 * MARGIN_PX, *photograph.shape[:2])
    top = rng.integers(photograph.shape[0] - size + 1)
    left = rng.integers(photograph.shape[1] - size + 1)
    sharp = photograph[top : top + size, left : left + size]
    sharp = np.rot90(sharp, int(rng.integers(4)))
    if rng.random() < 0.5:
        sharp = sharp[:, ::-1]
    sharp = np.ascontiguousarray(sharp[..., rng.permutation(3)])  # few photographs, more colours
    degraded = degrade(sharp, rng)
    start = (size - crop) // 2
    inside = slice(start, start + crop)
    return degraded[inside, inside], sharp[inside, inside]


def crop_side(step: int, steps: int) -> int:
    """Give the crop side in pixels of a step."""
    return next(side for until, side in CROP_SCHEDULE if step < until * steps)


def write_card(folder: Path, facts: dict[str, Any], parameters: int) -> None:
    """Write what was measured as JSON, and the model card that says it in words."""
    (folder / f"{NAME}.json").write_text(json.dumps(facts, indent=1) + "\n")
    template = Template(Path(__file__).with_name("model_card.md.j2").read_text())
    sha256 = file_sha256(folder / f"{NAME}.safetensors")
    card = template.render(facts=facts, parameters=parameters, sha256=sha256)
    (folder / f"{NAME}.md").write_text(card + "\n")
    print(card)


def main() -> None:
    """Train, judge on the held-out photographs, write the checkpoint and its facts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("deploy/zoo/weights"))
    parser.add_argument("--state", type=Path, default=Path("build/train-demo.pt"))
    parser.add_argument("--steps", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        run(options.out, options.state, options.steps, options.seed)
    except MofaError as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def run(out: Path, state: Path, steps: int, seed: int) -> None:
    """Do what `main` says."""
    torch.manual_seed(seed)
    network = nafnet_tiny()
    plan = Plan("nafnet-tiny on the demo photographs", steps, seed)
    trained = train(network, DemoBatches(steps, seed), plan, state)
    held_out = [HeldOutPair(name, *degraded_pair(name, seed)) for name in HELD_OUT]
    rows = evaluate(network, held_out)
    write_weights(network, out / f"{NAME}.safetensors")
    facts = {
        "training_photographs": TRAINING,
        "held_out": rows,
        "degradation": asdict(Degradation()),
        **facts_of(plan, trained),
    }
    write_card(out, facts, sum(one.numel() for one in network.parameters()))


if __name__ == "__main__":
    main()

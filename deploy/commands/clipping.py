"""Say so where a range method that was asked for by name clips values that a network needs.

No search looks at it then. Entropy ranges by the book lose over 20 dB on NAFNet, where what a block
adds to the residual stream is small and rare, and the rare large values of the stream carry the
image; `--preset accurate` keeps the stream in float, and is spared that.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from calib.crops import read_crops
from deploy.commands.progress import note
from deploy.commands.search import Question, spread
from deploy.fidelity import psnr_between_db
from deploy.inference import Run, open_run
from deploy.quantize import FloatGraph, integer_graph
from deploy.recipe import Recipe

UNCLIPPED = "minmax"
CROPS = 4
WORSE_DB = 6.0  # than without clipping


def warn_of_clipping(question: Question, recipe: Recipe, base: FloatGraph) -> None:
    """Note where a recipe's ranges are over WORSE_DB worse than minmax, on a few crops."""
    if recipe.method == UNCLIPPED:
        return
    crops = list(read_crops(spread(question.crops, CROPS)))
    reference = _outputs(open_run(question.fp32.path), crops)
    peak = max(float(abs(one).max()) for one in reference) or 1.0

    def closeness_db(one: Recipe) -> float:
        graph = integer_graph(base, question.target, one, input_range=question.input_range)
        run = open_run(
            graph.SerializeToString(), level=question.target.level, config=question.target.config
        )
        return psnr_between_db(reference, _outputs(run, crops), peak=peak)

    clipped_db, whole_db = closeness_db(recipe), closeness_db(replace(recipe, method=UNCLIPPED))
    if whole_db - clipped_db > WORSE_DB:
        other = " or --preset accurate" if recipe.preset == "fast" else ""
        note(
            f"{recipe.method} ranges clip what {question.fp32.model} needs: {clipped_db:.1f} dB "
            f"against fp32 on {len(crops)} crops, {whole_db:.1f} dB with {UNCLIPPED}; "
            f"use --method auto{other}"
        )


def _outputs(run: Run, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [run(crop) for crop in crops]
